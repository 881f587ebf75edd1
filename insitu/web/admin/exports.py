"""Sites, people and assignments as files that can be imported again; that they left the house is journaled."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.sender import address_of
from insitu.entrance.visitor import GlobalManager, Visitor
from insitu.web.experiment.documents import saved
from sites import registry
from sites.database import Database
from sites.identity.access import AccessKind, in_place_of, note
from sites.sheets import COLUMNS, KINDS, as_csv

router = APIRouter()

# A channel's address may hold a password. A file without that column leaves channels as they are when it is imported again.
LEFT_OUT = frozenset({"channels"})


def _assignments(database: Database) -> list[dict[str, Any]]:
    """Those that can be imported again: one ended before it began never counts."""
    return [one for one in registry.assignments(database) if not (one["from"] and one["until"] and one["until"] < one["from"])]


ROWS: dict[str, Callable[[Database], list[dict[str, Any]]]] = {
    "sites": registry.sites,
    "people": registry.people,
    "assignments": _assignments,
}


@router.get("/admin/registry.yaml")
def registry_as_yaml(request: Request, visitor: GlobalManager) -> Response:
    """Everything in one file."""
    rows = {kind: ROWS[kind](visitor.doors.database) for kind in KINDS}
    _note(request, visitor, "registry.yaml", sum(map(len, rows.values())))
    return saved("registry.yaml", "application/yaml", _yaml(rows))


@router.get("/admin/sites.csv")
def sites_as_csv(request: Request, visitor: GlobalManager) -> Response:
    """The sites, for a spreadsheet."""
    return _csv(request, visitor, "sites")


@router.get("/admin/people.csv")
def people_as_csv(request: Request, visitor: GlobalManager) -> Response:
    """The people, for a spreadsheet."""
    return _csv(request, visitor, "people")


@router.get("/admin/assignments.csv")
def assignments_as_csv(request: Request, visitor: GlobalManager) -> Response:
    """The assignments, for a spreadsheet."""
    return _csv(request, visitor, "assignments")


def _csv(request: Request, visitor: Visitor, kind: str) -> Response:
    rows, names = ROWS[kind](visitor.doors.database), _names(kind)
    _note(request, visitor, f"{kind}.csv", len(rows))
    return saved(f"{kind}.csv", "text/csv; charset=utf-8", as_csv(names, ([row[name] for name in names] for row in rows)))


def _names(kind: str) -> list[str]:
    return [name for name in COLUMNS[kind] if name not in LEFT_OUT]


def _yaml(rows: dict[str, list[dict[str, Any]]]) -> str:
    """A map to each line, written as JSON, which YAML 1.2 reads."""
    lines: list[str] = []
    for kind, found in rows.items():
        kept = [{name: row[name] for name in _names(kind) if row[name] not in (None, "")} for row in found]
        lines += [f"{kind}:", *(f"  - {json.dumps(row, ensure_ascii=False)}" for row in kept)] if kept else []
    return "\n".join(lines) + "\n"


def _note(request: Request, visitor: Visitor, what: str, rows: int) -> None:
    with visitor.doors.database.write() as connection:
        at, address = visitor.doors.clock.now(), address_of(request)
        told: dict[str, Any] = {"what": what, "rows": rows} | in_place_of(*visitor.reader.deputises)
        note(connection, AccessKind.EXPORTED, at, by=visitor.person, address=address, **told)
