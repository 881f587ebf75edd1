"""All experiments: what is stuck, since when, on whom, and the deadlines ahead."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
