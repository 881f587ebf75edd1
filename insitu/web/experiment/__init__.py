"""An experiment's pages: gate board, timeline, people, messages, documents, journal, signatures, and what its managers do."""

from __future__ import annotations

from fastapi import APIRouter

from insitu.web.experiment import board, documents, glass, journal, manage, messages, people, signatures, timeline

router = APIRouter()
for part in (board, timeline, people, messages, documents, journal, signatures, manage, glass):
    router.include_router(part.router)
