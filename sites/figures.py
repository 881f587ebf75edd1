"""Figures for whoever watches over the installation: counts and ages, no names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select

from sites import timers
from sites.database import Database, table
from sites.live import IS_LATE, IS_LIVE, STEPS, at
from sites.tables import Experiment, Incident, Instant, Letter, Notice, Step

_EXPERIMENT, _STEP, _INCIDENT = table(Experiment), table(Step), table(Incident)
_NOTICE, _LETTER = table(Notice), table(Letter)


@dataclass(frozen=True, slots=True)
class Figures:
    """`experiments` by state and `gates` by what they await; ages in seconds, 0 where nothing is owed or due."""

    experiments: dict[str, int]
    gates: dict[str, int]
    late: int
    incidents: int
    notices_owed: int
    letters_owed: int
    notice_age_s: float
    timer_age_s: float
    unprojected: int


def figures(database: Database, now: datetime) -> Figures:
    """The present figures; `now` is aware UTC. The ages tell how far behind the dispatcher is: it takes what is due within seconds."""
    with database.read() as connection:
        by_state = connection.execute(select(_EXPERIMENT.c.state, func.count().label("count")).group_by(_EXPERIMENT.c.state))
        experiments = {row.state: int(row._mapping["count"]) for row in by_state}
        gates, late = _gates(connection, now)
        return Figures(
            experiments=experiments,
            gates=gates,
            late=late,
            incidents=_count(connection, _INCIDENT.c.id, _INCIDENT.c.resolved_at.is_(None)),
            notices_owed=_count(connection, _NOTICE.c.id, _NOTICE.c.state == "owed"),
            letters_owed=_count(connection, _LETTER.c.id, _LETTER.c.state == "owed"),
            notice_age_s=_age(connection, select(func.min(_NOTICE.c.next_at, type_=Instant())).where(_NOTICE.c.state == "owed"), now),
            timer_age_s=_since(timers.next_at(connection), now),  # those that a hold stops wait for its end
            unprojected=_count(connection, _EXPERIMENT.c.id, _EXPERIMENT.c.projected_seq < _EXPERIMENT.c.seq),
        )


def _gates(connection: Connection, now: datetime) -> tuple[dict[str, int], int]:
    late = func.sum(case((IS_LATE, 1), else_=0))
    query = select(_STEP.c.awaits, func.count(), late).select_from(STEPS).where(IS_LIVE).group_by(_STEP.c.awaits)
    rows = connection.execute(query, at(now)).all()
    return {awaits or "nothing": count for awaits, count, _ in rows}, sum(int(one) for *_, one in rows)


def _count(connection: Connection, column: Any, where: Any) -> int:
    return int(connection.execute(select(func.count(column)).where(where)).scalar_one())


def _age(connection: Connection, oldest: Any, now: datetime) -> float:
    return _since(connection.execute(oldest).scalar(), now)


def _since(moment: datetime | None, now: datetime) -> float:
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0
