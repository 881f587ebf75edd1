"""The gate board: every gate of an experiment that its reader sees, and why each closed one is closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from protocols import clocks
from protocols.clocks import Place
from protocols.context import place_of, shown_status
from protocols.model import Phase, in_locale
from protocols.needs import Need, needs
from protocols.plan import Plan
from protocols.state import SiteInfo, SiteState, State, StepKey, StepState, StepStatus
from sites.database import Database, table
from sites.holding import by_place, held_at, holdings
from sites.policy import Access, View
from sites.snapshot import Loaded, find, load
from sites.tables import ExperimentSite, Incident, Step

PHASES = list(Phase)

THROUGH = frozenset(status.value for status in StepStatus if status.is_through)
LIVE = frozenset(status.value for status in StepStatus if status.is_live)

_INCIDENT, _SITE, _STEP = table(Incident), table(ExperimentSite), table(Step)
_SITES = (
    select(_SITE.c.site, _SITE.c.name, _SITE.c.state, _SITE.c.territory, _SITE.c.timezone)
    .where(_SITE.c.experiment_id == bindparam("experiment"))
    .order_by(_SITE.c.site)
)
_STATUSES = select(_STEP.c.step, _STEP.c.site, _STEP.c.status).where(_STEP.c.experiment_id == bindparam("experiment"))
_OPEN_INCIDENTS = (
    select(_INCIDENT)
    .where(_INCIDENT.c.experiment_id == bindparam("experiment"), _INCIDENT.c.resolved_at.is_(None))
    .order_by(_INCIDENT.c.id)
)
# What is said in the place of a need whose words would tell how many sites there are, or what befell them.
_SPARING: dict[str, dict[str, str]] = {
    "sites": {"fr": "{title} : d’autres sites sont attendus", "en": "{title}: other sites are awaited"},
    "incident": {"fr": "Action automatique en échec", "en": "Automated action failed"},
}


def status(database: Database, code: str, now: datetime, locale: str = "fr", *, access: View) -> dict[str, Any]:
    """An experiment's gate board, gates in the protocol's order, each closed one with all it waits for. Raises UnknownThing.

    `vacant` are the roles waited for that nobody holds there today.
    `access` says how much of it: gates, sites and incidents of the sites seen, phase and progress counted on these alone; no names
    for whoever sees aggregates only.
    """
    with database.read() as connection:
        return board(connection, load(connection, find(connection, code)), now, locale, access)


def board(connection: Connection, loaded: Loaded, now: datetime, locale: str, access: View) -> dict[str, Any]:
    """`status` of an experiment whose whole state is loaded."""
    plan, state = loaded.plan, loaded.state
    keys = [key for key in keys_of(plan, state) if access.sees_site(key.site)]
    gates = [gate(plan, state, key, now, locale, access) for key in keys]
    _note_vacancies(connection, loaded, gates, now)
    return head(loaded.row, plan, locale, access) | {
        "phase": _phase(plan, state, keys),
        "progress": _progress(gates, {site.code for site in state.sites.values() if site.state is SiteState.STOPPED}),
        "sites": [_site(site, access) for site in state.sites.values() if access.sees_site(site.code)],
        "gates": gates,
        "incidents": _incidents(connection, loaded.id, access),
    }


def title_of(row: Mapping[str, Any], plan: Plan, locale: str) -> str:
    """What an experiment is called: by its launcher, else by its protocol in the reader's language."""
    return row["title"] or in_locale(plan.protocol.title, locale)


def head(row: Mapping[str, Any], plan: Plan, locale: str, access: View) -> dict[str, Any]:
    """What is told of an experiment wherever it is listed."""
    return {
        "code": row["code"],
        "title": title_of(row, plan, locale),
        "protocol": row["protocol_id"],
        "version": row["version"],
        "hash": row["protocol"],
        "state": row["state"],
        "launched_by": row["launched_by"] if access.names_people else "",
        "launched_at": iso(row["launched_at"]),
    }


def keys_of(plan: Plan, state: State) -> list[StepKey]:
    """Every step of the experiment, at every site it is done at, in the protocol's order."""
    return [
        key
        for name in plan.order
        for key in ([StepKey(name, site) for site in state.sites] if plan.is_site_step(name) else [StepKey(name)])
    ]


def gate(plan: Plan, state: State, key: StepKey, now: datetime, locale: str, access: View) -> dict[str, Any]:
    """One gate: its status, its times (RFC 3339 UTC; `due_on` is the date people read there), and all it waits for.

    `held` says whether its clock stands still.
    """
    step, planned = state.step(key), plan.steps[key.step].step
    waits = [] if state.status.has_ended else needs(plan, state, key, now)
    held_since = state.held_since(key.site)
    return {
        "step": key.step,
        "title": in_locale(planned.title, locale),
        "phase": planned.phase.value,
        "site": key.site or None,
        "round": step.round,
        "status": shown_status(state, step).value,
        "opened_at": iso(step.opened_at),
        "since": iso(step.since),
        "ended_at": iso(step.since) if step.status.is_through or step.status in (StepStatus.RETURNED, StepStatus.STOPPED) else None,
        "due_at": iso(step.due_at),
        "due_on": day(step.due_at, place_of(state, key.site)[0]),
        # Nobody becomes late while forbidden to act.
        "late": is_late(step, held_since or now),
        "held": held_since is not None and step.status.is_live,
        "why": "" if step.status is StepStatus.INCIDENT and _is_spared(access, key.site) else step.why,
        "waiting_for": [{"what": _what(need, key, locale, access), "role": need.role, "since": iso(need.since)} for need in waits],
    }


def _note_vacancies(connection: Connection, loaded: Loaded, gates: Sequence[dict[str, Any]], now: datetime) -> None:
    """Say of each gate which of the roles that it waits for nobody holds there today."""
    roles = {need["role"] for one in gates for need in one["waiting_for"]} - {""}
    places = by_place(holdings(connection, loaded.row, roles, list(loaded.state.sites), now))
    for one in gates:
        asked = sorted({need["role"] for need in one["waiting_for"]} - {""})
        one["vacant"] = [role for role in asked if not held_at(places, role, one["site"] or "")]


def _what(need: Need, key: StepKey, locale: str, access: View) -> str:
    counts_others = need.kind == "sites" and not access.sees_every_site
    if counts_others or (need.kind == "incident" and _is_spared(access, key.site)):
        return in_locale(_SPARING[need.kind], locale).format(title=in_locale(need.words.get("title"), locale))  # type: ignore[arg-type]
    return need.what(locale)


def _is_spared(access: View, site: str) -> bool:
    """Whether a reader is not told free words about a step or an incident: they may name a person, or another site."""
    return access.is_aggregate or not (site or access.sees_every_site)


def is_late(step: StepState, now: datetime) -> bool:
    """Whether a live step is past its deadline."""
    return step.status.is_live and step.due_at is not None and step.due_at < now


def summary(connection: Connection, row: Mapping[str, Any], plan: Plan, locale: str, access: Access) -> dict[str, Any]:
    """What stands at the head of each of an experiment's pages: as in `status`, without the gates. Two light reads."""
    of_experiment = {"experiment": row["id"]}
    sites = [dict(site) for site in connection.execute(_SITES, of_experiment).mappings() if access.sees_site(site["site"])]
    steps = [step for step in connection.execute(_STATUSES, of_experiment) if access.sees_site(step.site)]
    stopped = {site["site"] for site in sites if site["state"] == SiteState.STOPPED.value}
    through = sum(step.status in THROUGH for step in steps if step.site not in stopped)
    live = {plan.steps[step.step].step.phase for step in steps if step.status in LIVE}
    total = len(plan.experiment_steps) + len(plan.site_steps) * (len(sites) - len(stopped))
    named = access.names_people
    return head(row, plan, locale, access) | {
        "phase": _earliest(live, bool(steps)),
        "progress": _share(through, total),
        "sites": [site | {"code": site["site"]} | ({} if named else {"name": site["site"]}) for site in sites],
    }


def _phase(plan: Plan, state: State, keys: list[StepKey]) -> str:
    live = {plan.steps[key.step].step.phase for key in keys if key in state.steps and state.steps[key].status.is_live}
    return _earliest(live, bool(state.steps))


def _earliest(live: Collection[Phase], begun: bool) -> str:
    """The earliest phase that still has a live step; the last phase once nothing is live."""
    return next((phase.value for phase in PHASES if phase in live), PHASES[-1].value if begun else PHASES[0].value)


def _progress(gates: list[dict[str, Any]], stopped: Collection[str]) -> float:
    """Which part of the gates shown is through, 0 to 1; those of a site that has left are not counted."""
    counted = [one["status"] in THROUGH for one in gates if one["site"] not in stopped]
    return _share(sum(counted), len(counted))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 3) if whole else 1.0


def _site(site: SiteInfo, access: View) -> dict[str, str]:
    named = access is None or not access.is_aggregate
    return {"code": site.code, "name": site.name if named else site.code, "state": site.state.value}


def _incidents(connection: Connection, experiment: int, access: View) -> list[dict[str, Any]]:
    rows = connection.execute(_OPEN_INCIDENTS, {"experiment": experiment}).mappings()
    return [_incident(row, access) for row in map(dict, rows) if access.sees_site(row["site"])]


def _incident(row: Mapping[str, Any], access: View) -> dict[str, Any]:
    spared = {"key": row["kind"], "message": ""} if _is_spared(access, row["site"]) else {}
    return {name: row[name] for name in ("key", "kind", "message", "step", "site")} | {"at": iso(row["at"])} | spared


def day(moment: datetime | None, place: Place) -> str | None:
    """The date people read at that place."""
    return clocks.local_date(moment, place).isoformat() if moment else None


def iso(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return moment.isoformat().replace("+00:00", "Z") if moment else None
