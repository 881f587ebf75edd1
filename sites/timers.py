"""The ledger's own timers: what is to be decided again, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select

from protocols.facts import Fact, FactKind
from protocols.notices import Alarm
from protocols.state import ExperimentState, SiteState
from sites.database import table
from sites.tables import Experiment, ExperimentSite, Timer

_TIMER, _EXPERIMENT, _SITE = table(Timer), table(Experiment), table(ExperimentSite)
_INSERT = insert(_TIMER)
_RUNNING = (
    select(_TIMER)
    .join(_EXPERIMENT, _EXPERIMENT.c.id == _TIMER.c.experiment_id)
    .outerjoin(_SITE, and_(_SITE.c.experiment_id == _TIMER.c.experiment_id, _SITE.c.site == _TIMER.c.site))
    .where(_EXPERIMENT.c.state != ExperimentState.ON_HOLD.value, func.coalesce(_SITE.c.state, "") != SiteState.ON_HOLD.value)
    .order_by(_TIMER.c.fire_at)
)


def set_alarms(connection: Connection, experiment: int, alarms: Iterable[Alarm]) -> None:
    """Set timers. One whose round is over by the time it fires finds nothing to do, so none is ever taken back for that."""
    rows = [
        {
            "experiment_id": experiment,
            "site": alarm.key.site,
            "step": alarm.key.step,
            "round": alarm.round,
            "kind": alarm.kind,
            "occasion": alarm.occasion,
            "fire_at": alarm.fire_at,
        }
        for alarm in alarms
    ]
    if rows:
        connection.execute(_INSERT, rows)


def forget_moved(connection: Connection, experiment: int, facts: Iterable[Fact]) -> None:
    """Take back the timers of deadlines that moved."""
    for fact in facts:
        if fact.kind is FactKind.DEADLINE_MOVED:
            of_step = (_TIMER.c.experiment_id == experiment, _TIMER.c.step == fact.step, _TIMER.c.site == fact.site)
            connection.execute(delete(_TIMER).where(*of_step))


def due(connection: Connection, now: datetime, limit: int) -> list[int]:
    """The ids of the timers whose time has come, oldest first; those that a hold stops wait for its end."""
    return list(connection.execute(_RUNNING.where(_TIMER.c.fire_at <= now).limit(limit).with_only_columns(_TIMER.c.id)).scalars())


def next_at(connection: Connection) -> datetime | None:
    """When the next timer is due, aware UTC; None without one."""
    found: datetime | None = connection.execute(_RUNNING.limit(1).with_only_columns(_TIMER.c.fire_at)).scalar()
    return found


def read(connection: Connection, timer: int) -> Mapping[str, Any] | None:
    """A timer with its experiment's `code`; None when it has fired."""
    wanted = select(_TIMER, _EXPERIMENT.c.code).join(_EXPERIMENT, _EXPERIMENT.c.id == _TIMER.c.experiment_id).where(_TIMER.c.id == timer)
    row = connection.execute(wanted).mappings().first()
    return dict(row) if row else None


def take(connection: Connection, timer: int) -> bool:
    """Take a timer out, so that it fires in this transaction only; False when another was first."""
    return connection.execute(delete(_TIMER).where(_TIMER.c.id == timer)).rowcount == 1
