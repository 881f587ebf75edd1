"""Coming in: the first manager, sign-in, second factor, OpenID Connect, invitation, recovery, sign-out."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
