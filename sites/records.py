"""A record that counts once signed: written down, signed by someone else, never changed afterwards, ended with a reason.

Each act is one compare-and-swap on the row and one entry of the access journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, insert, or_, select, update

from protocols.errors import InvalidInput, Refused, UnknownThing
from protocols.forms import says_nothing
from protocols.keys import folded
from protocols.phrase import Phrase
from sites.database import table
from sites.identity.access import AccessKind, in_place_of, note
from sites.tables import Delegation

_DELEGATION = table(Delegation)


def recorded(connection: Connection, log: Table, kind: AccessKind, values: Mapping[str, Any], by: str, of: str, now: datetime) -> int:
    """The number of a record with these values: a new one, or the same one that still waits for its signature.

    `of` is whom `by` deputises for, "" for nobody.
    """
    same = [log.c[name] == value if value is not None else log.c[name].is_(None) for name, value in values.items()]
    known = select(log.c.id).where(*same, log.c.signed_at.is_(None), log.c.ended_on.is_(None))
    if (number := connection.execute(known).scalar()) is not None:
        return int(number)
    blank = {"signed_by": "", "signed_role": "", "meaning": "", "ended_by": "", "ended_why": ""}
    key = connection.execute(insert(log).values(dict(values) | blank | {"recorded_by": by, "recorded_at": now})).inserted_primary_key
    assert key is not None
    note(connection, kind, now, person=values["person"], by=by, number=key[0], **_plain(values), **in_place_of(of))
    return int(key[0])


def read(connection: Connection, log: Table, number: int) -> Mapping[str, Any]:
    """A record by its number. Raises UnknownThing."""
    row = connection.execute(select(log).where(log.c.id == number)).mappings().first()
    if row is None:
        raise UnknownThing(unknown(log, number))
    return dict(row)


def unknown(log: Table, number: int) -> Phrase:
    """That there is no such record, for whoever does not see it as for whoever mistyped it."""
    if log is _DELEGATION:
        return Phrase("There is no delegation {number} here that you may see.", number=number)
    return Phrase("There is no training {number} here that you may see.", number=number)


def sign(
    connection: Connection,
    log: Table,
    kind: AccessKind,
    record: Mapping[str, Any],
    by: str,
    of: str,
    role: str,
    meaning: str,
    now: datetime,
) -> None:
    """Sign a record in a role, as the deputy of `of` ("" for nobody). Raises Refused for one's own, or one signed or ended before."""
    if folded(record["person"]) in (folded(by), folded(of)):
        raise Refused(Phrase("Nobody signs a record of their own, nor in the place of the person it is of. Someone else must sign it."))
    values = {"signed_by": by, "signed_role": role, "signed_at": now, "meaning": meaning}
    unsigned = (log.c.id == record["id"], log.c.signed_at.is_(None), log.c.ended_on.is_(None))
    if connection.execute(update(log).where(*unsigned).values(values)).rowcount != 1:
        raise Refused(Phrase("Record {number} was signed or ended before; nothing was signed.", number=record["id"]))
    said = {"number": record["id"], "role": role, "meaning": meaning} | ({"of": of} if of else {})
    note(connection, kind, now, person=record["person"], by=by, **said)


def end(
    connection: Connection, log: Table, kind: AccessKind, record: Mapping[str, Any], by: str, of: str, on: date, why: str, now: datetime
) -> None:
    """End a record from a day on, which may come before the end it has, never after. Raises Refused, InvalidInput without a reason."""
    if says_nothing(why):
        raise InvalidInput(Phrase("A reason is needed, so that others understand later why this was done."))
    still = (log.c.id == record["id"], or_(log.c.ended_on.is_(None), log.c.ended_on > on))
    if connection.execute(update(log).where(*still).values(ended_on=on, ended_by=by, ended_why=why.strip())).rowcount != 1:
        raise Refused(Phrase("Record {number} has ended by then already; an end is never put off.", number=record["id"]))
    said = {"number": record["id"], "on": on.isoformat(), "why": why.strip()} | in_place_of(of)
    note(connection, kind, now, person=record["person"], by=by, **said)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record's columns for the access journal, without the person, whose entry it is."""
    kept = {name: value for name, value in values.items() if name != "person"}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in kept.items()}
