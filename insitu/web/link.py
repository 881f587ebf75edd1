"""One-time links: enough to fill in one checkpoint, never enough to sign it."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
