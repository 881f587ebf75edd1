"""A checkpoint's page: read, fill in, sign, decline, ask."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
