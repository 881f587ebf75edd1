"""Whom and where one works with: the people and sites of the experiments that a reader sees, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true

from protocols import clocks
from protocols.clocks import Place
from sites import policy
from sites.database import Database, table
from sites.folding import mentions
from sites.policy import SPONSOR, Reader
from sites.policy.administering import unknown_person
from sites.tables import Assignment, Experiment, ExperimentSite, Person, Site

_SITE, _PERSON, _ASSIGNMENT = table(Site), table(Person), table(Assignment)
_EXPERIMENT, _TAKES_PART = table(Experiment), table(ExperimentSite)


@dataclass(frozen=True, slots=True)
class Reach:
    """The sites and experiments whose people a reader may know; None for every one."""

    sites: frozenset[str] | None
    experiments: frozenset[str] | None


def seen_sites(database: Database, reader: Reader) -> list[dict[str, Any]]:
    """The sites a reader sees, by code: `code, name, kind, territory, timezone`. Of those they see as a sponsor only, the code alone."""
    with database.read() as connection:
        return sites_seen(connection, reader)


def sites_seen(connection: Connection, reader: Reader) -> list[dict[str, Any]]:
    """`seen_sites`, on the caller's connection."""
    seen, known = _sites_of(connection, reader), _sites_of(connection, _named(reader))
    query = select(_SITE).order_by(_SITE.c.code)
    rows = connection.execute(query if seen is None else query.where(_SITE.c.code.in_(sorted(seen)))).mappings()
    return [row if known is None or row["code"] in known else _nameless(row) for row in map(dict, rows)]


def require_known(connection: Connection, reader: Reader, person: str) -> None:
    """Let a reader name somebody they work with, or may see at all; anyone else is as unknown as nobody. Raises UnknownThing."""
    wanted = _wanted(reader, _known_assignments(connection, reader, clocks.local_date(reader.now, Place())), "", "", "")
    if connection.execute(select(_PERSON.c.id).where(_PERSON.c.id == person, *wanted)).first() is None:
        raise unknown_person(person)


def _nameless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"code": row["code"], "name": row["code"], "kind": "", "territory": "", "timezone": ""}


def colleagues(
    database: Database, reader: Reader, *, q: str = "", site: str = "", role: str = "", page: int = 1, size: int = 50
) -> dict[str, Any]:
    """A page of the people a reader works with, by id: `{"items", "total"}`.

    Each has `id, name, locale`, the `assignments` in force that the reader may know of, and for project managers `email` and the kinds of
    their `channels`. A project manager of everything sees everybody with all their assignments; whoever sees as a sponsor only, themselves.
    `site` and `role` keep those who hold something there or as that; `q` looks in id and name.
    """
    today = clocks.local_date(reader.now, Place())
    with database.read() as connection:
        theirs = _known_assignments(connection, reader, today)
        wanted = _wanted(reader, theirs, q, site, role)
        total = connection.execute(select(func.count()).select_from(_PERSON).where(*wanted)).scalar_one()
        query = select(_PERSON).where(*wanted).order_by(_PERSON.c.id).limit(size).offset((page - 1) * size)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        held = _held(connection, theirs, [row["id"] for row in rows])
    return {"items": [_person(row, held.get(row["id"], []), reader) for row in rows], "total": total}


def reach(connection: Connection, reader: Reader) -> Reach:
    """Where the people are whom a reader may know by name."""
    naming = _named(reader)
    if naming.is_manager:
        return Reach(None, None)
    codes = connection.execute(select(_EXPERIMENT.c.code).where(policy.seen_experiments(connection, naming))).scalars()
    return Reach(_sites_of(connection, naming), frozenset(codes))


def _named(reader: Reader) -> Reader:
    """The reader without what they hold as a sponsor, which shows no names."""
    return replace(reader, held=tuple(one for one in reader.held if one.role != SPONSOR))


def _sites_of(connection: Connection, reader: Reader) -> frozenset[str] | None:
    if reader.is_manager:
        return None
    query = (
        select(_TAKES_PART.c.site)
        .join_from(_TAKES_PART, _EXPERIMENT, _EXPERIMENT.c.id == _TAKES_PART.c.experiment_id)
        .where(policy.seen_experiments(connection, reader), policy.seen_rows(connection, reader, _TAKES_PART.c.site))
        .distinct()
    )
    own = {one.site for one in reader.in_force_at(Place()) if one.site}
    return frozenset(connection.execute(query).scalars()) | own


def _known_assignments(connection: Connection, reader: Reader, today: date) -> ColumnElement[bool]:
    there = reach(connection, reader)
    if there.sites is None or there.experiments is None:
        return true()
    own = _ASSIGNMENT.c.person == reader.person
    if not there.experiments and not there.sites:
        return own
    near = and_(_ASSIGNMENT.c.site.in_(["", *sorted(there.sites)]), _ASSIGNMENT.c.experiment.in_(["", *sorted(there.experiments)]))
    return or_(own, and_(near, policy.in_force(today)))


def _wanted(reader: Reader, theirs: ColumnElement[bool], q: str, site: str, role: str) -> list[ColumnElement[bool]]:
    narrowed = [_ASSIGNMENT.c[name] == value for name, value in (("site", site), ("role", role)) if value]
    holds_something = _PERSON.c.id.in_(select(_ASSIGNMENT.c.person).where(theirs, *narrowed))
    found: list[ColumnElement[bool]] = [] if reader.is_manager else [or_(_PERSON.c.id == reader.person, holds_something)]
    found += [holds_something] if narrowed else []
    found += mentions(q, _PERSON.c.id, _PERSON.c.name)
    return found or [true()]


def _held(connection: Connection, theirs: ColumnElement[bool], people: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    order = (_ASSIGNMENT.c.person, _ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(select(_ASSIGNMENT).where(_ASSIGNMENT.c.person.in_(list(people)), theirs).order_by(*order)).mappings():
        named = {name: row[name] or None for name in ("person", "role", "site", "experiment")}
        found.setdefault(row["person"], []).append(named | {"from": _day(row["from_date"]), "until": _day(row["until_date"])})
    return found


def _day(value: date | None) -> str | None:
    return value.isoformat() if value else None


def _person(row: Mapping[str, Any], held: list[dict[str, Any]], reader: Reader) -> dict[str, Any]:
    shown = {name: row[name] for name in ("id", "name", "locale")} | {"assignments": held}
    if not reader.is_some_manager:
        return shown
    # Of a channel only its kind is shown: its address may hold a password.
    return shown | {"email": row["email"], "channels": [f"{address.partition('://')[0]}://…" for address in row["channels"]]}
