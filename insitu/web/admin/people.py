"""The people: the list, one person with all that concerns them, and their contact details."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import GlobalManager, SomeManager, Visitor
from insitu.web.admin.frame import admin_page, choices, complaints, filters, page_number, pager, person_address, typed
from insitu.web.admin.words import ACCOUNTS, KINDS, STATES, TONES
from protocols.errors import InvalidImport
from protocols.model import LOCALES
from sites import conflicts, deputies, people, qualifications, registry
from sites.identity.access import entries

router = APIRouter()

NAMES = ("id", "name", "email", "locale")
FILTERS = ("q", "site", "role", "account")
LAST_ACTS = 10


@router.get("/admin/people")
def list_people(request: Request, visitor: SomeManager) -> Response:
    """The people one manages, a page at a time."""
    chosen, known, tongue = filters(request, FILTERS), choices(visitor), language_of(request)
    found = people.people(visitor.doors.database, visitor.reader, page=page_number(request), **chosen)
    states = [(state, tongue(ACCOUNTS[state])) for state in people.ACCOUNT_STATES]
    return admin_page(
        request,
        visitor,
        "people.html",
        found=found,
        filters=chosen,
        offered=known,
        states=states,
        accounts=ACCOUNTS,
        tones=TONES,
        **pager("/admin/people", chosen, found),
    )


@router.get("/admin/new-person")
def new_person(request: Request, visitor: GlobalManager) -> Response:
    """An empty form."""
    return _form(request, visitor, {"id": "", "name": "", "email": "", "locale": LOCALES[0]}, new=True)


@router.post("/admin/new-person")
def add_person(request: Request, visitor: GlobalManager, form: Posted) -> Response:
    """Add a person, and lead to their page, where they are invited."""
    return _save(request, visitor, typed(form, NAMES), new=True)


@router.get("/admin/people/{person}")
def show_person(request: Request, visitor: SomeManager, person: str) -> Response:
    """All that concerns one person. Raises UnknownThing."""
    return person_page(request, visitor, person)


def person_page(
    request: Request, visitor: Visitor, person: str, *, status: int = 200, errors: list[tuple[str, str]] | None = None
) -> Response:
    """A person's page, with what a form on it was refused for."""
    database, reader = visitor.doors.database, visitor.reader
    with database.read() as connection:
        found = people.person(connection, reader, person)
    whole = reader.is_manager
    return admin_page(
        request,
        visitor,
        "person.html",
        status=status,
        errors=errors or [],
        person=found,
        delegations=qualifications.delegations(database, reader, person=person),
        trainings=qualifications.trainings(database, reader, person=person),
        deputies=[one for one in deputies.deputies(database, reader) if person in (one["person"], one["deputy"])],
        conflicts=[one for one in conflicts.conflicts(database, reader) if one["person"] == person],
        acts=entries(database, person=person, limit=LAST_ACTS) if whole else [],
        kinds=KINDS,
        offered=choices(visitor),
        accounts=ACCOUNTS,
        states=STATES,
        tones=TONES,
    )


@router.get("/admin/people/{person}/edit")
def edit_person(request: Request, visitor: GlobalManager, person: str) -> Response:
    """The form of a person's contact details. Raises UnknownThing."""
    return _form(request, visitor, _one(visitor, person), new=False)


@router.post("/admin/people/{person}/edit")
def change_person(request: Request, visitor: GlobalManager, person: str, form: Posted) -> Response:
    """Change a person's name, e-mail or language."""
    _one(visitor, person)
    return _save(request, visitor, typed(form, NAMES) | {"id": person}, new=False)


def _one(visitor: Visitor, person: str) -> dict[str, Any]:
    with visitor.doors.database.read() as connection:
        return people.person(connection, visitor.reader, person)


def _save(request: Request, visitor: Visitor, given: dict[str, str], *, new: bool) -> Response:
    values = {name: value.strip() for name, value in given.items()}
    try:
        registry.save_person(visitor.doors.database, visitor.doors.clock, values, by=visitor.person, new=new)
    except InvalidImport as error:
        return _form(request, visitor, given, new=new, errors=complaints(error, language_of(request), "name"))
    said = N_("The person was added. Invite them, and give them a role.") if new else N_("The person was changed.")
    return go_to(request, person_address(values["id"]), said)


def _form(request: Request, visitor: Visitor, given: dict[str, Any], *, new: bool, errors: list[tuple[str, str]] | None = None) -> Response:
    return admin_page(request, visitor, "edit-person.html", status=422 if errors else 200, typed=given, new=new, errors=errors or [])
