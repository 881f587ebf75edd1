"""The deadlines that belong in a person's calendar: of what they may do, and of what they manage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, or_, select, true

from protocols import clocks
from protocols.clocks import Place
from protocols.model import Calendar, in_locale
from sites import policy
from sites.checkpoints import CheckpointId
from sites.database import Database, table
from sites.live import CLOCKS_RUN, IS_LIVE, STEPS
from sites.releases import plan_of
from sites.tables import Account, Experiment, ExperimentSite, Person, Step

_EXPERIMENT, _SITE, _STEP = table(Experiment), table(ExperimentSite), table(Step)
_PERSON, _ACCOUNT = table(Person), table(Account)

PAST, AHEAD = timedelta(days=30), timedelta(days=365)
MOST = 10_000

_COLUMNS = (
    _EXPERIMENT.c.code,
    _EXPERIMENT.c.protocol,
    _EXPERIMENT.c.timezone,
    _SITE.c.timezone.label("site_timezone"),
    _STEP.c.step,
    _STEP.c.site,
    _STEP.c.round,
    _STEP.c.since,
    _STEP.c.due_at,
)


def calendar(database: Database, reader: policy.Reader, now: datetime, locale: str) -> list[dict[str, Any]]:
    """What still waits and was due in the past 30 days or is in the next 365, the earliest first, clocks that stand still left out.

    For each: `id` (stays the same for the same checkpoint in the same round), `experiment, step, title, checkpoint` ("" where `sites` are
    several), `sites` (codes, none for the experiment's own step), `due_on` (a date, where it stands), `since` (aware UTC), `is_legal`.
    Sites of an experiment with the same step and day are one entry. No person's name and no answer is in it.
    """
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(_mine(connection, reader, now)).mappings()]
        legal = {(row["protocol"], row["step"]): _step(connection, row, locale) for row in rows}
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        due_on = clocks.local_date(row["due_at"], Place(timezone=row["site_timezone"] or row["timezone"]))
        groups.setdefault((row["code"], row["step"], row["round"], due_on), []).append(row)
    return [_entry(key, those, *legal[those[0]["protocol"], key[1]]) for key, those in groups.items()]


def _step(connection: Connection, row: Mapping[str, Any], locale: str) -> tuple[str, bool]:
    step = plan_of(connection, row["protocol"]).steps[row["step"]].step
    return in_locale(step.title, locale), bool(step.due and step.due.calendar is Calendar.LEGAL)


def _mine(connection: Connection, reader: policy.Reader, now: datetime) -> Any:
    return (
        select(*_COLUMNS)
        .select_from(STEPS)
        .where(
            IS_LIVE,
            CLOCKS_RUN,
            _STEP.c.due_at >= now - PAST,
            _STEP.c.due_at <= now + AHEAD,
            policy.seen_experiments(connection, reader),
            policy.seen_rows(connection, reader, _STEP.c.site),
            or_(_managed(reader), *(_asked(one) for one in reader.in_force_at(Place()))),
        )
        .order_by(_STEP.c.due_at, _EXPERIMENT.c.id, _STEP.c.step, _STEP.c.site)
        .limit(MOST)
    )


def _managed(reader: policy.Reader) -> ColumnElement[bool]:
    if reader.managed is None:
        return true()
    return _EXPERIMENT.c.code.in_(reader.managed) if reader.managed else false()


def _asked(one: policy.Held) -> ColumnElement[bool]:
    """The steps that now ask for what one holds."""
    where = [_STEP.c.awaits_role == one.role]
    where += [_STEP.c.site == one.site] if one.site else []
    where += [_EXPERIMENT.c.code == one.experiment] if one.experiment else []
    return and_(*where)


def _entry(key: tuple[Any, ...], rows: list[Mapping[str, Any]], title: str, is_legal: bool) -> dict[str, Any]:
    code, step, round_, due_on = key
    sites = [row["site"] for row in rows if row["site"]]
    checkpoint = str(CheckpointId(code, step, rows[0]["site"], round_)) if len(rows) == 1 else ""
    return {
        "id": checkpoint or f"{code}:{step}:*:{round_}:{due_on.isoformat()}",
        "experiment": code,
        "step": step,
        "title": title,
        "checkpoint": checkpoint,
        "sites": sites,
        "due_on": due_on,
        "since": max((row["since"] for row in rows if row["since"]), default=rows[0]["due_at"]),
        "is_legal": is_legal,
    }


def locale_of(database: Database, person: str) -> str | None:
    """The language a person's calendar is written in; None when their account is closed."""
    query = (
        select(_PERSON.c.locale, _ACCOUNT.c.disabled_at)
        .outerjoin_from(_PERSON, _ACCOUNT, _ACCOUNT.c.person == _PERSON.c.id)
        .where(_PERSON.c.id == person)
    )
    with database.read() as connection:
        row = connection.execute(query).first()
    return str(row.locale) if row and row.disabled_at is None else None
