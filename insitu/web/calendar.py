"""Deadlines as a calendar feed (RFC 5545), one address a person, which they can revoke."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
