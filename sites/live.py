"""Live steps in SQL: which there are, where clocks stand still, what is late, what is stuck since when and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal_column, not_, or_

from protocols.state import ExperimentState, SiteState, StepStatus
from sites.database import table
from sites.tables import Experiment, ExperimentSite, Instant, Step

_EXPERIMENT, _SITE, _STEP = table(Experiment), table(ExperimentSite), table(Step)

STUCK_AFTER = timedelta(days=14)  # whoever has let a gate wait so long without a deadline is to be asked why

# Steps with their experiment and, for a site's, with the site's part in it.
STEPS = _STEP.join(_EXPERIMENT, _EXPERIMENT.c.id == _STEP.c.experiment_id).outerjoin(
    _SITE, and_(_SITE.c.experiment_id == _STEP.c.experiment_id, _SITE.c.site == _STEP.c.site)
)

# Written out, not bound, and in the very words and order of the index: only then does SQLite use a partial one.
_LIVE = (StepStatus.OPEN, StepStatus.WORKING, StepStatus.INCIDENT)
IS_LIVE: ColumnElement[bool] = _STEP.c.status.in_([literal_column(f"'{status.value}'") for status in _LIVE])

_NOW: Any = bindparam("now", type_=Instant())
_LONG_AGO: Any = bindparam("long_ago", type_=Instant())


def at(now: datetime) -> dict[str, Any]:
    """The values that the conditions below are filled with."""
    return {"now": now, "long_ago": now - STUCK_AFTER}


_STILL: ColumnElement[bool] = or_(
    _EXPERIMENT.c.state == ExperimentState.ON_HOLD.value, func.coalesce(_SITE.c.state, "") == SiteState.ON_HOLD.value
)
CLOCKS_RUN: ColumnElement[bool] = not_(_STILL)

# Nobody becomes late while forbidden to act: a hold counts the time as it was when it began.
IS_LATE: ColumnElement[bool] = and_(
    _STEP.c.due_at < _NOW,
    _STEP.c.due_at < func.coalesce(_EXPERIMENT.c.held_at, _NOW),
    _STEP.c.due_at < func.coalesce(_SITE.c.held_at, _NOW),
)

_IS_INCIDENT: ColumnElement[bool] = _STEP.c.status == StepStatus.INCIDENT.value
# What is on hold is stuck as a whole, not step by step.
IS_STUCK: ColumnElement[bool] = and_(CLOCKS_RUN, or_(_IS_INCIDENT, IS_LATE, _STEP.c.since < _LONG_AGO))
WHY_STUCK: ColumnElement[str] = case((_IS_INCIDENT, "incident"), (IS_LATE, "late"), else_="waiting")
STUCK_SINCE: ColumnElement[datetime] = case((_IS_INCIDENT, _STEP.c.since), (IS_LATE, _STEP.c.due_at), else_=_STEP.c.since)
