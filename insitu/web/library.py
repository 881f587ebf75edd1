"""The library of protocols, readable and printable."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
