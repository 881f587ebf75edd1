"""The names a condition can read, taken from the state: only those it uses are gathered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from typing import Any

from protocols import clocks
from protocols.clocks import Place, Suspension
from protocols.conditions import CompiledCondition
from protocols.plan import Plan, converted
from protocols.state import SiteInfo, State, StepKey, StepState, StepStatus

PATHWAY_COUNTS = ("participants", "data", "incidents", "indicators")


def place_of(state: State, site: str) -> tuple[Place, tuple[Suspension, ...]]:
    """Where a step stands, and the holds its clock has known ("" for the experiment's own steps)."""
    if not site:
        return state.place, state.suspensions
    info = state.sites[site]
    return info.place, (*state.suspensions, *info.suspensions)


def shown_status(state: State, step: StepState) -> StepStatus:
    """The step's status as people see it: a step not yet reached is `stopped` once its site or the experiment is."""
    ended = state.status == "stopped" or state.site_is_stopped(step.key.site)
    return StepStatus.STOPPED if ended and step.status is StepStatus.WAITING else step.status


def condition_context(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, Any]:
    """The values of the names this condition uses, for the step at `key`; `today` is the date at the step's place."""
    return {name: _NAMES[name](plan, state, key, condition, now) for name in condition.names if name in _NAMES}


def _answers(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, Any]:
    by, read = plan.steps[key.step].converters, _named(condition, "answers")
    if "answers" not in condition.references:
        by = tuple(one for one in by if one[0] in read)  # a large table that it does not read costs nothing
    return converted(state.step(key).answers, by, condition.nulls)


def _steps(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, Any]:
    names = _named(condition, "steps")
    return {
        name: _seen(plan, state, StepKey(name, key.site if plan.is_site_step(name) else ""), condition)
        for name in names
        if name in plan.steps
    }


def _sites_of(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, Any]:
    return {
        name: [{"site": code, **_seen(plan, state, StepKey(name, code), condition)} for code in state.every_site()]
        for name in _named(condition, "sites_of")
        if name in plan.steps
    }


def _seen(plan: Plan, state: State, key: StepKey, condition: CompiledCondition) -> dict[str, Any]:
    step = state.step(key)
    answers = converted(step.answers, plan.steps[key.step].converters, condition.nulls)
    return {"status": str(shown_status(state, step)), "round": step.round, "answers": answers}


def _launch(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, Any]:
    return converted(state.launch, plan.launch_converters, condition.nulls)


def _site(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, Any]:
    info: SiteInfo = state.sites[key.site]
    return {"code": info.code, "name": info.name, "kind": info.kind, "territory": info.place.territory}


def _sites(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, int]:
    return {"count": state.active + state.stopped, "active": state.active, "stopped": state.stopped}


def _today(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> datetime:
    place, _ = place_of(state, key.site)
    return datetime.combine(clocks.local_date(now, place), time(), UTC)


def _zeros(name: str) -> Any:
    """The pathway's counts are zero until the pathway exists; every path the condition reads gives 0."""

    def gather(plan: Plan, state: State, key: StepKey, condition: CompiledCondition, now: datetime) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in (reference.split(".")[1:] for reference in condition.references if reference.split(".")[0] == name):
            _set(found, path)
        return found

    return gather


def _set(found: dict[str, Any], path: list[str]) -> None:
    for part in path[:-1]:
        found = found.setdefault(part, {})
    if path:
        found[path[-1]] = 0


def _named(condition: CompiledCondition, top: str) -> Iterable[str]:
    return {path[1] for path in (reference.split(".") for reference in condition.references) if path[0] == top and len(path) > 1}


_NAMES: Mapping[str, Any] = {
    "answers": _answers,
    "steps": _steps,
    "sites_of": _sites_of,
    "launch": _launch,
    "site": _site,
    "sites": _sites,
    "today": _today,
    **{name: _zeros(name) for name in PATHWAY_COUNTS},
}
