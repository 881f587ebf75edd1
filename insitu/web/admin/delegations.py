"""The delegation log: who may act in which role at a site of an experiment, between which days, on which evidence, signed by whom."""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import Administers, Visitor
from insitu.web.admin import logs
from insitu.web.admin.frame import (
    Number,
    admin_page,
    choices,
    complaints,
    days,
    filters,
    page_number,
    pager,
    said,
    typed,
)
from insitu.web.admin.words import STATES, TONES
from protocols.errors import InvalidInput
from sites import people, qualifications
from sites.policy.administering import recordable_people, today
from sites.qualifications import NewDelegation
from sites.signing import Prove

router = APIRouter()

PATH = "/admin/delegations"
NAMES = ("person", "role", "site", "experiment", "from", "until")
FILTERS = ("site", "experiment", "person")


@router.get("/admin/delegations")
def delegations(request: Request, visitor: Administers) -> Response:
    """The log as far as one sees it, and the form to record one."""
    return _page(request, visitor, {name: request.query_params.get(f"new-{name}", "")[:200] for name in NAMES}, [])


def _page(request: Request, visitor: Visitor, given: dict[str, str], errors: list[tuple[str, str]]) -> Response:
    chosen, number = filters(request, FILTERS), page_number(request)
    found = qualifications.delegations(visitor.doors.database, visitor.reader, page=number, **chosen)
    with visitor.doors.database.read() as connection:
        known = people.named(connection, recordable_people(connection, visitor.reader))
    pages = {"page": number, "pages": number + (len(found) >= logs.PAGE)}
    return admin_page(
        request,
        visitor,
        "delegations.html",
        status=422 if errors else 200,
        found=found,
        filters=chosen,
        offered=choices(visitor),
        people=known,
        typed=given,
        errors=errors,
        states=STATES,
        tones=TONES,
        **pager(PATH, chosen, pages),
    )


@router.post("/admin/delegations")
def record(request: Request, visitor: Administers, form: Posted) -> Response:
    """Record a delegation, which its page then lets be signed. Raises NotAssigned."""
    given, tongue, doors = typed(form, NAMES), language_of(request), visitor.doors
    dates, wrong = days(given, {"from": True, "until": False})
    begins = dates.get("from")
    if wrong or begins is None:
        return _page(request, visitor, given, said(wrong, tongue))
    person, role, site, experiment = (given[name].strip() for name in NAMES[:4])
    try:
        new = NewDelegation(person, role, site, experiment, begins, dates["until"], logs.evidence_of(visitor, form))
        number = qualifications.record(doors.database, doors.clock, new, by=visitor.person)
    except InvalidInput as error:
        return _page(request, visitor, given, complaints(error, tongue, "person"))
    return go_to(request, f"{PATH}/{number}", logs.RECORDED)


@router.get("/admin/delegations/{number}")
def delegation(request: Request, visitor: Administers, number: Number) -> Response:
    """One delegation, to be read, signed or ended. Raises UnknownThing."""
    return _one_page(request, visitor, number, {}, [])


def _one_page(request: Request, visitor: Visitor, number: int, given: dict[str, str], errors: list[tuple[str, str]]) -> Response:
    tongue = language_of(request)
    found = qualifications.delegation(visitor.doors.database, visitor.reader, number, locale=tongue.code)
    return admin_page(
        request,
        visitor,
        "delegation.html",
        status=422 if errors else 200,
        record=found,
        offered=choices(visitor),
        period=logs.period(tongue, found),
        typed={"on": "", "why": ""} | given,
        errors=errors,
        states=STATES,
        tones=TONES,
        today=today(visitor.reader).isoformat(),
    )


@router.post("/admin/delegations/{number}/sign")
def sign(request: Request, visitor: Administers, number: Number, form: Posted) -> Response:
    """Sign a delegation after proving again that it is oneself. Raises NotAssigned, UnknownThing."""
    doors = visitor.doors
    qualifications.delegation(doors.database, visitor.reader, number)  # one that is not seen is unknown

    def signing(prove: Prove, meaning: str | None) -> str:
        return qualifications.sign_delegation(doors.database, doors.clock, number, by=visitor.person, prove=prove, meaning=meaning)

    def again(given: dict[str, str], errors: list[tuple[str, str]]) -> Response:
        return _one_page(request, visitor, number, given, errors)

    return logs.sign(request, visitor, form, again, signing, f"{PATH}/{number}")


@router.post("/admin/delegations/{number}/end")
def end(request: Request, visitor: Administers, number: Number, form: Posted) -> Response:
    """End a delegation from a day on, for a reason. Raises NotAssigned, UnknownThing."""
    doors = visitor.doors

    def ending(on: date, why: str) -> None:
        qualifications.end_delegation(doors.database, doors.clock, number, by=visitor.person, on=on, why=why)

    def again(given: dict[str, str], errors: list[tuple[str, str]]) -> Response:
        return _one_page(request, visitor, number, given, errors)

    return logs.end(request, form, again, ending, f"{PATH}/{number}")


@router.get("/admin/delegations/{number}/evidence")
def evidence(visitor: Administers, number: Number) -> Response:
    """The file that a delegation was recorded with. Raises UnknownThing."""
    return logs.evidence(visitor, qualifications.delegation(visitor.doors.database, visitor.reader, number))
