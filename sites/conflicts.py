"""Conflicts of interest: who has declared one does nothing in that experiment until a project manager notes that it is over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, true, update

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import InvalidInput, NotAssigned, Refused, UnknownThing
from protocols.forms import says_nothing
from protocols.keys import folded
from protocols.phrase import Phrase
from sites import policy
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, in_place_of, note
from sites.policy import Reader
from sites.policy.administering import require_seen_person, require_there
from sites.tables import Conflict, Person

_CONFLICT, _PERSON = table(Conflict), table(Person)


def declare(database: Database, clock: Clock, person: str, experiment: str, reason: str, *, by: str) -> int:
    """Declare a conflict of interest in an experiment ("" for every one); its number. While one stands, the same again gives its number.

    One declares one's own, a project manager of the experiment anyone's. Raises NotAssigned, UnknownThing for a person or an experiment,
    InvalidInput without a reason.
    """
    with database.write() as connection:
        now = clock.now()
        of = _require_say(connection, person, experiment, by, now)
        if says_nothing(reason):
            raise InvalidInput(Phrase("A conflict of interest is declared with its reason."))
        standing = select(_CONFLICT.c.id).where(
            _CONFLICT.c.person == person, _CONFLICT.c.experiment == experiment, _CONFLICT.c.withdrawn_at.is_(None)
        )
        if (number := connection.execute(standing).scalar()) is not None:
            return int(number)
        row = {"person": person, "experiment": experiment, "reason": reason.strip(), "declared_by": by, "declared_at": now}
        key = connection.execute(insert(_CONFLICT).values(row | {"withdrawn_by": ""})).inserted_primary_key
        assert key is not None
        said = {"number": key[0], "experiment": experiment} | in_place_of(of)
        note(connection, AccessKind.CONFLICT_DECLARED, now, person=person, by=by, **said)
        return int(key[0])


def withdraw(database: Database, clock: Clock, number: int, *, by: str) -> None:
    """Note that a conflict of interest is over. A project manager's act, and never about oneself.

    Raises UnknownThing, NotAssigned, InConflict for a manager who has one too, Refused when it was withdrawn before.
    """
    with database.write() as connection:
        now = clock.now()
        row = _conflict(connection, number, by, now)
        to = Phrase("withdraw a conflict of interest")
        of = policy.require_manager(connection, by, experiment=row["experiment"], on=clocks.local_date(now, Place()), to=to)
        if folded(row["person"]) in (folded(by), folded(of)):
            raise Refused(Phrase("Nobody withdraws a conflict of interest of their own. Another project manager must."))
        still = update(_CONFLICT).where(_CONFLICT.c.id == number, _CONFLICT.c.withdrawn_at.is_(None))
        if connection.execute(still.values(withdrawn_by=by, withdrawn_at=now)).rowcount != 1:
            raise Refused(Phrase("Conflict of interest {number} was withdrawn before.", number=number))
        said = {"number": number, "experiment": row["experiment"]} | in_place_of(of)
        note(connection, AccessKind.CONFLICT_WITHDRAWN, now, person=row["person"], by=by, **said)


def conflicts(database: Database, reader: Reader) -> list[dict[str, Any]]:
    """The conflicts of interest a reader sees, newest first: their own, and those in the experiments they manage, with `name`."""
    managed = reader.managed
    mine = true() if managed is None else or_(_CONFLICT.c.person == reader.person, _CONFLICT.c.experiment.in_(managed))
    query = (
        select(_CONFLICT, _PERSON.c.name)
        .join_from(_CONFLICT, _PERSON, _PERSON.c.id == _CONFLICT.c.person)
        .where(mine)
        .order_by(_CONFLICT.c.id.desc())
    )
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _conflict(connection: Connection, number: int, by: str, now: datetime) -> Mapping[str, Any]:
    row = connection.execute(select(_CONFLICT).where(_CONFLICT.c.id == number)).mappings().first()
    if row is None or not (row["person"] == by or policy.reader(connection, by, now).manages(row["experiment"])):
        raise UnknownThing(Phrase("There is no conflict of interest {number} here that you may see.", number=number))
    return dict(row)


def _require_say(connection: Connection, person: str, experiment: str, by: str, now: datetime) -> str:
    """Whom they say it for as a deputy. A manager speaks of the people they see; anyone else is as unknown as nobody."""
    reader = policy.reader(connection, by, now)
    if experiment:
        policy.find_seen(connection, reader, experiment)
    if by == person:
        require_there(connection, person)
        return ""
    if not reader.manages(experiment):
        raise NotAssigned(Phrase("Only {person}, or a project manager, may declare a conflict of interest of theirs.", person=person))
    require_seen_person(connection, reader, person)
    return reader.manages_for(experiment)
