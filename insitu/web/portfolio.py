"""All experiments: what is stuck, since when, on whom, and the deadlines ahead."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from insitu.entrance.language import N_, Language
from insitu.entrance.page import language_of, page
from insitu.entrance.sender import address_of
from insitu.entrance.visitor import SignedIn, Visitor
from protocols.state import ExperimentState
from sites import portfolio
from sites.identity.access import AccessKind, in_place_of, note
from sites.sheets import as_csv

router = APIRouter()

FILTERS = ("q", "state", "site", "protocol", "only")
SIZE = 25
FEW = 12  # deadlines shown beside the list; their own page has them all
AHEAD_DAYS = 30

# What people read of the things that are stuck, by why they are.
WHY = {
    "hold": N_("on hold"),
    "incident": N_("an automated action failed"),
    "late": N_("late"),
    "waiting": N_("has waited more than two weeks"),
}
COLUMNS = {
    "code": N_("Code"),
    "title": N_("Title"),
    "protocol": N_("Protocol"),
    "version": N_("Version"),
    "state": N_("State"),
    "phase": N_("Phase"),
    "progress": N_("Progress"),
    "active": N_("Active sites"),
    "stopped": N_("Stopped sites"),
    "open": N_("Open gates"),
    "late": N_("Late gates"),
    "stuck": N_("Stuck"),
    "stuck_since": N_("Stuck since"),
    "stuck_on": N_("Waits for"),
    "next_due_on": N_("Next deadline"),
}


@router.get("/experiments")
def experiments(request: Request, visitor: SignedIn) -> Response:
    """The experiments one sees, narrowed by what the address says."""
    filters, doors, tongue = _filters(request), visitor.doors, language_of(request)
    number = _number(request)
    found = portfolio.experiments(doors.database, visitor.reader, doors.clock.now(), visitor.locale, page=number, size=SIZE, **filters)
    ahead = portfolio.deadlines(doors.database, visitor.reader, doors.clock.now(), visitor.locale, AHEAD_DAYS, limit=FEW + 1)
    return page(
        request,
        "portfolio/experiments.html",
        found=found,
        filters=filters,
        choices=portfolio.choices(doors.database, visitor.reader, visitor.locale),
        state_options=[("", tongue(N_("All"))), *((state.value, tongue.word(state.value)) for state in ExperimentState)],
        why=WHY,
        weeks=weeks(ahead[:FEW]),
        more=len(ahead) > FEW,
        earlier=_address(filters, number - 1) if 1 < number <= found["pages"] else "",
        later=_address(filters, number + 1) if number < found["pages"] else "",
        export="/experiments.csv" + _query(filters),
        narrowed=any(filters.values()),
    )


@router.get("/deadlines")
def deadlines(request: Request, visitor: SignedIn) -> Response:
    """The deadlines of the next thirty days, by week."""
    doors = visitor.doors
    found = portfolio.deadlines(doors.database, visitor.reader, doors.clock.now(), visitor.locale, AHEAD_DAYS)
    return page(request, "portfolio/deadlines.html", weeks=weeks(found), count=len(found))


@router.get("/experiments.csv")
def export(request: Request, visitor: SignedIn) -> Response:
    """The list as a file for a spreadsheet; that it left the house is journaled."""
    filters, doors, tongue = _filters(request), visitor.doors, language_of(request)
    rows = [_cells(item, tongue) for item in _all(visitor, filters)]
    with doors.database.write() as connection:
        what: dict[str, Any] = {"what": "experiments", "rows": len(rows)} | {name: value for name, value in filters.items() if value}
        what |= in_place_of(*visitor.reader.deputises)
        by, address = visitor.person, address_of(request)
        note(connection, AccessKind.EXPORTED, doors.clock.now(), person=by, by=by, address=address, **what)
    named = {"content-disposition": 'attachment; filename="experiments.csv"'}
    return Response(as_csv([tongue(name) for name in COLUMNS.values()], rows), media_type="text/csv; charset=utf-8", headers=named)


def _all(visitor: Visitor, filters: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    number, pages = 1, 1
    while number <= pages:
        part = portfolio.experiments(
            visitor.doors.database, visitor.reader, visitor.doors.clock.now(), visitor.locale, page=number, size=200, **filters
        )
        found, number, pages = found + part["items"], number + 1, part["pages"]
    return found


def _cells(item: dict[str, Any], tongue: Language) -> list[Any]:
    said = item | {
        "state": tongue.word(item["state"]),
        "phase": tongue.word(item["phase"]),
        "stuck_on": "; ".join(_waits(one, tongue) for one in item["stuck_on"]),
    }
    return [said[name] for name in COLUMNS]


def _waits(one: dict[str, Any], tongue: Language) -> str:
    parts = (one["step_title"], one["site"], tongue(WHY[one["why"]]), one["role_title"], ", ".join(one["persons"]))
    return " – ".join(part for part in parts if part)


def weeks(found: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Deadlines in order, by the Monday of their week."""
    return [(week, list(those)) for week, those in groupby(found, key=lambda one: str(one["week"]))]


def _filters(request: Request) -> dict[str, str]:
    return {name: request.query_params.get(name, "")[: portfolio.LONGEST_QUERY] for name in FILTERS}


def _number(request: Request) -> int:
    given = request.query_params.get("page", "")
    return min(int(given), 1_000_000) if given.isascii() and given.isdecimal() and len(given) < 8 and int(given) else 1


def _query(filters: dict[str, str], **more: str) -> str:
    kept = {name: value for name, value in filters.items() if value} | more
    return "?" + urlencode(kept) if kept else ""


def _address(filters: dict[str, str], number: int) -> str:
    return "/experiments" + (_query(filters, page=str(number)) if number > 1 else _query(filters))
