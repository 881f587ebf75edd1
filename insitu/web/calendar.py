"""Deadlines as a calendar feed (RFC 5545), one address a person, which they can revoke."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Request, Response

from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.guard import Posted
from insitu.entrance.language import N_, Language, language
from insitu.entrance.links import arriving
from insitu.entrance.page import go_to, page
from insitu.entrance.visitor import Anyone, SignedIn
from protocols.errors import UnknownThing
from protocols.phrase import Phrase
from sites import policy
from sites.calendar import calendar, locale_of
from sites.identity.links import create_link, links_of, path_of, revoke_link, revoke_links

router = APIRouter()

SITES_NAMED = 10


@router.get("/calendar/{token}.ics")
def feed(request: Request, _: Anyone, token: str) -> Response:
    """The deadlines of whoever the address belongs to, in their language; unchanged since it was last fetched, 304.

    Raises UnknownThing for an address that is forged or was revoked, and for a person whose account is closed.
    """
    doors = doors_of(request)
    link = arriving(request, "calendar", token)
    locale = locale_of(doors.database, link.person) if link else None
    if link is None or locale is None:
        raise UnknownThing(Phrase("There is no calendar at this address. Create a new one on your account page."))
    now = doors.clock.now()
    with doors.database.read() as connection:
        reader = policy.reader(connection, link.person, now)
    entries = calendar(doors.database, reader, now, locale)
    mark = f'"{hashlib.sha256(orjson.dumps([locale, entries])).hexdigest()[:32]}"'
    headers = {"etag": mark, "cache-control": "private, no-cache"}
    if mark in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = written(entries, language(locale), doors.settings.public_url)
    return Response(content, media_type="text/calendar; charset=utf-8", headers=headers)


def written(entries: Sequence[dict[str, Any]], tongue: Language, public_url: str) -> bytes:
    """Entries as an iCalendar document: whole days, without alarms, that block nobody's time."""
    from icalendar import Calendar, Timezone  # costs a tenth of a second; only a calendar's reader pays for it

    found = Calendar()
    found.add("prodid", "-//insitu//deadlines//EN")
    found.add("version", "2.0")
    found.add("method", "PUBLISH")
    found.add("x-wr-calname", tongue(N_("insitu: deadlines")))
    found.add("x-published-ttl", "PT4H")
    for entry in entries:
        found.add_component(_event(entry, tongue, public_url))
    if not entries:  # a calendar has at least one component (RFC 5545, 3.6)
        found.add_component(Timezone.from_tzid("Europe/Paris"))
    content: bytes = found.to_ical()
    return content


def _event(entry: dict[str, Any], tongue: Language, public_url: str) -> Any:
    from icalendar import Event

    event = Event()
    event.add("uid", f"{entry['id']}@{urlsplit(public_url).hostname or 'insitu'}")
    event.add("dtstamp", entry["since"])
    event.add("dtstart", entry["due_on"])
    event.add("summary", " – ".join(filter(None, (entry["experiment"], entry["title"], _where(entry["sites"])))))
    place = f"/checkpoints/{entry['checkpoint']}" if entry["checkpoint"] else f"/experiments/{entry['experiment']}"
    event.add("url", public_url + place)
    event.add("transp", "TRANSPARENT")
    if entry["is_legal"]:
        event.add("description", tongue(N_("legal deadline")))
    return event


def _where(sites: Sequence[str]) -> str:
    return ", ".join(sites[:SITES_NAMED]) + (f" +{len(sites) - SITES_NAMED}" if len(sites) > SITES_NAMED else "")


# ------------------------------------------------------------------ one's own address


@router.get("/account/calendar")
def own_calendar(request: Request, visitor: SignedIn) -> Response:
    """One's calendar address: whether there is one, and the address itself when asked for."""
    doors, link = visitor.doors, _link_of(visitor.doors, visitor.person)
    address = doors.settings.public_url + path_of(doors.key, "calendar", link["id"]) if link and "shown" in request.query_params else ""
    webcal = "webcal" + address[address.find(":") :] if address else ""  # the scheme that calendars listen to
    return page(request, "portfolio/calendar.html", link=link, address=address, webcal=webcal)


@router.post("/account/calendar")
def renew(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Create one's address; an earlier one stops working."""
    doors, now = visitor.doors, visitor.doors.clock.now()
    with doors.database.write() as connection:
        revoke_links(connection, visitor.person, now, by=visitor.person, purposes=("calendar",))
        create_link(connection, "calendar", visitor.person, now, by=visitor.person, lasts=None)
    return go_to(request, "/account/calendar?shown=1", N_("Your calendar has an address."))


@router.post("/account/calendar/revoke")
def revoke(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Take one's address back: whoever has it sees nothing more."""
    doors, link = visitor.doors, _link_of(visitor.doors, visitor.person)
    if link:
        with doors.database.write() as connection:
            revoke_link(connection, link["id"], doors.clock.now(), by=visitor.person)
    return go_to(request, "/account/calendar", N_("The address works no more."))


def _link_of(doors: Doors, person: str) -> dict[str, Any] | None:
    """A person's calendar link in force; None without one."""
    return next((one for one in links_of(doors.database, person) if one["purpose"] == "calendar" and not one["revoked_at"]), None)
