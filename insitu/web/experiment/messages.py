"""Messages: what was sent to whom, when, by which way, and whether it arrived."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from insitu.entrance.page import language_of
from insitu.entrance.visitor import SeesExperiment
from insitu.web.experiment.frame import address_of, experiment_page, number
from notifications.sent import sent
from sites.names import names

router = APIRouter()

PAGE = 50
STATES = ("sent", "sending", "failed", "refused", "postponed", "digested", "muted", "dropped")


@router.get("/experiments/{code}/messages")
def messages(
    request: Request, seen: SeesExperiment, before: str = "", state: str = "", step: str = "", site: str = "", person: str = ""
) -> Response:
    """The newest first, 50 a page; the filters stay in the address."""
    database, chosen = seen.visitor.doors.database, {"state": state, "step": step, "site": site, "person": person}
    found = sent(database, seen.code, seen.access, before=number(before), limit=PAGE + 1, **chosen)
    shown = found[:PAGE]
    with database.read() as connection:
        return experiment_page(
            request,
            seen,
            connection,
            "messages.html",
            messages=shown,
            names=names(connection, (one["person"] for one in shown)),
            chosen=chosen,
            state_options=[(one, language_of(request).word(one)) for one in STATES],
            earliest=address_of(seen.code, "/messages", **chosen) if before else "",
            further=address_of(seen.code, "/messages", before=shown[-1]["id"], **chosen) if len(found) > PAGE else "",
        )
