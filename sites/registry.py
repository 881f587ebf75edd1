"""Who takes part, and where: sites, people and the roles they hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, Table, and_, insert, select, update

from protocols.errors import InvalidImport, did_you_mean
from protocols.needs import MANAGER
from sites import sheets
from sites.database import Database, table
from sites.sheets import KEYS, KINDS, Row, Sheet
from sites.tables import Assignment, Experiment, Person, Release, Site

_TABLES = {"sites": table(Site), "people": table(Person), "assignments": table(Assignment)}
_SITE, _PERSON, _ASSIGNMENT = _TABLES.values()
_COLUMN_NAMES = {"from": "from_date", "until": "until_date"}
Key = tuple[str, ...]


def import_file(database: Database, text: str, file: str = "", kinds: Iterable[str] = KINDS) -> dict[str, Any]:
    """Write the sites, people and assignments of a file: `{"sites": {"added", "changed", "unchanged"}, …, "warnings": […]}`.

    Only `kinds` are written; the whole file is checked. What the file does not name stays as it is, and the same file again changes
    nothing. A role that no released protocol has is a warning, a line of text.
    Raises InvalidImport with every problem and its line; nothing is written then.
    """
    sheet = sheets.read(text, file)
    return _write(database, sheet, set(kinds))


def assign(
    database: Database,
    person: str,
    role: str,
    site: str | None = None,
    experiment: str | None = None,
    from_: date | None = None,
    until: date | None = None,
) -> dict[str, Any]:
    """Let a person hold a role, everywhere or at a site or in an experiment, between two local dates, both included.

    Gives the assignment with its `result`: `added`, `changed` (other dates) or `unchanged`, and `warnings`.
    Raises InvalidImport for an unknown person, site or experiment, or dates the wrong way round.
    """
    days = {"from": from_.isoformat() if from_ else "", "until": until.isoformat() if until else ""}
    given = {"person": person, "role": role, "site": site or "", "experiment": experiment or ""} | days
    written = _write(database, sheets.row_of("assignments", given), {"assignments"})
    result = next(name for name, count in written["assignments"].items() if count)
    return {name: value or None for name, value in given.items()} | {"result": result, "warnings": written["warnings"]}


def sites(database: Database) -> list[dict[str, Any]]:
    """Every site, by code."""
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(_SITE).order_by(_SITE.c.code)).mappings()]


def people(database: Database) -> list[dict[str, Any]]:
    """Every person, by id. Of a channel only its kind is shown: its address may hold a password."""
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(select(_PERSON).order_by(_PERSON.c.id)).mappings()]
    return [row | {"channels": [f"{address.partition('://')[0]}://…" for address in row["channels"]]} for row in rows]


def assignments(database: Database) -> list[dict[str, Any]]:
    """Every assignment: `person, role, site, experiment, from, until`, None where it says nothing."""
    order = (_ASSIGNMENT.c.person, _ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment)
    with database.read() as connection:
        rows = list(connection.execute(select(_ASSIGNMENT).order_by(*order)).mappings())
    names = {name: _COLUMN_NAMES.get(name, name) for name in sheets.COLUMNS["assignments"]}
    return [{name: _plain(row[column]) for name, column in names.items()} for row in rows]


def _plain(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, date) else value or None


# ------------------------------------------------------------------ writing


def _write(database: Database, sheet: Sheet, kinds: set[str]) -> dict[str, Any]:
    with database.write() as connection:
        _check_names(connection, sheet)
        if errors := sorted((one for one in sheet.problems if one.level == "error"), key=lambda problem: problem.line):
            raise InvalidImport(errors)
        counts = {kind: _upsert(connection, kind, sheet.rows[kind]) for kind in KINDS if kind in kinds}
    return counts | {"warnings": [str(problem) for problem in sheet.problems]}


def _upsert(connection: Connection, kind: str, rows: list[Row]) -> dict[str, int]:
    target = _TABLES[kind]
    known = {_key(kind, row): dict(row) for row in connection.execute(select(target)).mappings()}
    wanted = {_key(kind, row.values): _columns(kind, row.values) for row in rows}
    added = [values for key, values in wanted.items() if key not in known]
    changed = [values for key, values in wanted.items() if key in known and not values.items() <= known[key].items()]
    if added:
        connection.execute(insert(target), added)
    for values in changed:
        connection.execute(update(target).where(_is(target, kind, values)).values(values))
    return {"added": len(added), "changed": len(changed), "unchanged": len(wanted) - len(added) - len(changed)}


def _key(kind: str, row: Mapping[Any, Any]) -> Key:
    return tuple(row[name] for name in KEYS[kind])


def _is(target: Table, kind: str, values: Mapping[str, Any]) -> Any:
    return and_(*(target.c[name] == values[name] for name in KEYS[kind]))


def _columns(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if kind != "assignments":
        return dict(values)
    days = {column: date.fromisoformat(values[name]) if values[name] else None for name, column in _COLUMN_NAMES.items()}
    return {name: values[name] for name in KEYS[kind]} | days


# ------------------------------------------------------------------ names that must exist


def _check_names(connection: Connection, sheet: Sheet) -> None:
    _check_duplicates(sheet)
    if not sheet.rows["assignments"]:
        return
    known = {
        "person": set(connection.execute(select(_PERSON.c.id)).scalars()) | {row.values["id"] for row in sheet.rows["people"]},
        "site": set(connection.execute(select(_SITE.c.code)).scalars()) | {row.values["code"] for row in sheet.rows["sites"]},
        "experiment": set(connection.execute(select(table(Experiment).c.code)).scalars()),
    }
    roles = _roles(connection)
    for row in sheet.rows["assignments"]:
        for name, names in known.items():
            if row.values[name] and row.values[name] not in names:
                message = f"There is no {name} {row.values[name]!r}.{did_you_mean(row.values[name], names)}"
                sheet.blame(row.line, f"unknown_{name}", message, f"{row.path}.{name}".lstrip("."))
        _check_role(row, roles, sheet)


def _check_duplicates(sheet: Sheet) -> None:
    for kind in KINDS:
        first: dict[Key, int] = {}
        for row in sheet.rows[kind]:
            key = tuple(value.casefold() for value in _key(kind, row.values))
            if key in first:
                name = " ".join(filter(None, _key(kind, row.values)))
                sheet.blame(row.line, "duplicate", f"{name!r} is in the file twice, first on line {first[key]}.", row.path)
            first.setdefault(key, row.line)


def _check_role(row: Row, roles: Mapping[str, set[str]], sheet: Sheet) -> None:
    role = row.values["role"]
    if roles and role not in roles:
        message = f"No released protocol has a role {role!r}.{did_you_mean(role, roles)}"
        sheet.blame(row.line, "unknown_role", message, f"{row.path}.role".lstrip("."), warn=True)
    elif row.values["site"] and roles.get(role) == {"experiment"}:
        message = f"{role!r} is a role of the whole experiment: held at a site only, it never applies. Leave the site out."
        sheet.blame(row.line, "site_of_experiment_role", message, f"{row.path}.site".lstrip("."), warn=True)


def _roles(connection: Connection) -> dict[str, set[str]]:
    """The roles of every released protocol with the scopes they have there."""
    found: dict[str, set[str]] = {}
    for content in connection.execute(select(table(Release).c.content)).scalars():
        for role, described in json.loads(content)["roles"].items():
            found.setdefault(role, set()).add(described["scope"])
    return found | {MANAGER: {"experiment"}} if found else {}
