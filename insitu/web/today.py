"""Today: what is late, due and blocked, for me and those I deputise for; and what I did that waits for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.page import page
from insitu.entrance.visitor import SignedIn, Visitor
from insitu.web.checkpoint_page import address_of
from sites import errands, inbox
from sites.board import iso
from sites.folding import fold
from sites.names import names

router = APIRouter()

BLOCKED, LATE, DUE = "blocked", "late", "due"


@router.get("/today")
def today(request: Request, visitor: SignedIn) -> Response:
    """One list for oneself and one for each person deputised for: late first, then the nearest deadline, then what cannot be done now."""
    now = visitor.doors.clock.now()
    items = inbox.inbox(visitor.doors.database, visitor.person, now, visitor.locale)
    with visitor.doors.database.read() as connection:
        own = {one["id"] for one in items}
        waiting = [one for one in errands.waiting_for_others(connection, visitor.reader, visitor.locale) if one["id"] not in own]
        sites = errands.site_names(connection, (one["site"] for one in (*items, *waiting)))
        known: dict[str, Any] = {
            "holds": errands.holds(connection, items),
            "signers": errands.signers(connection, items, now),
            "people": names(connection, (one["of"] for one in items)),
        }
    entries = [_entry(one, known) for one in items]
    values: dict[str, Any] = {"groups": _groups(entries, visitor, known["people"]), "waiting": waiting, "site_names": sites}
    can_start = [one for one in entries if one["state"] != BLOCKED]
    late = sum(one["state"] == LATE for one in entries)
    return page(request, "today/today.html", to_do=len(can_start), late=late, address_of=address_of, today=iso(now), **values)


def _entry(item: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """An item with its state here, and why it is blocked where it is."""
    site = item["site"] or ""
    hold = known["holds"].get((item["experiment"], site)) or known["holds"].get((item["experiment"], ""))
    state = BLOCKED if item["blocked"] or item["lacks"] else LATE if item["late"] else DUE
    signers = known["signers"].get((item["experiment"], site), []) if item["lacks"] else []
    return dict(item) | {"state": state, "hold": hold if item["blocked"] else None, "signers": signers}


def _groups(entries: Iterable[Mapping[str, Any]], visitor: Visitor, people: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each person (oneself first, then by name): their entries by state."""
    by_person: dict[str, list[Mapping[str, Any]]] = {"": []}
    for one in entries:
        by_person.setdefault(one["of"], []).append(one)
    found = [
        {
            "of": of,
            "name": people.get(of, of),
            "count": len(own),
            "states": [(state, [one for one in own if one["state"] == state]) for state in (LATE, DUE, BLOCKED)],
        }
        for of, own in by_person.items()
    ]
    return sorted(found, key=lambda group: (group["of"] != "", fold(group["name"])))
