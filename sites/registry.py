"""Who takes part, and where: sites, people and the roles they hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, Table, and_, insert, select, update

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import InvalidImport, Refused, UnknownThing, did_you_mean
from protocols.keys import are_same, folded
from protocols.needs import MANAGER
from protocols.phrase import Phrase
from sites import keys, policy, sheets
from sites.clock import Clock
from sites.database import Database, queue_up, table
from sites.identity.access import AccessKind, in_place_of, note
from sites.policy import administering
from sites.sheets import KEYS, KINDS, Row, Sheet
from sites.tables import Assignment, Experiment, Person, Release, Site

_TABLES = {"sites": table(Site), "people": table(Person), "assignments": table(Assignment)}
_SITE, _PERSON, _ASSIGNMENT = _TABLES.values()
_COLUMN_NAMES = {"from": "from_date", "until": "until_date"}
Key = tuple[str, ...]


def import_file(
    database: Database, text: str, file: str = "", kinds: Iterable[str] = KINDS, *, by: str = "", clock: Clock | None = None
) -> dict[str, Any]:
    """Write the sites, people and assignments of a file: `{"sites": {"added", "changed", "unchanged"}, …, "warnings": […]}`.

    Only `kinds` are written; the whole file is checked. What the file does not name stays as it is, and the same file again changes
    nothing. A role that no released protocol has is a warning, a line of text. With a `clock` the access journal says what was written.
    Raises InvalidImport with every problem and its line, NotAssigned when `by` ("" for the command line) does not manage everything;
    nothing is written then.
    """
    sheet = sheets.read(text, file)
    with database.write() as connection:
        if by:
            administering.require_whole_themselves(_reader(connection, by, clock), Phrase("import a file"))
        written, rows = _written(connection, sheet, set(kinds))
        if clock and any(rows.values()):
            note(connection, AccessKind.REGISTRY_IMPORTED, clock.now(), by=by, file=file, rows=_told(rows))
    return written


def assign(
    database: Database,
    person: str,
    role: str,
    site: str | None = None,
    experiment: str | None = None,
    from_: date | None = None,
    until: date | None = None,
    *,
    by: str = "",
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Let a person hold a role, everywhere or at a site or in an experiment, between two local dates, both included.

    Gives the assignment with its `result`: `added`, `changed` (other dates) or `unchanged`, and `warnings`. With a `clock` the access
    journal says so.
    Raises InvalidImport for an unknown person, site or experiment, or dates the wrong way round; NotAssigned or UnknownThing when
    `by` ("" for the command line) may not give this role; Refused when nobody would be left who manages everything.
    """
    days = {"from": from_.isoformat() if from_ else "", "until": until.isoformat() if until else ""}
    given = {"person": person, "role": role, "site": site or "", "experiment": experiment or ""} | days
    with database.write() as connection:
        if by:
            reader = _reader(connection, by, clock)
            administering.require_assigning(connection, reader, person, given["site"], given["experiment"])
        written, _ = _written(connection, sheets.row_of("assignments", given), {"assignments"})
        result = next(name for name, count in written["assignments"].items() if count)
        if clock and result != "unchanged":
            if by and until:
                _keep_a_manager(connection, given, clock)
            told = {name: value for name, value in given.items() if name != "person" and value}
            note(connection, AccessKind.ROLE_ASSIGNED, clock.now(), person=person, by=by, **told)
    return {name: value or None for name, value in given.items()} | {"result": result, "warnings": written["warnings"]}


def _reader(connection: Connection, by: str, clock: Clock | None) -> policy.Reader:
    if clock is None:
        raise ValueError("who does it is looked up at a time: give the clock too")
    return policy.reader(connection, by, clock.now())


def end_assignment(database: Database, clock: Clock, number: int, *, by: str) -> dict[str, Any]:
    """Let a role end with today, where the installation stands: gives the assignment's row. Ended twice, the first day stays.

    Raises UnknownThing for one that `by` does not see, NotAssigned for one that is not theirs to end, Refused when nobody would be left
    who manages everything.
    """
    now = clock.now()
    with database.write() as connection:
        queue_up(connection)
        reader = policy.reader(connection, by, now)
        seen = administering.seen_assignments(connection, reader)
        row = connection.execute(select(_ASSIGNMENT).where(_ASSIGNMENT.c.id == number, seen)).mappings().first()
        if row is None:
            raise UnknownThing(Phrase("There is no {code} here that you may see.", code=number))
        administering.require_assigning(connection, reader, row["person"], row["site"], row["experiment"])
        today = administering.today(reader)
        lasts = (_ASSIGNMENT.c.until_date.is_(None)) | (_ASSIGNMENT.c.until_date > today)
        if connection.execute(update(_ASSIGNMENT).where(_ASSIGNMENT.c.id == number, lasts).values(until_date=today)).rowcount:
            _keep_a_manager(connection, dict(row), clock)
            told = {name: row[name] for name in ("role", "site", "experiment") if row[name]}
            note(connection, AccessKind.ROLE_ENDED, now, person=row["person"], by=by, until=today.isoformat(), **told)
    return dict(row) | {"until_date": today}


def _keep_a_manager(connection: Connection, held: Mapping[str, Any], clock: Clock) -> None:
    """Refuse what would leave an installation that nobody can administer."""
    if held["role"] != MANAGER or held["site"] or held["experiment"]:
        return
    if not administering.somebody_manages(connection, clocks.local_date(clock.now(), Place())):
        raise Refused(
            Phrase(
                "Nobody who can sign in would be left to manage everything. Give that role to someone with an account first; nothing was "
                "changed."
            )
        )


def save_site(database: Database, clock: Clock, values: Mapping[str, str], *, by: str, new: bool) -> None:
    """Write one site, whose code never changes. The same values again change nothing and are not journaled.

    Raises InvalidImport with every problem, its `path` the value's name; NotAssigned when `by` does not manage everything.
    """
    _save(database, clock, "sites", values, by, new=new)


def save_person(database: Database, clock: Clock, values: Mapping[str, str], *, by: str, new: bool) -> None:
    """Write one person, whose id never changes; their channels stay as they are (`sites.preferences` sets them).

    Raises InvalidImport with every problem, its `path` the value's name; NotAssigned when `by` does not manage everything.
    """
    _save(database, clock, "people", {name: value for name, value in values.items() if name != "channels"}, by, new=new)


_WHAT = {"sites": Phrase("change a site"), "people": Phrase("change a person")}
_CONTACT = frozenset({"email", "channels"})


def _save(database: Database, clock: Clock, kind: str, values: Mapping[str, str], by: str, *, new: bool) -> None:
    given: dict[str, Any] = dict(values) | ({"channels": []} if kind == "people" else {})
    sheet, target, (name,) = sheets.row_of(kind, given), _TABLES[kind], KEYS[kind]
    with database.write() as connection:
        queue_up(connection)
        of = _require_saving(policy.reader(connection, by, clock.now()), kind)
        before = _before(connection, sheet, target, name, given.get(name, ""), new)
        if sheet.problems:
            raise InvalidImport(sheet.problems)
        row = {key: value for key, value in _columns(kind, sheet.rows[kind][0].values).items() if new or key != "channels"}
        changed = {key: [before.get(key, ""), value] for key, value in row.items() if before.get(key) != value and key != "channels"}
        if changed:
            write = insert(target) if new else update(target).where(target.c[name] == row[name])
            connection.execute(write.values(row))
            _note_change(connection, kind, row[name], changed, by, clock, of)


def _require_saving(reader: policy.Reader, kind: str) -> str:
    """Let a manager of everything write a row: whom they do it for. A person's row holds a contact, so no deputy writes it."""
    if kind == "people":
        administering.require_whole_themselves(reader, _WHAT[kind])
        return ""
    return administering.require_whole(reader, _WHAT[kind])


def _before(connection: Connection, sheet: Sheet, target: Table, name: str, key: str, new: bool) -> Mapping[str, Any]:
    """The row as it stands. Two names that differ by capitals alone would be taken for one another."""
    if not new:
        found = connection.execute(select(target).where(target.c[name] == key)).mappings().first()
        if found is None:
            raise UnknownThing(Phrase("There is no {code} here that you may see.", code=key))
        return dict(found)
    taken = keys.taken(connection, target.c[name], key)
    if taken is not None:
        sheet.blame(0, "duplicate", Phrase("There is one already: {taken}. Choose another.", taken=taken), name)
    return {}


def _note_change(connection: Connection, kind: str, key: str, changed: dict[str, Any], by: str, clock: Clock, of: str) -> None:
    if kind == "sites":
        note(connection, AccessKind.SITE_CHANGED, clock.now(), by=by, site=key, changed=changed, **in_place_of(of))
        return
    for about, part in ((AccessKind.PERSON_CHANGED, changed.keys() - _CONTACT), (AccessKind.CONTACT_CHANGED, changed.keys() & _CONTACT)):
        if part:
            note(connection, about, clock.now(), person=key, by=by, changed={name: changed[name] for name in sorted(part)})


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


def _written(connection: Connection, sheet: Sheet, kinds: set[str]) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """What `import_file` gives, and the rows that were added or changed."""
    queue_up(connection)  # before the look at what there is: two imports at once must not each add the other's twin
    _check_names(connection, sheet)
    if errors := sorted((one for one in sheet.problems if one.level == "error"), key=lambda problem: problem.line):
        raise InvalidImport(errors)
    done = {kind: _upsert(connection, kind, sheet.rows[kind]) for kind in KINDS if kind in kinds}
    counts = {kind: counted for kind, (counted, _) in done.items()}
    return counts | {"warnings": [str(problem) for problem in sheet.problems]}, {kind: rows for kind, (_, rows) in done.items()}


def _told(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, str]]]:
    """The rows as the access journal keeps them: a channel's address may hold a password."""
    told = {kind: [{name: str(value or "") for name, value in row.items() if name != "channels"} for row in rows[kind]] for kind in rows}
    return {kind: found for kind, found in told.items() if found}


def _upsert(connection: Connection, kind: str, rows: list[Row]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    target = _TABLES[kind]
    known = {_key(kind, row): dict(row) for row in connection.execute(select(target)).mappings()}
    wanted = {_key(kind, row.values): _columns(kind, row.values) for row in rows}
    added = [values for key, values in wanted.items() if key not in known]
    changed = [values for key, values in wanted.items() if key in known and not values.items() <= known[key].items()]
    if added:
        connection.execute(insert(target), [_whole(kind, values) for values in added])
    for values in changed:
        connection.execute(update(target).where(_is(target, kind, values)).values(values))
    counts = {"added": len(added), "changed": len(changed), "unchanged": len(wanted) - len(added) - len(changed)}
    return counts, added + changed


def _whole(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return ({"channels": []} if kind == "people" else {}) | dict(values)


def _key(kind: str, row: Mapping[Any, Any]) -> Key:
    return tuple(row[name] for name in KEYS[kind])


def _is(target: Table, kind: str, values: Mapping[str, Any]) -> Any:
    return and_(*(target.c[name] == values[name] for name in KEYS[kind]))


def _columns(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if kind != "assignments":
        return {name: value for name, value in values.items() if value is not None}
    days = {column: date.fromisoformat(values[name]) if values[name] else None for name, column in _COLUMN_NAMES.items()}
    return {name: values[name] for name in KEYS[kind]} | days


# ------------------------------------------------------------------ names that must exist


def _no_such(kind: str, name: str, known: Iterable[str]) -> Phrase:
    words = {"name": name, "hint": did_you_mean(name, known)}
    if kind == "person":
        return Phrase("There is no person {name!r}.{hint}", **words)
    if kind == "site":
        return Phrase("There is no site {name!r}.{hint}", **words)
    return Phrase("There is no experiment {name!r}.{hint}", **words)


def _check_names(connection: Connection, sheet: Sheet) -> None:
    _check_duplicates(sheet)
    _check_twins(connection, sheet)
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
                message = _no_such(name, row.values[name], names)
                if twin := keys.written(row.values[name], names):
                    message = keys.said(row.values[name], twin)
                sheet.blame(row.line, f"unknown_{name}", message, f"{row.path}.{name}".lstrip("."))
        _check_role(row, roles, sheet)


def _check_duplicates(sheet: Sheet) -> None:
    for kind in KINDS:
        first: dict[Key, int] = {}
        for row in sheet.rows[kind]:
            key = tuple(folded(value) for value in _key(kind, row.values))
            if key in first:
                name = " ".join(filter(None, _key(kind, row.values)))
                said = Phrase("{name!r} is in the file twice, first on line {line}.", name=name, line=first[key])
                sheet.blame(row.line, "duplicate", said, row.path)
            first.setdefault(key, row.line)


def _check_twins(connection: Connection, sheet: Sheet) -> None:
    """Refuse what is there already under other letters; what was let in before stays, is told of, and can be imported as it is."""
    for kind, column in (("sites", _SITE.c.code), ("people", _PERSON.c.id)):
        known = set(connection.execute(select(column)).scalars()) if sheet.rows[kind] else set()
        for row in sheet.rows[kind]:
            (name,) = KEYS[kind]
            if twin := keys.written(row.values[name], known):
                sheet.blame(row.line, "duplicate", keys.said(row.values[name], twin), f"{row.path}.{name}".lstrip("."))
        _check_zeros(sheet, kind, known)
    for group in keys.twins(connection):
        message = Phrase("{keys} differ by capitals alone, and are taken for one another.", keys=", ".join(group))
        sheet.blame(0, "twins", message, warn=True)


def _check_zeros(sheet: Sheet, kind: str, known: set[str]) -> None:
    """Refuse two new keys of a file that differ by zeros in front alone: a spreadsheet dropped those of one."""
    (name,) = KEYS[kind]
    fresh: dict[str, int] = {}
    for row in sheet.rows[kind]:
        key = row.values[name]
        twin = keys.written(key, fresh)
        if twin and not are_same(key, twin):
            said = Phrase(
                "{key!r} is in the file as {twin!r} too, on line {line}: zeros in front make no other.",
                key=key,
                twin=twin,
                line=fresh[twin],
            )
            sheet.blame(row.line, "duplicate", said, f"{row.path}.{name}".lstrip("."))
        if key not in known:
            fresh.setdefault(key, row.line)


def _check_role(row: Row, roles: Mapping[str, set[str]], sheet: Sheet) -> None:
    role = row.values["role"]
    if roles and role not in roles:
        message = Phrase("No released protocol has a role {role!r}.{hint}", role=role, hint=did_you_mean(role, roles))
        sheet.blame(row.line, "unknown_role", message, f"{row.path}.role".lstrip("."), warn=True)
    elif row.values["site"] and roles.get(role) == {"experiment"}:
        message = Phrase(
            "{role!r} is a role of the whole experiment: held at a site only, it never applies. Leave the site out.", role=role
        )
        sheet.blame(row.line, "site_of_experiment_role", message, f"{row.path}.site".lstrip("."), warn=True)


def _roles(connection: Connection) -> dict[str, set[str]]:
    """The roles of every released protocol with the scopes they have there."""
    found: dict[str, set[str]] = {}
    for content in connection.execute(select(table(Release).c.content)).scalars():
        for role, described in json.loads(content)["roles"].items():
            found.setdefault(role, set()).add(described["scope"])
    return found | {MANAGER: {"experiment"}} if found else {}
