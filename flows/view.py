"""The ledger's rows as a picture needs them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from flows.picture import StepView, View
from protocols.state import ExperimentState, SiteState, StepStatus
from sites.database import Database, table
from sites.releases import plan_of
from sites.snapshot import find
from sites.tables import ExperimentSite, PastRound, Step

_STEP, _PAST, _SITE = table(Step), table(PastRound), table(ExperimentSite)


def view_of(database: Database, code: str) -> View:
    """An experiment as it stands. Raises UnknownThing."""
    with database.read() as connection:
        return read_view(connection, find(connection, code))


def read_view(connection: Connection, row: Mapping[str, Any]) -> View:
    """An experiment as it stands, from its own row and a connection that sees the same moment."""
    of_it = row["id"]
    steps = connection.execute(select(_STEP).where(_STEP.c.experiment_id == of_it)).mappings()
    past = connection.execute(select(_PAST).where(_PAST.c.experiment_id == of_it).order_by(_PAST.c.round)).mappings()
    sites = connection.execute(
        select(_SITE.c.site, _SITE.c.state, _SITE.c.timezone).where(_SITE.c.experiment_id == of_it).order_by(_SITE.c.site)
    ).all()
    zones = {"": ZoneInfo(row["timezone"])} | {site.site: ZoneInfo(site.timezone) for site in sites}
    return View(
        code=row["code"],
        title=row["title"],
        state=ExperimentState(row["state"]),
        protocol=plan_of(connection, row["protocol"]).protocol,
        sites={site.site: SiteState(site.state) for site in sites},
        steps=tuple(_step(dict(one), dict(one), zones[one["site"]]) for one in steps),
        past=tuple(_step(dict(one), one["snapshot"], zones[one["site"]]) for one in past),
        launch=row["launch"],
        launched_by=row["launched_by"],
    )


def _step(key: Mapping[str, Any], kept: Mapping[str, Any], zone: ZoneInfo) -> StepView:
    due_at = _instant(kept["due_at"])
    return StepView(
        step=key["step"],
        site=key["site"],
        round=key["round"],
        status=StepStatus(key["status"]),
        opened_at=_instant(kept["opened_at"]),
        since=_instant(kept["since"]),
        due_at=due_at and due_at.astimezone(zone),  # people read the date of the day that ends there
        overdue=kept["overdue"],
        awaits=kept["awaits"],
        awaits_role=kept["awaits_role"],
        why=kept["why"],
    )


def _instant(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
