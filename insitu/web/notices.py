"""How a person wants to be told: channels, quiet hours, digest, unsubscribing."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
