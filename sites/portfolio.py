"""All experiments at a glance: where each stands, what is stuck, since when and on whom; and the deadlines ahead.

Whatever is counted is counted over what the reader sees: someone limited to a site learns nothing of the others, not even a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select

from protocols import clocks
from protocols.clocks import Place
from protocols.model import Calendar, Phase, in_locale
from protocols.needs import MANAGER
from protocols.plan import Plan
from protocols.state import ExperimentState, SiteState, StepStatus
from sites import policy
from sites.database import Database, table
from sites.inbox import iso, title_of
from sites.live import CLOCKS_RUN, IS_LATE, IS_LIVE, IS_STUCK, STEPS, STUCK_SINCE, WHY_STUCK, at
from sites.releases import plan_of
from sites.tables import Assignment, Experiment, ExperimentSite, Person, Step

_EXPERIMENT, _SITE, _STEP = table(Experiment), table(ExperimentSite), table(Step)
_ASSIGNMENT, _PERSON = table(Assignment), table(Person)

PHASES = list(Phase)
STUCK, LATE = "stuck", "late"
SHOWN_STUCK = 3  # what waits longest; the others are counted
SHOWN_PEOPLE = 3
LONGEST_QUERY = 200

Row = Mapping[str, Any]


@dataclass(slots=True)
class Tally:
    """What is live in one experiment, as far as its reader sees it."""

    open: int = 0
    late: int = 0
    stuck: int = 0
    steps: set[str] = field(default_factory=set)
    since: list[datetime] = field(default_factory=list)
    dues: list[datetime] = field(default_factory=list)
    on: list[dict[str, Any]] = field(default_factory=list)
    active: int = 0
    stopped: int = 0
    through: dict[str, int] = field(default_factory=dict)


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
    page, size = max(page, 1), max(size, 1)
    with database.read() as connection:
        wanted = _wanted(connection, reader, locale, state=state, site=site, protocol=protocol, q=q, only=only)
        total = connection.execute(select(func.count()).select_from(_EXPERIMENT).where(*wanted), at(now)).scalar_one()
        rows = _page(connection, wanted, now, page, size) if total > (page - 1) * size else []
        items = _items(connection, reader, rows, now, locale) if rows else []
    return {"items": items, "total": total, "page": page, "pages": max(-(-total // size), 1)}


def _page(connection: Connection, wanted: Sequence[ColumnElement[bool]], now: datetime, page: int, size: int) -> list[Row]:
    query = select(_EXPERIMENT).where(*wanted).order_by(_EXPERIMENT.c.id.desc()).limit(size).offset((page - 1) * size)
    return [dict(row) for row in connection.execute(query, at(now)).mappings()]


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
    pattern = "%" + q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    named = or_(*(column.ilike(pattern, escape="\\") for column in (_EXPERIMENT.c.code, _EXPERIMENT.c.title)))
    hashes = connection.execute(select(_EXPERIMENT.c.protocol).distinct()).scalars()
    titled = [one for one in hashes if q.casefold() in in_locale(plan_of(connection, one).protocol.title, locale).casefold()]
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
    access = _accesses(connection, reader, rows, plans)
    tallies = {key: Tally() for key in by_id}
    seen = policy.seen_rows(connection, reader, _STEP.c.site)
    _count_live(connection, tallies, seen, now)
    _add_holds(connection, reader, tallies, by_id)
    if any(tally.stuck for tally in tallies.values()):
        _add_stuck(connection, tallies, seen, now)
    _count_sites(connection, tallies, [key for key, one in access.items() if not one.sees_every_site], access)
    _name_holders(connection, tallies, by_id, access, now)
    return [_item(by_id[key], plans[key], access[key], tallies[key], locale) for key in by_id]


def _accesses(connection: Connection, reader: policy.Reader, rows: list[Row], plans: Mapping[int, Plan]) -> dict[int, policy.Access]:
    """How much of each the reader sees; only the sites they might see anything of are looked up."""
    local = {one.site for one in reader.held if one.site} | {site for _, site in reader.glass if site}
    here: dict[int, dict[str, str]] = {row["id"]: {} for row in rows}
    if local:
        query = select(_SITE.c.experiment_id, _SITE.c.site, _SITE.c.timezone)
        for found in connection.execute(query.where(_SITE.c.experiment_id.in_(here), _SITE.c.site.in_(local))):
            here[found.experiment_id][found.site] = found.timezone
    known = {row["id"]: policy.access(reader, row, plans[row["id"]], here[row["id"]]) for row in rows}
    return {key: one if one else _nothing(reader, key) for key, one in known.items()}


def _nothing(reader: policy.Reader, experiment: int) -> policy.Access:
    # The list asks by the date in Paris, an experiment by its own: around midnight the second may say no. It then shows its name only.
    return policy.Access(reader.person, str(experiment), frozenset(), frozenset(), False, True, False)


def _count_live(connection: Connection, tallies: dict[int, Tally], seen: ColumnElement[bool], now: datetime) -> None:
    query = (
        select(
            _STEP.c.experiment_id,
            _STEP.c.step,
            func.count().label("open"),
            func.sum(case((IS_LATE, 1), else_=0)).label("late"),
            func.sum(case((IS_STUCK, 1), else_=0)).label("stuck"),
            func.min(case((IS_STUCK, STUCK_SINCE), else_=None)).label("since"),
            func.min(_STEP.c.due_at).label("due_at"),
        )
        .select_from(STEPS)
        .where(IS_LIVE, _STEP.c.experiment_id.in_(tallies), seen)
        .group_by(_STEP.c.experiment_id, _STEP.c.step)
    )
    for row in connection.execute(query, at(now)):
        tally = tallies[row.experiment_id]
        tally.open, tally.late, tally.stuck = tally.open + row.open, tally.late + row.late, tally.stuck + row.stuck
        tally.steps.add(row.step)
        tally.since += [row.since] if row.since else []
        tally.dues += [row.due_at] if row.due_at else []


def _add_holds(connection: Connection, reader: policy.Reader, tallies: dict[int, Tally], rows: Mapping[int, Row]) -> None:
    query = (
        select(_SITE.c.experiment_id, _SITE.c.site, _SITE.c.held_at)
        .join_from(_SITE, _EXPERIMENT, _EXPERIMENT.c.id == _SITE.c.experiment_id)
        .where(
            _SITE.c.experiment_id.in_(tallies),
            _SITE.c.state == SiteState.ON_HOLD.value,
            policy.seen_rows(connection, reader, _SITE.c.site),
        )
        .order_by(_SITE.c.held_at)
    )
    held = [(key, "", row["held_at"]) for key, row in rows.items() if row["state"] == ExperimentState.ON_HOLD.value]
    for key, site, since in (*held, *(tuple(row) for row in connection.execute(query))):
        tally = tallies[key]
        tally.stuck += 1
        tally.since += [since] if since else []
        tally.on.append({"role": MANAGER, "step": "", "site": site, "why": "hold", "since": since})


def _add_stuck(connection: Connection, tallies: dict[int, Tally], seen: ColumnElement[bool], now: datetime) -> None:
    wanted = [key for key, tally in tallies.items() if tally.stuck > len(tally.on)]
    if not wanted:
        return
    place = func.row_number().over(partition_by=_STEP.c.experiment_id, order_by=(STUCK_SINCE, _STEP.c.step, _STEP.c.site))
    names = (_STEP.c.experiment_id, _STEP.c.step, _STEP.c.site, _STEP.c.awaits_role)
    ranked = (
        select(*names, WHY_STUCK.label("why"), STUCK_SINCE.label("since"), place.label("place"))
        .select_from(STEPS)
        .where(IS_LIVE, IS_STUCK, _STEP.c.experiment_id.in_(wanted), seen)
        .subquery()
    )
    for row in connection.execute(select(ranked).where(ranked.c.place <= SHOWN_STUCK).order_by(ranked.c.place), at(now)):
        one = {"role": row.awaits_role, "step": row.step, "site": row.site, "why": row.why, "since": row.since}
        tallies[row.experiment_id].on.append(one)


def _count_sites(connection: Connection, tallies: dict[int, Tally], limited: list[int], access: Mapping[int, policy.Access]) -> None:
    """For a reader limited to sites: how many of theirs take part, and which steps are through there."""
    if not limited:
        return
    theirs = {site for key in limited for site in access[key].sites or ()}
    parts = select(_SITE.c.experiment_id, _SITE.c.site, _SITE.c.state).where(_SITE.c.experiment_id.in_(limited), _SITE.c.site.in_(theirs))
    for part in connection.execute(parts):
        if access[part.experiment_id].sees_site(part.site):
            is_stopped = part.state == SiteState.STOPPED.value
            tallies[part.experiment_id].stopped += is_stopped
            tallies[part.experiment_id].active += not is_stopped
    through = _STEP.c.status.in_((StepStatus.PASSED.value, StepStatus.SKIPPED.value))
    query = (
        select(_STEP.c.experiment_id, _STEP.c.step, _STEP.c.site)
        .select_from(STEPS)
        .where(
            _STEP.c.experiment_id.in_(limited),
            _STEP.c.site.in_({"", *theirs}),
            through,
            func.coalesce(_SITE.c.state, "") != SiteState.STOPPED.value,
        )
    )
    for row in connection.execute(query):
        if access[row.experiment_id].sees_site(row.site):
            tallies[row.experiment_id].through[row.step] = tallies[row.experiment_id].through.get(row.step, 0) + 1


def _name_holders(
    connection: Connection, tallies: Mapping[int, Tally], rows: Mapping[int, Row], access: Mapping[int, policy.Access], now: datetime
) -> None:
    """Put beside each stuck thing the first people who hold its role there, for readers who see names."""
    asked = [(key, one) for key, tally in tallies.items() if access[key].names_people for one in tally.on if one["role"]]
    holders = _holders(connection, {one["role"] for _, one in asked}, {one["site"] for _, one in asked}, now) if asked else []
    for key, one in asked:
        code = rows[key]["code"]
        names = [who["name"] for who in holders if _fits(who, one["role"], one["site"], code)]
        one["persons"] = list(dict.fromkeys(names))[:SHOWN_PEOPLE]


def _holders(connection: Connection, roles: set[str], sites: set[str], now: datetime) -> list[Row]:
    query = (
        select(_ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment, _PERSON.c.name)
        .join_from(_ASSIGNMENT, _PERSON, _PERSON.c.id == _ASSIGNMENT.c.person)
        .where(_ASSIGNMENT.c.role.in_(roles), _ASSIGNMENT.c.site.in_({"", *sites}), policy.in_force(clocks.local_date(now, Place())))
        .order_by(_ASSIGNMENT.c.site.desc(), _ASSIGNMENT.c.experiment.desc(), _PERSON.c.name)  # whoever is nearest first
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _fits(holder: Row, role: str, site: str, code: str) -> bool:
    return holder["role"] == role and holder["site"] in ("", site) and holder["experiment"] in ("", code)


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
    return {
        "protocols": sorted(protocols.items(), key=lambda one: one[1].casefold()),
        "sites": sorted(((row.site, row.name) for row in sites), key=lambda one: one[1].casefold()),
    }


def _sites(connection: Connection, reader: policy.Reader, seen: ColumnElement[bool]) -> Any:
    return (
        select(_SITE.c.site, func.min(_SITE.c.name).label("name"))
        .join_from(_SITE, _EXPERIMENT, _EXPERIMENT.c.id == _SITE.c.experiment_id)
        .where(seen, policy.seen_rows(connection, reader, _SITE.c.site))
        .group_by(_SITE.c.site)
    )
