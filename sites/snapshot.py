"""The snapshot: rows of the present state into values, and a decision's changes back into rows, old state in the WHERE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, insert, literal_column, select, update

from protocols.clocks import Place, Suspension
from protocols.engine import Decision
from protocols.errors import IllegalTransition, UnknownThing
from protocols.needs import awaits
from protocols.phrase import Phrase
from protocols.plan import Plan
from protocols.state import ExperimentState, Signed, SiteInfo, SiteState, State, StepKey, StepState, StepStatus
from sites.database import table
from sites.releases import plan_of
from sites.tables import Experiment, ExperimentSite, PastRound, Step, Tally

_EXPERIMENT, _SITE, _STEP, _TALLY, _PAST = table(Experiment), table(ExperimentSite), table(Step), table(Tally), table(PastRound)

# Statements of the daily path are built once: building one costs ten times what running it does (docs/performance.md).
_FIND = select(_EXPERIMENT).where(_EXPERIMENT.c.code == bindparam("code"))
_FIND_AND_LOCK = _FIND.with_for_update()
_FIND_WITH_SITE = (
    select(_EXPERIMENT, *(column.label(f"at_{column.name}") for column in _SITE.c))
    .outerjoin_from(_EXPERIMENT, _SITE, and_(_SITE.c.experiment_id == _EXPERIMENT.c.id, _SITE.c.site == bindparam("site")))
    .where(_EXPERIMENT.c.code == bindparam("code"))
)
_SITES_OF = select(_SITE).where(_SITE.c.experiment_id == bindparam("experiment")).order_by(_SITE.c.site)
_SITE_OF = _SITES_OF.where(_SITE.c.site == bindparam("site"))
_STEPS_OF = select(_STEP).where(_STEP.c.experiment_id == bindparam("experiment"))
_THROUGH_OF = select(_TALLY.c.step, _TALLY.c.through).where(_TALLY.c.experiment_id == bindparam("experiment"))
_UPDATE_TALLY = (
    update(_TALLY)
    .where(_TALLY.c.experiment_id == bindparam("of_experiment"), _TALLY.c.step == bindparam("of_step"))
    .values(through=bindparam("count"))
)
_INSERT_STEP, _INSERT_PAST = insert(_STEP), insert(_PAST)
_UPDATE_STEP = (
    update(_STEP)
    .where(
        _STEP.c.experiment_id == bindparam("of_experiment"),
        _STEP.c.site == bindparam("at_site"),
        _STEP.c.step == bindparam("of_step"),
        _STEP.c.version == bindparam("old_version"),
    )
    .values({column.name: bindparam(f"new_{column.name}") for column in _STEP.c if not column.primary_key})
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An experiment's row, its plan, and its state: whole, or the slice around one step."""

    row: Mapping[str, Any]
    plan: Plan
    state: State

    @property
    def id(self) -> int:
        return int(self.row["id"])

    @property
    def code(self) -> str:
        return str(self.row["code"])


def find(connection: Connection, code: str, *, lock: bool = False, site: str = "") -> Mapping[str, Any]:
    """The experiment's row. With `lock`, other commands on it wait their turn; with `site`, that site's row comes along as `at_…`.

    Raises UnknownThing.
    """
    query = _FIND_WITH_SITE if site and not lock else _FIND_AND_LOCK if lock else _FIND
    row = connection.execute(query, {"code": code, "site": site}).mappings().first()
    if row is None:
        raise UnknownThing(Phrase("There is no experiment {code!r}; `insitu status` lists them.", code=code))
    return dict(row)


def load(connection: Connection, row: Mapping[str, Any], key: StepKey | None = None) -> Loaded:
    """The slice a decision about `key` needs, or the whole state without one."""
    plan = plan_of(connection, row["protocol"])
    if key is None:
        return Loaded(row, plan, _state(connection, row, plan, None, None))
    if key.step not in plan.steps:
        raise UnknownThing(
            Phrase(
                "Protocol {protocol_id} {version} has no step {step!r}; it has {steps}.",
                protocol_id=row["protocol_id"],
                version=row["version"],
                step=key.step,
                steps=", ".join(plan.steps),
            )
        )
    if plan.is_site_step(key.step) is not bool(key.site):
        raise UnknownThing(_wrong_scope(key))
    names = plan.neighbourhood(key.step)
    fans_out = not key.site and any(plan.is_site_step(name) for name in names)
    return Loaded(row, plan, _state(connection, row, plan, names, None if fans_out else key.site))


def _wrong_scope(key: StepKey) -> Phrase:
    if key.site:
        return Phrase("Step {step!r} is a step of the experiment; its checkpoint names no site, as in CODE:step::1.", step=key.step)
    return Phrase("Step {step!r} is a step of each site; its checkpoint names a site, as in CODE:step:SITE:1.", step=key.step)


def _state(connection: Connection, row: Mapping[str, Any], plan: Plan, names: frozenset[str] | None, site: str | None) -> State:
    """`names` and `site` say what to hold: None for all; site "" for the experiment's own steps only."""
    experiment = row["id"]
    return State(
        status=ExperimentState(row["state"]),
        launch=row["launch"],
        place=Place(row["territory"], row["timezone"]),
        sites=_sites(connection, row, site),
        steps=_steps(connection, experiment, names, site),
        through=_through(connection, experiment, plan, names),
        pending=row["pending"],
        active=row["active"],
        stopped=row["stopped"],
        held_at=row["held_at"],
        suspensions=_suspensions(row["suspensions"]),
        known_steps=names,
        all_sites=site is None,
    )


def _sites(connection: Connection, row: Mapping[str, Any], site: str | None) -> dict[str, SiteInfo]:
    if site == "":
        return {}
    if site and row.get("at_site") == site:
        return {site: _site({name.removeprefix("at_"): value for name, value in row.items() if name.startswith("at_")})}
    rows = connection.execute(_SITES_OF if site is None else _SITE_OF, {"experiment": row["id"], "site": site}).mappings()
    # Sorted here: two databases need not agree on the order of letters, and facts are told in this one.
    found = {row["site"]: _site(dict(row)) for row in sorted(rows, key=lambda row: str(row["site"]))}
    if site and site not in found:
        raise UnknownThing(Phrase("Site {site} takes no part in this experiment.", site=site))
    return found


def _site(row: Mapping[str, Any]) -> SiteInfo:
    place = Place(row["territory"], row["timezone"])
    return SiteInfo(row["site"], row["name"], row["kind"], place, SiteState(row["state"]), row["held_at"], _suspensions(row["suspensions"]))


def _suspensions(pairs: Iterable[list[str]]) -> tuple[Suspension, ...]:
    return tuple(Suspension(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in pairs)


def _steps(connection: Connection, experiment: int, names: frozenset[str] | None, site: str | None) -> dict[StepKey, StepState]:
    chosen = sorted(names) if names is not None else []
    query = _steps_query(None if names is None else len(chosen), None if site is None else bool(site))
    values = {"experiment": experiment, "site": site} | _numbered(chosen)
    return {step.key: step for step in (step_state(dict(row)) for row in connection.execute(query, values).mappings())}


@lru_cache(maxsize=512)
def _steps_query(names: int | None, at_site: bool | None) -> Select[Any]:
    """The steps by so many names (None: all), at the experiment and a site (True), the experiment only (False), or everywhere (None)."""
    query = _STEPS_OF
    if at_site is not None:
        query = query.where(_STEP.c.site.in_([literal_column("''"), *([bindparam("site")] if at_site else [])]))
    return query if names is None else query.where(_STEP.c.step.in_([bindparam(f"name_{number}") for number in range(names)]))


def _numbered(names: Iterable[str]) -> dict[str, str]:
    return {f"name_{number}": name for number, name in enumerate(names)}


def _through(connection: Connection, experiment: int, plan: Plan, names: frozenset[str] | None) -> dict[str, int]:
    joined = sorted(plan.joined if names is None else plan.joined & names)
    if not joined:
        return {}
    rows = connection.execute(_through_query(len(joined)), {"experiment": experiment} | _numbered(joined))
    return {row.step: row.through for row in rows}


@lru_cache(maxsize=512)
def _through_query(names: int) -> Select[Any]:
    return _THROUGH_OF.where(_TALLY.c.step.in_([bindparam(f"name_{number}") for number in range(names)]))


def step_state(row: Mapping[str, Any]) -> StepState:
    """A step's row as a value."""
    return StepState(
        key=StepKey(row["step"], row["site"]),
        round=row["round"],
        status=StepStatus(row["status"]),
        opened_at=row["opened_at"],
        since=row["since"],
        due_at=row["due_at"],
        overdue=row["overdue"],
        actions_done=row["actions_done"],
        results=tuple(row["results"]),
        leads_to=row["leads_to"],
        answers=row["answers"],
        completed_by=row["completed_by"],
        completed_at=row["completed_at"],
        signatures=tuple(_signed(signature) for signature in row["signatures"]),
        why=row["why"],
        version=row["version"],
    )


def _signed(kept: Mapping[str, Any]) -> Signed:
    return Signed(kept["by"], kept["role"], datetime.fromisoformat(kept["at"]), kept["meaning"], kept["answers_hash"])


def step_row(plan: Plan, step: StepState) -> dict[str, Any]:
    """A step's value as its row's columns, but for its key."""
    needed, role = awaits(plan, step)
    return {
        "round": step.round,
        "status": step.status.value,
        "opened_at": step.opened_at,
        "since": step.since,
        "due_at": step.due_at,
        "overdue": step.overdue,
        "awaits": needed,
        "awaits_role": role,
        "actions_done": step.actions_done,
        "results": list(step.results),
        "leads_to": step.leads_to,
        "answers": step.answers,
        "completed_by": step.completed_by,
        "completed_at": step.completed_at,
        "signatures": [
            {"by": one.by, "role": one.role, "at": one.at.isoformat(), "meaning": one.meaning, "answers_hash": one.answers_hash}
            for one in step.signatures
        ],
        "why": step.why,
        "version": step.version,
    }


def save(connection: Connection, loaded: Loaded, decision: Decision) -> None:
    """Write what a decision changed. Raises IllegalTransition when someone else changed a step first."""
    before, after = loaded.state, decision.state
    changed = [step for key, step in after.steps.items() if before.steps.get(key) is not step]
    _save_steps(connection, loaded, [step for step in changed if step.key in before.steps])
    if fresh := [step for step in changed if step.key not in before.steps]:
        connection.execute(_INSERT_STEP, [_keyed(loaded.id, step) | step_row(loaded.plan, step) for step in fresh])
    if decision.ended_rounds:
        connection.execute(_INSERT_PAST, [_past_round(loaded, step) for step in decision.ended_rounds])
    _save_sites(connection, loaded, after)
    _save_tallies(connection, loaded, after)


def _keyed(experiment: int, step: StepState) -> dict[str, Any]:
    return {"experiment_id": experiment, "site": step.key.site, "step": step.key.step}


def _save_steps(connection: Connection, loaded: Loaded, steps: list[StepState]) -> None:
    for step in steps:
        values = {f"new_{name}": value for name, value in step_row(loaded.plan, step).items()}
        old = loaded.state.steps[step.key].version
        where = {"of_experiment": loaded.id, "at_site": step.key.site, "of_step": step.key.step, "old_version": old}
        if connection.execute(_UPDATE_STEP, values | where).rowcount != 1:
            raise IllegalTransition(
                Phrase("Step {step!r} was changed by someone else at the same moment; look at it again.", step=step.key.step)
            )


def _past_round(loaded: Loaded, step: StepState) -> dict[str, Any]:
    kept = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in step_row(loaded.plan, step).items()}
    return _keyed(loaded.id, step) | {"round": step.round, "status": step.status.value, "snapshot": kept}


def pairs(suspensions: Iterable[Suspension]) -> list[list[str]]:
    """Suspensions as their column keeps them."""
    return [[pause.start.isoformat(), pause.end.isoformat()] for pause in suspensions]


def _save_sites(connection: Connection, loaded: Loaded, after: State) -> None:
    for code, site in after.sites.items():
        if loaded.state.sites.get(code) is not site:
            values = {"state": site.state.value, "held_at": site.held_at, "suspensions": pairs(site.suspensions)}
            connection.execute(update(_SITE).where(_SITE.c.experiment_id == loaded.id, _SITE.c.site == code).values(values))


def _save_tallies(connection: Connection, loaded: Loaded, after: State) -> None:
    for step in loaded.plan.joined & after.through.keys():
        if (count := after.through[step]) != loaded.state.through.get(step, 0):
            connection.execute(_UPDATE_TALLY, {"of_experiment": loaded.id, "of_step": step, "count": count})


def experiment_values(state: State) -> dict[str, Any]:
    """The experiment's columns that a decision may change."""
    return {
        "state": state.status.value,
        "active": state.active,
        "stopped": state.stopped,
        "pending": state.pending,
        "held_at": state.held_at,
        "suspensions": pairs(state.suspensions),
    }
