"""How one fact changes the state. Deciding and replaying both go through `apply`, so the journal always gives the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from protocols.clocks import Place, Suspension
from protocols.facts import Fact, FactKind
from protocols.state import ExperimentState, Signed, SiteInfo, SiteState, State, StepKey, StepState, StepStatus


def apply(state: State, fact: Fact) -> None:
    """Change `state` in place by one fact. Facts that only tell (a reminder, an incident) change nothing."""
    if change := _CHANGES.get(fact.kind):
        change(state, fact)


def replay(facts: Iterable[Fact]) -> State:
    """The whole state that a journal, oldest fact first, adds up to."""
    state = State()
    for fact in facts:
        apply(state, fact)
    return state


def _key(fact: Fact) -> StepKey:
    return StepKey(fact.step, fact.site)


def _change_step(state: State, fact: Fact, **changes: Any) -> StepState:
    before = state.step(_key(fact))
    after = replace(before, version=before.version + 1, **changes)
    state.steps[after.key] = after
    return after


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _launched(state: State, fact: Fact) -> None:
    data = fact.data
    state.launch = data["launch"]
    state.place = Place(data["territory"], data["timezone"])
    state.pending = data["pending"]
    for site in data["sites"]:
        place = Place(site["territory"], site["timezone"])
        state.sites[site["code"]] = SiteInfo(site["code"], site["name"], site["kind"], place)
    state.active = len(state.sites)


def _opened(state: State, fact: Fact) -> None:
    status = StepStatus.WORKING if fact.data.get("working") else StepStatus.OPEN
    due_at = _instant(fact.data.get("due_at"))
    _change_step(state, fact, status=status, round=fact.round, opened_at=fact.at, since=fact.at, due_at=due_at)


def _action_done(state: State, fact: Fact) -> None:
    before = state.step(_key(fact))
    results = (*before.results, {"do": fact.data["do"], "result": fact.data["result"]})
    _change_step(state, fact, actions_done=before.actions_done + 1, results=results, why="")


def _action_failed(state: State, fact: Fact) -> None:
    _change_step(state, fact, status=StepStatus.INCIDENT, since=fact.at, why=fact.data["error"])


def _action_retried(state: State, fact: Fact) -> None:
    _change_step(state, fact, status=StepStatus.WORKING, since=fact.at, why="")


def _asked(state: State, fact: Fact) -> None:
    _change_step(state, fact, status=StepStatus.OPEN, since=fact.at)


def _completed(state: State, fact: Fact) -> None:
    _change_step(
        state,
        fact,
        answers=fact.data["answers"],
        leads_to=fact.data["leads_to"],
        completed_by=fact.by,
        completed_at=fact.at,
        signatures=(),
        since=fact.at,
    )


def _signed(state: State, fact: Fact) -> None:
    before = state.step(_key(fact))
    signature = Signed(fact.by, fact.role, fact.at, fact.data["meaning"], fact.data["answers_hash"])
    _change_step(state, fact, signatures=(*before.signatures, signature), leads_to=fact.data["leads_to"], since=fact.at)


def _through(state: State, fact: Fact, status: StepStatus, **changes: Any) -> None:
    _change_step(state, fact, status=status, since=fact.at, round=fact.round, **changes)
    state.pending -= 1
    if fact.site:
        state.through[fact.step] = state.through_count(fact.step) + 1


def _passed(state: State, fact: Fact) -> None:
    _through(state, fact, StepStatus.PASSED)


def _skipped(state: State, fact: Fact) -> None:
    _through(state, fact, StepStatus.SKIPPED, why=fact.data["because"])


def _round_ended(status: StepStatus) -> Callable[[State, Fact], None]:
    def change(state: State, fact: Fact) -> None:
        _change_step(state, fact, status=status, since=fact.at, why=fact.data.get("because", ""))

    return change


def _round_opened(state: State, fact: Fact) -> None:
    before = state.step(_key(fact))
    if before.status.is_through:
        state.pending += 1
        if fact.site:
            state.through[fact.step] = state.through_count(fact.step) - 1
    state.steps[before.key] = StepState(before.key, round=fact.round, since=fact.at, version=before.version + 1)


def _site_stopped(state: State, fact: Fact) -> None:
    state.sites[fact.site] = replace(state.sites[fact.site], state=SiteState.STOPPED, held_at=None)
    state.active -= 1
    state.stopped += 1
    state.pending -= fact.data["pending"]
    for step in fact.data["through"]:
        state.through[step] = state.through_count(step) - 1


def _experiment_stopped(state: State, fact: Fact) -> None:
    state.status = ExperimentState.STOPPED


def _experiment_closed(state: State, fact: Fact) -> None:
    state.status = ExperimentState.CLOSED


def _held(state: State, fact: Fact) -> None:
    if fact.site:
        state.sites[fact.site] = replace(state.sites[fact.site], state=SiteState.ON_HOLD, held_at=fact.at)
    else:
        state.status, state.held_at = ExperimentState.ON_HOLD, fact.at


def _released(state: State, fact: Fact) -> None:
    if fact.site:
        site = state.sites[fact.site]
        suspensions = (*site.suspensions, Suspension(site.held_at or fact.at, fact.at))
        state.sites[fact.site] = replace(site, state=SiteState.ACTIVE, held_at=None, suspensions=suspensions)
    else:
        state.suspensions = (*state.suspensions, Suspension(state.held_at or fact.at, fact.at))
        state.status, state.held_at = ExperimentState.RUNNING, None


def _deadline_moved(state: State, fact: Fact) -> None:
    due_at = _instant(fact.data["due_at"])
    overdue = state.step(_key(fact)).overdue and due_at is not None and due_at <= fact.at
    _change_step(state, fact, due_at=due_at, overdue=overdue)


def _deadline_missed(state: State, fact: Fact) -> None:
    _change_step(state, fact, overdue=True)


_CHANGES: dict[FactKind, Callable[[State, Fact], None]] = {
    FactKind.EXPERIMENT_LAUNCHED: _launched,
    FactKind.STEP_OPENED: _opened,
    FactKind.ACTION_DONE: _action_done,
    FactKind.ACTION_FAILED: _action_failed,
    FactKind.ACTION_RETRIED: _action_retried,
    FactKind.CHECKPOINT_ASKED: _asked,
    FactKind.CHECKPOINT_COMPLETED: _completed,
    FactKind.ANSWERS_SIGNED: _signed,
    FactKind.GATE_PASSED: _passed,
    FactKind.STEP_SKIPPED: _skipped,
    FactKind.GATE_RETURNED: _round_ended(StepStatus.RETURNED),
    FactKind.STEP_RETURNED: _round_ended(StepStatus.RETURNED),
    FactKind.GATE_STOPPED: _round_ended(StepStatus.STOPPED),
    FactKind.STEP_STOPPED: _round_ended(StepStatus.STOPPED),
    FactKind.ROUND_OPENED: _round_opened,
    FactKind.SITE_STOPPED: _site_stopped,
    FactKind.EXPERIMENT_STOPPED: _experiment_stopped,
    FactKind.EXPERIMENT_CLOSED: _experiment_closed,
    FactKind.HELD: _held,
    FactKind.RELEASED: _released,
    FactKind.DEADLINE_MOVED: _deadline_moved,
    FactKind.DEADLINE_MISSED: _deadline_missed,
}
