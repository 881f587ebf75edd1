"""An experiment's pages: gate board, timeline, people, messages, documents, journal, signatures."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
