"""How someone is told, set by a project manager of everything for them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
