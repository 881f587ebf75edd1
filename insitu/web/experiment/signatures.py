"""Signatures: the manifest, on the page and as a PDF."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.page import fragment
from insitu.entrance.visitor import Seen, SeesExperiment
from insitu.web.experiment.documents import saved
from insitu.web.experiment.frame import experiment_page, role_title, step_title
from insitu.web.experiment.journal import note_export
from protocols.errors import Refused
from protocols.phrase import Phrase
from sites import board
from sites.names import names
from sites.signatures import signatures as signatures_of

router = APIRouter()


@router.get("/experiments/{code}/signatures")
def signatures(request: Request, seen: SeesExperiment) -> Response:
    """Every signature, whether it still counts, and why not."""
    with seen.visitor.doors.database.read() as connection:
        return experiment_page(request, seen, connection, "signatures.html", signatures=_listed(seen), timezone=seen.row["timezone"])


@router.get("/experiments/{code}/signatures.pdf")
def signatures_as_pdf(request: Request, seen: SeesExperiment) -> Response:
    """The manifest as a PDF; noted in the access journal. Raises Refused where this machine can make none."""
    # Imported here: what makes a PDF takes a second to load, and few ask for one.
    from flows.actions.render import to_pdf

    listed = _listed(seen)
    with seen.visitor.doors.database.read() as connection:
        head = board.summary(connection, seen.row, seen.plan, seen.visitor.locale, seen.access)
    html = fragment(request, "experiment/manifest.html", head=head, signatures=listed, timezone=seen.row["timezone"])
    content, missing = to_pdf(html)
    if content is None:
        raise Refused(
            Phrase("No PDF can be made on this machine: a system library is missing ({missing}). Print the page instead.", missing=missing)
        )
    note_export(request, seen, "signatures", "pdf", len(listed))
    return saved(f"{seen.code}-signatures.pdf", "application/pdf", content)


def _listed(seen: Seen) -> list[dict[str, Any]]:
    """The signatures in words; names for those who see names."""
    database = seen.visitor.doors.database
    found = signatures_of(database, seen.code, seen.access)
    with database.read() as connection:
        named = names(connection, [person for one in found for person in (one.by, one.ended_by)])
    return [
        asdict(one)
        | {
            "name": named.get(one.by, one.by),
            "ended_name": named.get(one.ended_by, one.ended_by),
            "role_title": role_title(seen, one.role),
            "step_title": step_title(seen, one.step),
        }
        for one in found
    ]
