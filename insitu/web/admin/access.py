"""The access review: who may do what, where, by which assignment, and when they last came."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.proof import proof_of
from insitu.entrance.sender import address_of
from insitu.entrance.visitor import SomeManager, Visitor
from insitu.web.admin.frame import admin_page, choices, complaints, filters, page_number, pager
from insitu.web.admin.words import ACCOUNTS, STATES, TONES
from insitu.web.experiment.documents import saved
from protocols.errors import NotProven
from sites import names, review
from sites.identity.access import AccessKind, in_place_of, note
from sites.meanings import ACCESS_REVIEW
from sites.sheets import as_csv

router = APIRouter()

PATH = "/admin/access"
FILTERS = ("q", "site", "role", "only")


@router.get("/admin/access")
def access(request: Request, visitor: SomeManager) -> Response:
    """The rights of today, narrowed by what the address says, and the signature of the review."""
    return _page(request, visitor, [])


def _page(request: Request, visitor: Visitor, errors: list[tuple[str, str]]) -> Response:
    database, reader, chosen = visitor.doors.database, visitor.reader, filters(request, FILTERS)
    found = review.rights(database, reader, page=page_number(request), **chosen)
    last = review.last_review(database, reader)
    with database.read() as connection:
        idle = review.dormant(connection, reader)
        known = names.names(connection, [last["by"]]) if last else {}
    return admin_page(
        request,
        visitor,
        "access.html",
        status=422 if errors else 200,
        found=found,
        filters=chosen,
        offered=choices(visitor),
        dormant=idle,
        last=last,
        names=known,
        meaning=ACCESS_REVIEW[language_of(request).code],
        errors=errors,
        accounts=ACCOUNTS,
        states=STATES,
        tones=TONES,
        **pager(PATH, chosen, found),
    )


@router.post("/admin/access/reviewed")
def reviewed(request: Request, visitor: SomeManager, form: Posted) -> Response:
    """Sign that one has gone through the list, after proving again that it is oneself."""
    doors, prove = visitor.doors, proof_of(request, visitor, form, to="sign the access review")
    try:
        review.sign_review(doors.database, doors.clock, by=visitor.person, prove=prove, meaning=ACCESS_REVIEW[language_of(request).code])
    except NotProven as error:
        return _page(request, visitor, complaints(error, language_of(request), "password"))
    return go_to(request, PATH, N_("The review was signed; the access journal keeps it, with a mark of the list as it stood."))


@router.get("/admin/access.csv")
def export(request: Request, visitor: SomeManager) -> Response:
    """Every right of today as a file for a spreadsheet; that it left the house is journaled."""
    doors = visitor.doors
    with doors.database.read() as connection:
        rows = [[_cell(one[name]) for name in review.NAMES] for one in review.all_rights(connection, visitor.reader)]
    with doors.database.write() as connection:
        told: dict[str, Any] = {"what": "access.csv", "rows": len(rows)} | in_place_of(*visitor.reader.deputises)
        note(connection, AccessKind.EXPORTED, doors.clock.now(), by=visitor.person, address=address_of(request), **told)
    return saved("access.csv", "text/csv; charset=utf-8", as_csv(review.NAMES, rows))


def _cell(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value if value is not None else "")
