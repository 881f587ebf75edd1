"""Conflicts of interest: one's own for everybody, those in their experiments for project managers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import SignedIn, Visitor
from insitu.web.admin.frame import Number, admin_page, complaints, own_list, typed
from protocols.errors import InvalidInput
from sites import people, policy
from sites.conflicts import conflicts as conflicts_of
from sites.conflicts import declare, withdraw
from sites.database import table
from sites.policy.administering import require_seen_person, seen_people
from sites.tables import Experiment

router = APIRouter()

PATH = "/admin/conflicts"
NAMES = ("person", "experiment", "reason")
_EXPERIMENT = table(Experiment)


@router.get("/admin/conflicts")
def conflicts(request: Request, visitor: SignedIn) -> Response:
    """The conflicts one sees, and the form to declare one."""
    return _page(request, visitor, dict.fromkeys(NAMES, "") | {"person": visitor.person}, [])


def _page(request: Request, visitor: Visitor, given: dict[str, str], errors: list[tuple[str, str]]) -> Response:
    database, reader = visitor.doors.database, visitor.reader
    with database.read() as connection:
        seen = select(_EXPERIMENT.c.code).where(policy.seen_experiments(connection, reader)).order_by(_EXPERIMENT.c.id.desc())
        experiments = list(connection.execute(seen).scalars())
        known = people.named(connection, seen_people(connection, reader)) if reader.is_some_manager else []
    return admin_page(
        request,
        visitor,
        "conflicts.html",
        status=422 if errors else 200,
        found=conflicts_of(database, reader),
        experiments=[(code, code) for code in experiments],
        people=known,
        typed=given,
        errors=errors,
    )


@router.post("/admin/conflicts")
def add(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Declare a conflict, one's own or, for a project manager of the experiment, that of someone they see. Raises NotAssigned."""
    given, doors = typed(form, NAMES), visitor.doors
    person = given["person"].strip() or visitor.person
    try:
        if person != visitor.person:
            with doors.database.read() as connection:
                require_seen_person(connection, visitor.reader, person)
        declare(doors.database, doors.clock, person, given["experiment"].strip(), given["reason"], by=visitor.person)
    except InvalidInput as error:
        field = "reason" if not given["reason"].strip() else "person"
        return _page(request, visitor, given, complaints(error, language_of(request), field))
    return go_to(request, own_list(form, PATH), N_("The conflict of interest was declared."))


@router.post("/admin/conflicts/{number}/withdraw")
def end(request: Request, visitor: SignedIn, number: Number, form: Posted) -> Response:
    """Note that a conflict is over. Raises UnknownThing, NotAssigned, Refused for one's own."""
    withdraw(visitor.doors.database, visitor.doors.clock, number, by=visitor.person)
    return go_to(request, own_list(form, PATH), N_("The conflict of interest is over."))
