"""All experiments at a glance: where each stands, what is stuck, since when and on whom; and the deadlines ahead.

Whatever is counted is counted over what the reader sees: someone limited to a site learns nothing of the others, not even a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from protocols import clocks
from protocols.clocks import Place
from protocols.model import Calendar, Phase, in_locale
from protocols.plan import Plan
from protocols.state import ExperimentState, SiteState
from sites import policy
from sites.database import Database, table
from sites.folding import fold, mentions
from sites.inbox import iso, title_of
from sites.live import CLOCKS_RUN, IS_LATE, IS_LIVE, IS_STUCK, STEPS, at
from sites.releases import plan_of
from sites.tables import Experiment, ExperimentSite, Step
from sites.tallies import SHOWN_STUCK, Tally, accesses, tallied

_EXPERIMENT, _SITE, _STEP = table(Experiment), table(ExperimentSite), table(Step)

PHASES = list(Phase)
STUCK, LATE = "stuck", "late"
LONGEST_QUERY = 200

Row = Mapping[str, Any]

_LISTED = select(
    *(_EXPERIMENT.c[name] for name in ("id", "code", "protocol", "protocol_id", "version", "title", "state", "territory", "timezone")),
    *(_EXPERIMENT.c[name] for name in ("active", "stopped", "pending", "held_at", "launched_at")),
    func.count().over().label("total"),
)
_COUNTED = select(func.count()).select_from(_EXPERIMENT)


def experiments(
    database: Database,
    reader: policy.Reader,
    now: datetime,
    locale: str,
    *,
    state: str = "",
    site: str = "",
    protocol: str = "",
    q: str = "",
    only: str = "",
    page: int = 1,
    size: int = 50,
) -> dict[str, Any]:
    """A page of the experiments that the reader sees, the latest launched first: `{"items", "total", "page", "pages"}`.

    An item holds `code, title, protocol, version, hash, state, launched_at, phase, progress` (0 to 1), `active` and `stopped` sites,
    `open` and `late` steps, `stuck` (how many things), `stuck_since`, `stuck_on` (those that wait longest, each with `role, persons,
    step, step_title, site, why, since`; `why` is `hold`, `incident`, `late` or `waiting`), `next_due_at`, `next_due_on`.
    `site` keeps those where the reader sees that site; `only` is `stuck` or `late`; `q` looks in code and title. A page that is not
    there is empty. Times are RFC 3339 UTC; `next_due_on` is the date where the experiment stands.
    """
    page, size = min(max(page, 1), 1_000_000), min(max(size, 1), 1000)
    with database.read() as connection:
        wanted = _wanted(connection, reader, locale, state=state, site=site, protocol=protocol, q=q, only=only)
        query = _LISTED.where(*wanted).order_by(_EXPERIMENT.c.id.desc()).limit(size).offset((page - 1) * size)
        rows: list[Row] = [dict(row) for row in connection.execute(query, at(now)).mappings()]
        total = rows[0]["total"] if rows else connection.execute(_COUNTED.where(*wanted), at(now)).scalar_one() if page > 1 else 0
        items = _items(connection, reader, rows, now, locale) if rows else []
    return {"items": items, "total": total, "page": page, "pages": max(-(-total // size), 1)}


# ------------------------------------------------------------------ which


def _wanted(
    connection: Connection, reader: policy.Reader, locale: str, *, state: str, site: str, protocol: str, q: str, only: str
) -> list[ColumnElement[bool]]:
    found = [policy.seen_experiments(connection, reader)]
    found += [_EXPERIMENT.c.state == _plain(state)] if state else []
    found += [_EXPERIMENT.c.protocol_id == _plain(protocol)] if protocol else []
    if site:
        takes_part = and_(_SITE.c.experiment_id == _EXPERIMENT.c.id, _SITE.c.site == _plain(site))
        found.append(exists().where(takes_part, policy.seen_rows(connection, reader, _SITE.c.site)).correlate(_EXPERIMENT))
    found += [_says(connection, _plain(q), locale)] if q.strip() else []
    found += [_in_trouble(connection, reader, only)] if only in (STUCK, LATE) else []
    return found


def _plain(text: str) -> str:
    return text.replace("\x00", "")[:LONGEST_QUERY].strip()


def _says(connection: Connection, q: str, locale: str) -> ColumnElement[bool]:
    """The experiments whose code or title holds the text; one without a title of its own bears its protocol's."""
    named = or_(*mentions(q, _EXPERIMENT.c.code, _EXPERIMENT.c.title))
    hashes = connection.execute(select(_EXPERIMENT.c.protocol).distinct()).scalars()
    titled = [one for one in hashes if fold(q) in fold(in_locale(plan_of(connection, one).protocol.title, locale))]
    return or_(named, and_(_EXPERIMENT.c.title == "", _EXPERIMENT.c.protocol.in_(titled))) if titled else named


def _in_trouble(connection: Connection, reader: policy.Reader, only: str) -> ColumnElement[bool]:
    """The experiments with something late, or something stuck, among what the reader sees."""
    trouble = IS_LATE if only == LATE else IS_STUCK
    steps = select(_STEP.c.experiment_id).select_from(STEPS).where(IS_LIVE, trouble, policy.seen_rows(connection, reader, _STEP.c.site))
    if only == LATE:
        return _EXPERIMENT.c.id.in_(steps)
    held = (
        select(_SITE.c.experiment_id)
        .join_from(_SITE, _EXPERIMENT, _EXPERIMENT.c.id == _SITE.c.experiment_id)
        .where(_SITE.c.state == SiteState.ON_HOLD.value, policy.seen_rows(connection, reader, _SITE.c.site))
    )
    return or_(_EXPERIMENT.c.state == ExperimentState.ON_HOLD.value, _EXPERIMENT.c.id.in_(steps), _EXPERIMENT.c.id.in_(held))


# ------------------------------------------------------------------ how each stands


def _items(connection: Connection, reader: policy.Reader, rows: list[Row], now: datetime, locale: str) -> list[dict[str, Any]]:
    by_id = {row["id"]: row for row in rows}
    plans = {row["id"]: plan_of(connection, row["protocol"]) for row in rows}
    access = accesses(connection, reader, rows, plans)
    tallies = tallied(connection, by_id, access, now)
    return [_item(by_id[key], plans[key], access[key], tallies[key], locale) for key in access]


def _item(row: Row, plan: Plan, access: policy.Access, tally: Tally, locale: str) -> dict[str, Any]:
    stuck = sorted(tally.on, key=lambda one: (one["since"] is None, one["since"]))[:SHOWN_STUCK]
    next_due = min(tally.dues, default=None)
    active, stopped = (row["active"], row["stopped"]) if access.sees_every_site else (tally.active, tally.stopped)
    return {
        "code": row["code"],
        "title": title_of(row, plan, locale),
        "protocol": row["protocol_id"],
        "version": row["version"],
        "hash": row["protocol"],
        "state": row["state"],
        "launched_at": iso(row["launched_at"]),
        "phase": _phase(plan, access, tally),
        "progress": _progress(row, plan, access, tally),
        "active": active,
        "stopped": stopped,
        "open": tally.open,
        "late": tally.late,
        "stuck": tally.stuck,
        "stuck_since": iso(min(tally.since, default=None)),
        "stuck_on": [_on(one, plan, locale) for one in stuck],
        "next_due_at": iso(next_due),
        "next_due_on": clocks.local_date(next_due, Place(row["territory"], row["timezone"])).isoformat() if next_due else None,
    }


def _on(one: dict[str, Any], plan: Plan, locale: str) -> dict[str, Any]:
    role = plan.role(one["role"])
    return one | {
        "role_title": in_locale(role.title, locale) if role else one["role"],
        "persons": one.get("persons", []),
        "step_title": in_locale(plan.steps[one["step"]].step.title, locale) if one["step"] else "",
        "since": iso(one["since"]),
    }


def _phase(plan: Plan, access: policy.Access, tally: Tally) -> str:
    """The earliest phase with a live step; where the reader sees none live, the earliest with a step of theirs that is not through."""
    steps = tally.steps
    if not steps and not access.sees_every_site:
        steps = {name for name in plan.steps if tally.through.get(name, 0) < _instances(plan, name, tally.active)}
    phases = {plan.steps[name].step.phase for name in steps}
    return next((phase.value for phase in PHASES if phase in phases), PHASES[-1].value)


def _progress(row: Row, plan: Plan, access: policy.Access, tally: Tally) -> float:
    """The share of the steps that are through, of those the reader sees."""
    active = row["active"] if access.sees_every_site else tally.active
    total = sum(_instances(plan, name, active) for name in plan.steps)
    done = total - row["pending"] if access.sees_every_site else sum(tally.through.values())
    return round(done / total, 3) if total else 1.0


def _instances(plan: Plan, step: str, sites: int) -> int:
    return sites if plan.is_site_step(step) else 1


# ------------------------------------------------------------------ the deadlines ahead


def deadlines(
    database: Database, reader: policy.Reader, now: datetime, locale: str, days: int = 30, *, limit: int = 500
) -> list[dict[str, Any]]:
    """The deadlines of the next days that the reader sees, the nearest first, clocks that stand still left out.

    The sites of an experiment with the same step and the same deadline are one: `experiment, title, step, step_title, role, role_title,
    site` ("" for several or the experiment's own), `sites` (how many, 0 for the experiment's own), `due_at`, `due_on` (the date where it
    stands), `week` (its Monday), `is_legal` (days counted as the law counts them).
    """
    until = now + timedelta(days=days)
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(_due(connection, reader, now, until).limit(limit), at(now)).mappings()]
        return [_deadline(row, plan_of(connection, row["protocol"]), locale) for row in rows]


def _due(connection: Connection, reader: policy.Reader, now: datetime, until: datetime) -> Any:
    of_experiment = ("code", "title", "protocol", "territory", "timezone")
    kept = [_EXPERIMENT.c.id, *(_EXPERIMENT.c[name] for name in of_experiment), _STEP.c.step, _STEP.c.due_at, _STEP.c.awaits_role]
    return (
        select(
            *kept,
            func.min(_STEP.c.site).label("site"),
            func.count(_SITE.c.site).label("sites"),
            func.min(_SITE.c.timezone).label("site_timezone"),
        )
        .select_from(STEPS)
        .where(
            IS_LIVE,
            CLOCKS_RUN,
            _STEP.c.due_at >= now,
            _STEP.c.due_at <= until,
            policy.seen_experiments(connection, reader),
            policy.seen_rows(connection, reader, _STEP.c.site),
        )
        .group_by(*kept)
        .order_by(_STEP.c.due_at, _EXPERIMENT.c.id, _STEP.c.step)
    )


def _deadline(row: Row, plan: Plan, locale: str) -> dict[str, Any]:
    step, role = plan.steps[row["step"]].step, plan.role(row["awaits_role"])
    due_on = clocks.local_date(row["due_at"], Place(timezone=row["site_timezone"] or row["timezone"]))
    return {
        "experiment": row["code"],
        "title": title_of(row, plan, locale),
        "step": row["step"],
        "step_title": in_locale(step.title, locale),
        "role": row["awaits_role"],
        "role_title": in_locale(role.title, locale) if role else row["awaits_role"],
        "site": row["site"] if row["sites"] == 1 else "",
        "sites": row["sites"],
        "due_at": iso(row["due_at"]),
        "due_on": due_on.isoformat(),
        "week": (due_on - timedelta(days=due_on.weekday())).isoformat(),
        "is_legal": bool(step.due and step.due.calendar is Calendar.LEGAL),
    }


# ------------------------------------------------------------------ what the list can be narrowed by


def choices(database: Database, reader: policy.Reader, locale: str) -> dict[str, list[tuple[str, str]]]:
    """What the experiments that the reader sees can be narrowed by: `protocols` and `sites`, each (id, what people call it), by name."""
    with database.read() as connection:
        seen = policy.seen_experiments(connection, reader)
        hashes = connection.execute(select(_EXPERIMENT.c.protocol).where(seen).distinct()).scalars().all()
        protocols = {plan.protocol.id: in_locale(plan.protocol.title, locale) for plan in (plan_of(connection, one) for one in hashes)}
        sites = connection.execute(_sites(connection, reader, seen)).all()
    # A sponsor reads codes (see policy.Access.is_aggregate); of someone who is more than that, nothing here says where.
    by_code = policy.SPONSOR in {one.role for one in reader.held} and not reader.is_some_manager
    return {
        "protocols": sorted(protocols.items(), key=lambda one: fold(one[1])),
        "sites": sorted(((row.site, row.site if by_code else row.name) for row in sites), key=lambda one: fold(one[1])),
    }


def _sites(connection: Connection, reader: policy.Reader, seen: ColumnElement[bool]) -> Any:
    return (
        select(_SITE.c.site, func.min(_SITE.c.name).label("name"))
        .join_from(_SITE, _EXPERIMENT, _EXPERIMENT.c.id == _SITE.c.experiment_id)
        .where(seen, policy.seen_rows(connection, reader, _SITE.c.site))
        .group_by(_SITE.c.site)
    )
