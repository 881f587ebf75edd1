"""Documents: what was rendered and what was attached, for whoever may read the steps they belong to."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from insitu.entrance.visitor import SeesExperiment
from insitu.web.experiment.frame import experiment_page
from sites.documents import content
from sites.documents import documents as documents_of

router = APIRouter()

# Whatever a file turns out to be, a browser that shows it runs nothing of it.
SHUT = "default-src 'none'; sandbox; frame-ancestors 'none'"


@router.get("/experiments/{code}/documents")
def documents(request: Request, seen: SeesExperiment) -> Response:
    """The documents, in the protocol's order."""
    with seen.visitor.doors.database.read() as connection:
        found = documents_of(connection, seen.row, seen.plan, seen.access)
        return experiment_page(request, seen, connection, "documents.html", documents=found)


@router.get("/experiments/{code}/documents/{key}")
def document(seen: SeesExperiment, key: str) -> Response:
    """One document, to be saved. Raises UnknownThing for one that is not among those the reader may read."""
    with seen.visitor.doors.database.read() as connection:
        name, media_type, found = content(connection, seen.row, seen.plan, seen.access, key)
    return saved(name, media_type, found)


def saved(name: str, media_type: str, found: bytes | str) -> Response:
    """A file for the reader to keep, under its name."""
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}", "content-security-policy": SHUT}
    return Response(found, media_type=media_type, headers=headers)
