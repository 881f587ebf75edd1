"""Deputies: who acts in someone's place while they are away, between two local dates."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, or_, select, true, update

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import InvalidInput, NotAssigned, Refused, UnknownThing
from protocols.keys import are_same
from protocols.phrase import Phrase
from sites import policy
from sites.clock import Clock
from sites.colleagues import require_known
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.policy import Reader
from sites.tables import Deputy, Person

_DEPUTY, _PERSON = table(Deputy), table(Person)
_THE_OTHER = _PERSON.alias("the_other")
LONGEST = timedelta(days=366)


def name_deputy(database: Database, clock: Clock, person: str, deputy: str, from_: date, until: date, *, by: str) -> int:
    """Let `deputy` act in every role of `person` between local dates, both included; its number. The same again gives the same number.

    One names one's own deputy, among those one works with; a project manager anyone's; a deputy of either cannot: what is lent is not lent
    further. Raises NotAssigned, UnknownThing, InvalidInput for dates the wrong way round, over a year apart, or over already.
    """
    with database.write() as connection:
        now = clock.now()
        _require_say(connection, person, by, now)
        namer = policy.reader(connection, by, now).in_own_right
        for one in (person, deputy):
            require_known(connection, namer, one)
        _check(person, deputy, from_, until, now)
        values = {"person": person, "deputy": deputy, "from_date": from_, "until_date": until}
        same = select(_DEPUTY.c.id).where(*(_DEPUTY.c[name] == value for name, value in values.items()), _DEPUTY.c.ended_at.is_(None))
        if (number := connection.execute(same).scalar()) is not None:
            return int(number)
        row = values | {"recorded_by": by, "recorded_at": now, "ended_by": ""}
        key = connection.execute(insert(_DEPUTY).values(row)).inserted_primary_key
        assert key is not None
        days = {"from": from_.isoformat(), "until": until.isoformat()}
        note(connection, AccessKind.DEPUTY_NAMED, now, person=person, by=by, number=key[0], deputy=deputy, **days)
        return int(key[0])


def end_deputy(database: Database, clock: Clock, number: int, *, by: str) -> None:
    """End a deputy's time at once. Whoever may name them may, and the deputy. Raises UnknownThing, Refused when it has ended before."""
    with database.write() as connection:
        now = clock.now()
        row = connection.execute(select(_DEPUTY).where(_DEPUTY.c.id == number)).mappings().first()
        if row is None or not (by in (row["person"], row["deputy"]) or _is_manager(connection, by, now)):
            raise UnknownThing(Phrase("There is no deputy {number} here that you may see.", number=number))
        still = update(_DEPUTY).where(_DEPUTY.c.id == number, _DEPUTY.c.ended_at.is_(None))
        if connection.execute(still.values(ended_at=now, ended_by=by)).rowcount != 1:
            raise Refused(Phrase("The time of deputy {number} was ended before.", number=number))
        note(connection, AccessKind.DEPUTY_ENDED, now, person=row["person"], by=by, number=number, deputy=row["deputy"])


def deputies(database: Database, reader: Reader) -> list[dict[str, Any]]:
    """The deputies a reader sees, newest first: their own, those they are, and for a project manager of everything all.

    `{"id", "person", "name", "deputy", "deputy_name", "from", "until", "recorded_by", "recorded_at", "ended_by", "ended_at", "state"}`;
    `state` is `to_come`, `in_force` or `over` on the date in France.
    """
    mine = true() if reader.is_manager else or_(_DEPUTY.c.person == reader.person, _DEPUTY.c.deputy == reader.person)
    query = (
        select(_DEPUTY, _PERSON.c.name, _THE_OTHER.c.name.label("deputy_name"))
        .join_from(_DEPUTY, _PERSON, _PERSON.c.id == _DEPUTY.c.person)
        .join(_THE_OTHER, _THE_OTHER.c.id == _DEPUTY.c.deputy)
        .where(mine)
        .order_by(_DEPUTY.c.id.desc())
    )
    today = clocks.local_date(reader.now, Place())
    with database.read() as connection:
        return [_shown(dict(row), today) for row in connection.execute(query).mappings()]


def _shown(row: dict[str, Any], today: date) -> dict[str, Any]:
    begins, ends = row.pop("from_date"), row.pop("until_date")
    over = row["ended_at"] is not None or ends < today
    return row | {"from": begins, "until": ends, "state": "over" if over else "to_come" if begins > today else "in_force"}


def _is_manager(connection: Connection, person: str, now: datetime) -> bool:
    """Whether someone is a project manager of everything in their own right."""
    own = policy.standing(connection, person, policy.MANAGER, on=clocks.local_date(now, Place()))
    return own.holds and not own.of


def _require_say(connection: Connection, person: str, by: str, now: datetime) -> None:
    if by != person and not _is_manager(connection, by, now):
        raise NotAssigned(Phrase("Only {person}, or a project manager who is not a deputy, may name a deputy of theirs.", person=person))


def _check(person: str, deputy: str, from_: date, until: date, now: datetime) -> None:
    if are_same(person, deputy):
        raise InvalidInput(Phrase("Nobody is their own deputy; name someone else."))
    if until < from_:
        raise InvalidInput(Phrase("The last day, {until}, is before the first, {from_}.", until=until, from_=from_))
    if until - from_ > LONGEST:
        raise InvalidInput(Phrase("A deputy is named for a year at most; name them again then."))
    if until < clocks.local_date(now, Place()) - timedelta(days=1):
        raise InvalidInput(Phrase("The last day, {until}, is past already.", until=until))
