"""How someone is told, set for them by a project manager of everything, with a test of each way."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import GlobalManager, Visitor
from insitu.web.admin.frame import admin_page, person_address
from insitu.web.notices import contact, mark_of, shown_choices, tried, typed_wishes
from notifications import channels
from protocols.errors import InvalidInput
from sites.preferences import InvalidWish, set_channels, set_preference

router = APIRouter()

PATH = "/admin/people/{person}/notices"


def here_of(person: str) -> str:
    """Where a person's choices are made for them."""
    return person_address(person) + "/notices"


@router.get(PATH)
def notices(request: Request, visitor: GlobalManager, person: str) -> Response:
    """All the ways and the wishes of a person. Raises UnknownThing."""
    return _page(request, visitor, person)


@router.post(PATH)
def choose(request: Request, visitor: GlobalManager, person: str, form: Posted) -> Response:
    """Keep the wishes; a refused one is said beside its field, and everything typed is kept."""
    doors, typed = visitor.doors, typed_wishes(form)
    try:
        set_preference(doors.database, doors.clock, person, visitor.person, **typed)
    except InvalidWish as refusal:
        return _page(request, visitor, person, typed, {refusal.field: language_of(request).text(refusal.args[0])})
    return go_to(request, here_of(person), N_("Your choices are kept. They count from the next message on."))


@router.post(f"{PATH}/channels")
def add_channel(request: Request, visitor: GlobalManager, person: str, form: Posted) -> Response:
    """Add a channel, once it is one that insitu may send to; what was typed may hold a secret and is not shown again."""
    doors, typed = visitor.doors, str(form.get("channel", "")).strip()
    known = contact(doors, person)["channels"]
    try:
        channels.check_channel(typed, doors.settings.channels)
        set_channels(doors.database, doors.clock, person, visitor.person, [*known, typed])
    except InvalidInput as refusal:
        return _page(request, visitor, person, errors={"channel": language_of(request).text(refusal.args[0])})
    return go_to(request, f"{here_of(person)}#ways", N_("The channel is added. Test it."))


@router.post(f"{PATH}/channels/remove")
def remove_channel(request: Request, visitor: GlobalManager, person: str, form: Posted) -> Response:
    """Take a channel away."""
    doors, mark = visitor.doors, str(form.get("way", ""))
    kept = [one for one in contact(doors, person)["channels"] if mark_of(one) != mark]
    set_channels(doors.database, doors.clock, person, visitor.person, kept)
    return go_to(request, f"{here_of(person)}#ways", N_("The channel is taken away."))


@router.post(f"{PATH}/test")
async def try_way(request: Request, visitor: GlobalManager, person: str, form: Posted) -> Response:
    """Send the person a message by one way, and say what came of it."""
    way = str(form.get("way", ""))
    failure = await tried(request, visitor, person, way)
    return await run_in_threadpool(_page, request, visitor, person, tested=way, failure=failure)


def _page(
    request: Request,
    visitor: Visitor,
    person: str,
    typed: dict[str, Any] | None = None,
    errors: dict[str, str] | None = None,
    *,
    tested: str = "",
    failure: str = "",
) -> Response:
    shown = shown_choices(visitor.doors, person, typed, tested) | {"errors": errors or {}, "failure": failure, "here": here_of(person)}
    name = contact(visitor.doors, person)["name"]
    return admin_page(request, visitor, "notices.html", status=422 if errors else 200, person=person, name=name, **shown)
