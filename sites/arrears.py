"""What the machine owes and has not done: how long the oldest of each kind has waited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, literal_column, or_, select

from protocols.state import StepStatus
from sites import timers
from sites.database import Database, table
from sites.live import CLOCKS_RUN, IS_LIVE, STEPS
from sites.tables import Experiment, Instant, Letter, Notice, Step

_NOTICE, _LETTER, _STEP, _EXPERIMENT = table(Notice), table(Letter), table(Step), table(Experiment)


# What is owed is looked at every second or oftener; a burst, such as many deadlines at midnight, takes a while.
BEHIND_AFTER = {
    "deadlines": timedelta(seconds=30),
    "messages": timedelta(minutes=5),
    "actions": timedelta(minutes=5),  # one that fails is tried again for over a minute before it is an incident
    "picture": timedelta(seconds=60),
}


@dataclass(frozen=True, slots=True)
class Arrears:
    """Zero where nothing is due. A message counts from when it is to be tried next: one that a mail server refused waits for its turn."""

    deadlines: timedelta
    messages: timedelta
    actions: timedelta
    picture: timedelta

    @property
    def behind(self) -> list[str]:
        """The kinds that wait for longer than they do where somebody deals with them."""
        return [kind for kind, limit in BEHIND_AFTER.items() if getattr(self, kind) > limit]


def arrears(database: Database, now: datetime) -> Arrears:
    """What is overdue; `now` is aware UTC. Raises DatabaseUnavailable."""
    with database.read() as connection:
        return Arrears(
            deadlines=_since(timers.next_at(connection), now),
            messages=max(_since(_oldest(connection, kind, now), now) for kind in (_NOTICE, _LETTER)),
            actions=_since(connection.execute(_OLDEST_ACTION).scalar(), now),
            picture=_since(connection.execute(_OLDEST_UNSHOWN).scalar(), now),
        )


_OLDEST_ACTION = (
    select(func.min(_STEP.c.since, type_=Instant()))
    .select_from(STEPS)
    .where(IS_LIVE, CLOCKS_RUN, _STEP.c.status == literal_column(f"'{StepStatus.WORKING.value}'"))
)
_OLDEST_UNSHOWN = select(func.min(_EXPERIMENT.c.changed_at, type_=Instant())).where(_EXPERIMENT.c.projected_seq < _EXPERIMENT.c.seq)


def _oldest(connection: Connection, kind: Any, now: datetime) -> datetime | None:
    """The oldest message due that nobody is sending now."""
    free = or_(kind.c.leased_until.is_(None), kind.c.leased_until <= now)
    found: datetime | None = connection.execute(
        select(func.min(kind.c.next_at, type_=Instant())).where(kind.c.state == "owed", free)
    ).scalar()
    return found


def _since(moment: datetime | None, now: datetime) -> timedelta:
    return max(now - moment, timedelta()) if moment else timedelta()
