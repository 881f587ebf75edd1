"""The assignments: who holds which role where; given, ended, never deleted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import SomeManager, Visitor
from insitu.web.admin.frame import Number, admin_page, choices, complaints, days, filters, own_list, page_number, pager, said, typed
from insitu.web.admin.words import STATES, TONES
from protocols.errors import InvalidInput
from sites import people, registry
from sites.policy.administering import seen_people

router = APIRouter()

NAMES = ("person", "role", "site", "experiment", "from", "until")
FILTERS = ("person", "role", "site", "experiment", "ended")


@router.get("/admin/assignments")
def assignments(request: Request, visitor: SomeManager) -> Response:
    """The assignments one sees, narrowed by what the address says, and the form to give a role."""
    return _page(request, visitor, {name: request.query_params.get(f"new-{name}", "")[:200] for name in NAMES}, [])


def _page(request: Request, visitor: Visitor, given: dict[str, str], errors: list[tuple[str, str]]) -> Response:
    doors, chosen = visitor.doors, filters(request, FILTERS)
    narrowed: dict[str, Any] = chosen | {"ended": bool(chosen["ended"])}
    found = people.assignments(doors.database, visitor.reader, page=page_number(request), **narrowed)
    with doors.database.read() as connection:
        known = people.named(connection, seen_people(connection, visitor.reader))
    return admin_page(
        request,
        visitor,
        "assignments.html",
        status=422 if errors else 200,
        found=found,
        filters=chosen,
        offered=choices(visitor),
        people=known,
        typed=given,
        errors=errors,
        states=STATES,
        tones=TONES,
        **pager("/admin/assignments", chosen, found),
    )


@router.post("/admin/assignments")
def assign(request: Request, visitor: SomeManager, form: Posted) -> Response:
    """Give a role. Raises NotAssigned where it is not the visitor's to give."""
    given, tongue, doors = typed(form, NAMES), language_of(request), visitor.doors
    dates, wrong = days(given, {"from": False, "until": False})
    if wrong:
        return _page(request, visitor, given, said(wrong, tongue))
    person, role, site, experiment = (given[name].strip() for name in NAMES[:4])
    try:
        found = registry.assign(
            doors.database, person, role, site, experiment, dates["from"], dates["until"], by=visitor.person, clock=doors.clock
        )
    except InvalidInput as error:
        return _page(request, visitor, given, complaints(error, tongue, "person"))
    done = {"added": N_("The role was given."), "changed": N_("The dates were changed."), "unchanged": N_("The role was held already.")}
    return go_to(request, own_list(form, "/admin/assignments"), done[found["result"]])


@router.post("/admin/assignments/{number}/end")
def end_assignment(request: Request, visitor: SomeManager, number: Number, form: Posted) -> Response:
    """Let a role end with today. Raises UnknownThing, NotAssigned, Refused for the last who manages everything."""
    registry.end_assignment(visitor.doors.database, visitor.doors.clock, number, by=visitor.person)
    return go_to(request, own_list(form, "/admin/assignments"), N_("The role ends with today."))
