"""How a person wants to be told: channels, quiet hours, digest, unsubscribing."""

from __future__ import annotations

import hashlib
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.guard import Posted, posted
from insitu.entrance.language import N_
from insitu.entrance.links import arriving
from insitu.entrance.page import go_to, language_of, page
from insitu.entrance.visitor import Anyone, SignedIn, Visitor
from insitu.web.notice_words import DUTIES, ORDINARY
from notifications import channels
from notifications.channels import EMAIL, Recipient
from notifications.render import Occasion, render
from protocols.errors import DeliveryFailed, InvalidInput, UnknownThing
from protocols.phrase import Phrase
from sites.identity.limits import Door
from sites.identity.links import LinkRow
from sites.preferences import InvalidWish, contact_of, mute, preference_of, scheme_of, set_channels, set_preference

router = APIRouter()

HERE = "/account/notices"
LANE = CapacityLimiter(4)  # tests of channels under way: they wait for somebody else's server, and hold up no page meanwhile
HOURS = ("quiet_from", "quiet_until", "digest_at")
# The zones of France's territories, which the sites of this house stand in; a person's own other zone stays offered to them.
TIMEZONES = (
    *("Europe/Paris", "America/Guadeloupe", "America/Martinique", "America/Cayenne", "Indian/Reunion", "Indian/Mayotte"),
    *("America/Miquelon", "Pacific/Noumea", "Pacific/Tahiti", "Pacific/Wallis"),
)


@router.get(HERE)
def notices(request: Request, visitor: SignedIn) -> Response:
    """All the ways and the wishes of a person."""
    return _page(request, visitor)


@router.post(HERE)
def choose(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Keep the wishes; a refused one is said beside its field, and everything typed is kept."""
    doors, typed = doors_of(request), typed_wishes(form)
    try:
        set_preference(doors.database, doors.clock, visitor.person, visitor.person, **typed)
    except InvalidWish as refusal:
        return _page(request, visitor, typed, {refusal.field: language_of(request).text(refusal.args[0])})
    return go_to(request, HERE, N_("Your choices are kept. They count from the next message on."))


@router.post(f"{HERE}/channels")
def add_channel(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Add a channel, once it is one that insitu may send to; what was typed may hold a secret and is not shown again."""
    doors, address = doors_of(request), str(form.get("channel", "")).strip()
    try:
        channels.check_channel(address, doors.settings.channels)
        known = contact(doors, visitor.person)["channels"]
        set_channels(doors.database, doors.clock, visitor.person, visitor.person, [*known, address])
    except InvalidInput as refusal:
        return _page(request, visitor, errors={"channel": language_of(request).text(refusal.args[0])})
    return go_to(request, f"{HERE}#ways", N_("The channel is added. Test it."))


@router.post(f"{HERE}/channels/remove")
def remove_channel(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Take a channel away."""
    doors, mark = doors_of(request), str(form.get("way", ""))
    kept = [one for one in contact(doors, visitor.person)["channels"] if mark_of(one) != mark]
    set_channels(doors.database, doors.clock, visitor.person, visitor.person, kept)
    return go_to(request, f"{HERE}#ways", N_("The channel is taken away."))


@router.post(f"{HERE}/test")
async def try_way(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Send a message by one way, and say what came of it."""
    way = str(form.get("way", ""))
    failure = await tried(request, visitor, visitor.person, way)
    return await run_in_threadpool(_page, request, visitor, tested=way, failure=failure)


async def tried(request: Request, visitor: Visitor, person: str, way: str) -> str:
    """Why a message to a person by one way failed, "" when it did not. It waits for that server in a thread that makes no pages."""
    doors = doors_of(request)
    doors.limits.check(Door.CHANNEL, visitor.person)
    doors.limits.count(Door.CHANNEL, visitor.person)
    try:
        await to_thread.run_sync(send_test, doors, person, way, limiter=LANE)
    except DeliveryFailed as failure:
        return language_of(request).text(failure.args[0])
    return ""


def send_test(doors: Doors, name: str, way: str) -> None:
    """Send a person a message by one way. Raises DeliveryFailed, UnknownThing for a way that is gone."""
    person = contact(doors, name)
    message = render(Occasion("channel_test", link=doors.settings.public_url + HERE), person["locale"])
    if way == EMAIL:
        channels.send_mail(message, Recipient(person["name"], person["email"]), doors.settings.mail_url)
        return
    address = next((one for one in person["channels"] if mark_of(one) == way), None)
    if address is None:
        raise UnknownThing(Phrase("This channel is gone. Reload the page."))
    channels.send_to_channel(message, address, doors.settings.channels)


def mark_of(channel: str) -> str:
    """What stands for a channel in a form, instead of its address."""
    return hashlib.sha256(channel.encode()).hexdigest()[:16]


def contact(doors: Doors, person: str) -> dict[str, Any]:
    """How a person is reached. Raises UnknownThing."""
    with doors.database.read() as connection:
        return contact_of(connection, person)


def typed_wishes(form: FormData) -> dict[str, Any]:
    """The wishes that a form sends."""
    texts = {name: str(form.get(name, "")).strip() for name in (*HOURS, "timezone")}
    told = {str(one) for one in form.getlist("told")}
    return texts | {"working_days": "working_days" in form, "digest": "digest" in form, "muted": sorted(set(ORDINARY) - told)}


def _page(
    request: Request,
    visitor: Visitor,
    typed: dict[str, Any] | None = None,
    errors: dict[str, str] | None = None,
    *,
    tested: str = "",
    failure: str = "",
) -> Response:
    shown = shown_choices(doors_of(request), visitor.person, typed, tested)
    return page(request, "notices/notices.html", status=422 if errors else 200, here=HERE, errors=errors or {}, failure=failure, **shown)


def shown_choices(doors: Doors, person: str, typed: dict[str, Any] | None = None, tested: str = "") -> dict[str, Any]:
    """What the page shows of a person's ways and wishes: as they are, or as they were typed."""
    with doors.database.read() as connection:
        known, wishes = contact_of(connection, person), preference_of(connection, person)
    shown = typed or {name: getattr(wishes, name) for name in (*HOURS, "timezone", "working_days", "digest", "muted")}
    ways = [(EMAIL, known["email"]), *((mark_of(one), f"{scheme_of(one)}://…") for one in known["channels"])]
    return {
        "wishes": shown,
        "ways": ways,
        "tested": dict(ways).get(tested, ""),
        "allowed": sorted({one.partition("://")[0] for one in doors.settings.channels}),
        "timezones": [(one, one.rpartition("/")[2].replace("_", " ")) for one in dict.fromkeys((*TIMEZONES, shown["timezone"]))],
        "ordinary": ORDINARY,
        "duties": DUTIES,
    }


# ------------------------------------------------------------------ the way out, from a message


async def unsubscribing(request: Request) -> FormData:
    """The posted form: a page's own, or a mail program's single click (RFC 8058), for which the address alone vouches."""
    form = await request.form()
    return form if form.get("List-Unsubscribe") == "One-Click" else await posted(request)


@router.get("/unsubscribe/{token}")
def unsubscribe(request: Request, _: Anyone, token: str) -> Response:
    """Show of which kind of message someone would get no more, and what still comes; nothing is changed by looking."""
    return _unsubscribe_page(request, _opened(request, token))


@router.post("/unsubscribe/{token}")
def confirm_unsubscribe(request: Request, _: Anyone, token: str, form: FormData = Depends(unsubscribing)) -> Response:  # noqa: B008
    """Mute that kind for that person. Twice changes nothing more."""
    link, doors = _opened(request, token), doors_of(request)
    mute(doors.database, doors.clock, link.person, link.target)
    return _unsubscribe_page(request, link)


def _unsubscribe_page(request: Request, link: LinkRow) -> Response:
    doors = doors_of(request)
    with doors.database.read() as connection:
        is_muted = link.target in preference_of(connection, link.person).muted
    return page(request, "notices/unsubscribe.html", kind=ORDINARY[link.target], is_muted=is_muted, duties=DUTIES)


def _opened(request: Request, token: str) -> LinkRow:
    link = arriving(request, "unsubscribe", token)
    if link is None or link.target not in ORDINARY:
        raise UnknownThing(Phrase("This address to unsubscribe is damaged or no longer valid. Sign in to choose how you are told."))
    return link
