"""Today: what is due, late and blocked, for me and those I deputise for."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
