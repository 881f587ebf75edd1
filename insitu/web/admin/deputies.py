"""Deputies: one's own for everybody, everyone's for a project manager of everything."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import SignedIn, Visitor
from insitu.web.admin.frame import Number, admin_page, complaints, days, own_list, said, typed
from insitu.web.admin.words import STATES, TONES
from protocols.errors import InvalidInput
from sites import people
from sites.colleagues import colleagues
from sites.deputies import deputies as deputies_of
from sites.deputies import end_deputy, name_deputy
from sites.policy.administering import seen_people

router = APIRouter()

PATH = "/admin/deputies"
NAMES = ("person", "deputy", "from", "until")


@router.get("/admin/deputies")
def deputies(request: Request, visitor: SignedIn) -> Response:
    """The deputies one sees, and the form to name one."""
    return _page(request, visitor, dict.fromkeys(NAMES, "") | {"person": visitor.person}, [])


def _page(request: Request, visitor: Visitor, given: dict[str, str], errors: list[tuple[str, str]]) -> Response:
    database, reader = visitor.doors.database, visitor.reader
    return admin_page(
        request,
        visitor,
        "deputies.html",
        status=422 if errors else 200,
        found=deputies_of(database, reader),
        people=_known(visitor),
        typed=given,
        errors=errors,
        states=STATES,
        tones=TONES,
    )


def _known(visitor: Visitor) -> list[tuple[str, str]]:
    """Whom the visitor may name: the people they manage, else those they work with."""
    reader = visitor.reader.in_own_right  # what is lent is not lent further
    if not reader.is_manager:
        found = colleagues(visitor.doors.database, reader, size=200)["items"]
        return [(one["id"], one["name"]) for one in found if one["id"] != visitor.person]
    with visitor.doors.database.read() as connection:
        return people.named(connection, seen_people(connection, reader))


@router.post("/admin/deputies")
def name(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Name a deputy, of oneself or, for a project manager of everything, of anybody. Raises NotAssigned."""
    given, tongue, doors = typed(form, NAMES), language_of(request), visitor.doors
    dates, wrong = days(given, {"from": True, "until": True})
    begins, ends = dates.get("from"), dates.get("until")
    if wrong or begins is None or ends is None:
        return _page(request, visitor, given, said(wrong, tongue))
    person, deputy = given["person"].strip() or visitor.person, given["deputy"].strip()
    try:
        name_deputy(doors.database, doors.clock, person, deputy, begins, ends, by=visitor.person)
    except InvalidInput as error:
        return _page(request, visitor, given, complaints(error, tongue, "deputy"))
    return go_to(request, own_list(form, PATH), N_("The deputy was named."))


@router.post("/admin/deputies/{number}/end")
def end(request: Request, visitor: SignedIn, number: Number, form: Posted) -> Response:
    """End a deputy's time at once. Raises UnknownThing, Refused."""
    end_deputy(visitor.doors.database, visitor.doors.clock, number, by=visitor.person)
    return go_to(request, own_list(form, PATH), N_("The deputy’s time was ended."))
