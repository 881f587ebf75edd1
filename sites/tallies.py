"""What is live, stuck and through in experiments, counted in grouped statements over what a reader sees of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Date, and_, bindparam, case, func, or_, select

from protocols import clocks
from protocols.clocks import Place
from protocols.needs import MANAGER
from protocols.plan import Plan
from protocols.state import ExperimentState, SiteState, StepStatus
from sites import policy
from sites.database import table
from sites.live import IS_LATE, IS_LIVE, IS_STUCK, STEPS, STUCK_SINCE, WHY_STUCK, at
from sites.tables import Assignment, ExperimentSite, Person, Step

_SITE, _STEP = table(ExperimentSite), table(Step)
_ASSIGNMENT, _PERSON = table(Assignment), table(Person)

SHOWN_STUCK = 3  # what waits longest; the others are counted
SHOWN_PEOPLE = 3

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


# Statements of the list are built once: building one costs more than running it. `ids` are the experiments of a page, `sites` those the
# reader sees of them (with "" for the experiment's own), unless they see `every` one.


def _among(experiment: ColumnElement[int], site: ColumnElement[str]) -> ColumnElement[bool]:
    ids: Any = bindparam("ids", expanding=True)
    sites: Any = bindparam("sites", expanding=True)
    return and_(experiment.in_(ids), site.in_(sites))


def _of_page(experiment: ColumnElement[int], site: ColumnElement[str]) -> ColumnElement[bool]:
    ids: Any = bindparam("ids", expanding=True)
    sites: Any = bindparam("sites", expanding=True)
    return and_(experiment.in_(ids), or_(bindparam("every", type_=Boolean()), site.in_(sites)))


_PARTS_AT = select(_SITE.c.experiment_id, _SITE.c.site, _SITE.c.timezone).where(_of_page(_SITE.c.experiment_id, _SITE.c.site))
_LIVE_STEPS = (
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
    .where(IS_LIVE, _of_page(_STEP.c.experiment_id, _STEP.c.site))
    .group_by(_STEP.c.experiment_id, _STEP.c.step)
)
_HELD_SITES = (
    select(_SITE.c.experiment_id, _SITE.c.site, _SITE.c.held_at)
    .where(_SITE.c.state == SiteState.ON_HOLD.value, _of_page(_SITE.c.experiment_id, _SITE.c.site))
    .order_by(_SITE.c.held_at)
)
_RANKED = (
    select(
        *(_STEP.c[name] for name in ("experiment_id", "step", "site", "awaits_role")),
        WHY_STUCK.label("why"),
        STUCK_SINCE.label("since"),
        func.row_number().over(partition_by=_STEP.c.experiment_id, order_by=(STUCK_SINCE, _STEP.c.step, _STEP.c.site)).label("place"),
    )
    .select_from(STEPS)
    .where(IS_LIVE, IS_STUCK, _of_page(_STEP.c.experiment_id, _STEP.c.site))
    .subquery()
)
_STUCK_LONGEST = select(_RANKED).where(_RANKED.c.place <= SHOWN_STUCK).order_by(_RANKED.c.place)
# Only for readers limited to sites: without the choice of `every`, the rows of the other sites are not even read.
_SITES_BY_STATE = (
    select(_SITE.c.experiment_id, _SITE.c.state, func.count().label("sites"))
    .where(_among(_SITE.c.experiment_id, _SITE.c.site))
    .group_by(_SITE.c.experiment_id, _SITE.c.state)
)
_THROUGH = (
    select(_STEP.c.experiment_id, _STEP.c.step, func.count().label("through"))
    .select_from(STEPS)
    .where(
        _among(_STEP.c.experiment_id, _STEP.c.site),
        _STEP.c.status.in_((StepStatus.PASSED.value, StepStatus.SKIPPED.value)),
        func.coalesce(_SITE.c.state, "") != SiteState.STOPPED.value,
    )
    .group_by(_STEP.c.experiment_id, _STEP.c.step)
)
_HOLDERS = (
    select(_ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment, _PERSON.c.name)
    .join_from(_ASSIGNMENT, _PERSON, _PERSON.c.id == _ASSIGNMENT.c.person)
    .where(
        _ASSIGNMENT.c.role.in_(bindparam("roles", expanding=True)),
        _ASSIGNMENT.c.site.in_(bindparam("sites", expanding=True)),
        policy.in_force(bindparam("on", type_=Date())),
    )
    .order_by(_ASSIGNMENT.c.site.desc(), _ASSIGNMENT.c.experiment.desc(), _PERSON.c.name)  # whoever is nearest first
)


def tallied(connection: Connection, rows: Mapping[int, Row], access: Mapping[int, policy.Access], now: datetime) -> dict[int, Tally]:
    """The tallies of experiments, `rows` and `access` by their ids; `now` is aware UTC."""
    tallies = {key: _tally(rows[key]) for key in access}
    for part in _parts(access):
        _count_live(connection, tallies, part | at(now))
        _add_holds(connection, tallies, part)
        if stuck := [key for key in part["ids"] if tallies[key].stuck > len(tallies[key].on)]:
            _add_stuck(connection, tallies, part | at(now) | {"ids": stuck})
        if not part["every"]:
            _count_sites(connection, tallies, part)
    _name_holders(connection, tallies, rows, access, now)
    return tallies


def accesses(connection: Connection, reader: policy.Reader, rows: list[Row], plans: Mapping[int, Plan]) -> dict[int, policy.Access]:
    """How much of each the reader sees. Sites are looked up where that depends on them: those where something is held, or all for dates."""
    local = {one.site for one in reader.held if one.site} | {site for _, site in reader.glass if site}
    by_date = not all(one.holds_everywhere(reader.now) for one in reader.held)
    zones: dict[int, dict[str, str]] = {row["id"]: {} for row in rows}
    if local or by_date:
        for found in connection.execute(_PARTS_AT, {"ids": list(zones), "every": by_date, "sites": list(local)}):
            zones[found.experiment_id][found.site] = found.timezone
    known = {row["id"]: policy.access(reader, row, plans[row["id"]], zones[row["id"]]) for row in rows}
    return {key: one for key, one in known.items() if one}


def _parts(access: Mapping[int, policy.Access]) -> list[dict[str, Any]]:
    """The experiments by the sites that the reader sees of them, as what the statements are filled with."""
    found: dict[frozenset[str] | None, list[int]] = {}
    for key, one in access.items():
        found.setdefault(one.sites, []).append(key)
    return [{"ids": ids, "every": sites is None, "sites": sorted({"", *(sites or ())})} for sites, ids in found.items()]


def _tally(row: Row) -> Tally:
    """What is known from the experiment's own row: a hold of the whole of it."""
    tally = Tally()
    if row["state"] == ExperimentState.ON_HOLD.value:
        _add_hold(tally, "", row["held_at"])
    return tally


def _add_hold(tally: Tally, site: str, since: datetime | None) -> None:
    tally.stuck += 1
    tally.since += [since] if since else []
    tally.on.append({"role": MANAGER, "step": "", "site": site, "why": "hold", "since": since})


def _count_live(connection: Connection, tallies: Mapping[int, Tally], part: Mapping[str, Any]) -> None:
    for row in connection.execute(_LIVE_STEPS, part):
        tally = tallies[row.experiment_id]
        tally.open, tally.late, tally.stuck = tally.open + row.open, tally.late + row.late, tally.stuck + row.stuck
        tally.steps.add(row.step)
        tally.since += [row.since] if row.since else []
        tally.dues += [row.due_at] if row.due_at else []


def _add_holds(connection: Connection, tallies: Mapping[int, Tally], part: Mapping[str, Any]) -> None:
    for row in connection.execute(_HELD_SITES, part):
        _add_hold(tallies[row.experiment_id], row.site, row.held_at)


def _add_stuck(connection: Connection, tallies: Mapping[int, Tally], part: Mapping[str, Any]) -> None:
    for row in connection.execute(_STUCK_LONGEST, part):
        one = {"role": row.awaits_role, "step": row.step, "site": row.site, "why": row.why, "since": row.since}
        tallies[row.experiment_id].on.append(one)


def _count_sites(connection: Connection, tallies: Mapping[int, Tally], part: Mapping[str, Any]) -> None:
    """For a reader limited to sites: how many of theirs take part, and which steps are through there."""
    for row in connection.execute(_SITES_BY_STATE, part):
        if row.state == SiteState.STOPPED.value:
            tallies[row.experiment_id].stopped += row.sites
        else:
            tallies[row.experiment_id].active += row.sites
    for row in connection.execute(_THROUGH, part):
        tallies[row.experiment_id].through[row.step] = row.through


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
    asked = {"roles": list(roles), "sites": ["", *sites], "on": clocks.local_date(now, Place())}
    return [dict(row) for row in connection.execute(_HOLDERS, asked).mappings()]


def _fits(holder: Row, role: str, site: str, code: str) -> bool:
    return holder["role"] == role and holder["site"] in ("", site) and holder["experiment"] in ("", code)
