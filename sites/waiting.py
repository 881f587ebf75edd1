"""Everything that waits for people, as far as a reader sees it: what `inbox` shows of one person's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, not_, select

from protocols.clocks import Place
from protocols.model import in_locale
from protocols.state import ExperimentState
from sites import policy
from sites.board import day, iso, title_of
from sites.checkpoints import CheckpointId
from sites.database import Database, table
from sites.live import IS_LATE, IS_LIVE, STEPS, at
from sites.policy import Reader
from sites.releases import plan_of
from sites.tables import Experiment, ExperimentSite, Step

_EXPERIMENT, _SITE, _STEP = table(Experiment), table(ExperimentSite), table(Step)
_PEOPLE_ACT = ("answers", "signature", "incident")


def seen(
    database: Database,
    reader: Reader,
    now: datetime,
    locale: str,
    *,
    late: bool | None = None,
    needs: str = "",
    site: str = "",
    experiment: str = "",
    page: int = 1,
    size: int = 50,
) -> dict[str, Any]:
    """A page of the open checkpoints that a reader sees, whoever they wait for, the nearest deadline first: `{"items", "total"}`.

    Items have the shape of `inbox`'s; `now` is aware UTC. `late`, `needs`, `site` and `experiment` choose among them.
    """
    with database.read() as connection:
        wanted = [*_seen(connection, reader), *_chosen(late, needs, site, experiment)]
        total = connection.execute(select(func.count()).select_from(STEPS).where(*wanted), at(now)).scalar_one()
        query = _query(wanted).limit(size).offset((page - 1) * size)
        items = [_item(connection, dict(row), now, locale) for row in connection.execute(query, at(now)).mappings()]
    return {"items": items, "total": total}


def _seen(connection: Connection, reader: Reader) -> list[ColumnElement[bool]]:
    return [
        IS_LIVE,
        _STEP.c.awaits.in_(_PEOPLE_ACT),
        _STEP.c.awaits_role != "",
        _EXPERIMENT.c.state.in_((ExperimentState.RUNNING.value, ExperimentState.ON_HOLD.value)),
        policy.seen_experiments(connection, reader),
        policy.seen_rows(connection, reader, _STEP.c.site),
    ]


def _chosen(late: bool | None, needs: str, site: str, experiment: str) -> list[ColumnElement[bool]]:
    named = ((_STEP.c.awaits, needs), (_STEP.c.site, site), (_EXPERIMENT.c.code, experiment))
    found: list[ColumnElement[bool]] = [column == value for column, value in named if value]
    if late is not None:
        found.append(func.coalesce(IS_LATE, False) if late else not_(func.coalesce(IS_LATE, False)))
    return found


def _query(wanted: list[ColumnElement[bool]]) -> Any:
    of_step = (_STEP.c[name] for name in ("step", "site", "round", "awaits", "awaits_role", "due_at"))
    of_experiment = (_EXPERIMENT.c[name] for name in ("code", "title", "protocol"))
    held = (_EXPERIMENT.c.held_at.label("home_held_at"), _SITE.c.held_at.label("site_held_at"))
    zones = (_EXPERIMENT.c.timezone.label("home_timezone"), _SITE.c.timezone.label("site_timezone"))
    order = (_STEP.c.due_at.is_(None), _STEP.c.due_at, _EXPERIMENT.c.code, _STEP.c.step, _STEP.c.site)
    return select(*of_step, *of_experiment, *held, *zones).select_from(STEPS).where(*wanted).order_by(*order)


def _item(connection: Connection, row: Mapping[str, Any], now: datetime, locale: str) -> dict[str, Any]:
    plan = plan_of(connection, row["protocol"])
    held_since = min((moment for moment in (row["home_held_at"], row["site_held_at"]) if moment), default=None)
    return {
        "id": str(CheckpointId(row["code"], row["step"], row["site"], row["round"])),
        "experiment": row["code"],
        "experiment_title": title_of(row, plan, locale),
        "step": row["step"],
        "title": in_locale(plan.steps[row["step"]].step.title, locale),
        "site": row["site"] or None,
        "round": row["round"],
        "role": row["awaits_role"],
        "due_at": iso(row["due_at"]),
        "due_on": day(row["due_at"], Place(timezone=row["site_timezone"] or row["home_timezone"])),
        "late": row["due_at"] is not None and row["due_at"] < (held_since or now),
        "needs": row["awaits"],
        "blocked": held_since is not None,
    }
