"""A person's own account: password, second factor, tokens, sessions, language."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
