"""How one fact changes the state. Deciding and replaying both go through `apply`, so the journal always gives the snapshot.

Statuses come from the tables of `protocols.lifecycle`; what follows here is what else a fact changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from protocols import lifecycle
from protocols.clocks import Place, Suspension
from protocols.facts import TELLING, Fact, FactKind
from protocols.lifecycle import ImpossibleFact
from protocols.state import Signed, SiteInfo, State, StepKey, StepState, StepStatus


def apply(state: State, fact: Fact) -> None:
    """Change `state` in place by one fact. Facts that only tell (a reminder, an incident) change nothing.

    Raises ImpossibleFact, and changes nothing, when the fact does not fit the state.
    """
    if fact.kind in TELLING:
        return
    if state.status.has_ended or state.site_is_stopped(fact.site):
        raise ImpossibleFact(f"{fact.kind} cannot happen after the end of {fact.site or 'the experiment'}.")
    _CHANGES[fact.kind](state, fact)


def replay(facts: Iterable[Fact]) -> State:
    """The whole state that a journal, oldest fact first, adds up to."""
    state = State()
    for fact in facts:
        apply(state, fact)
    return state


def _key(fact: Fact) -> StepKey:
    return StepKey(fact.step, fact.site)


def _change_step(state: State, fact: Fact, *, to: StepStatus | None = None, **changes: Any) -> None:
    before = _fitting(state, fact)
    status = lifecycle.next_status(lifecycle.STEP, fact.kind, before.status, to=to)
    state.steps[before.key] = replace(before, version=before.version + 1, status=status, **changes)


def _fitting(state: State, fact: Fact) -> StepState:
    """The step as it was, in the round that the fact is about."""
    before = state.step(_key(fact))
    wanted = before.round + 1 if fact.kind is FactKind.ROUND_OPENED else before.round
    if fact.round != wanted:
        raise ImpossibleFact(f"{fact.kind} is about round {fact.round} of {fact.step!r}, which is in round {before.round}.")
    return before


def _told(state: State, fact: Fact) -> None:
    lifecycle.next_status(lifecycle.STEP, fact.kind, _fitting(state, fact).status)


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _launched(state: State, fact: Fact) -> None:
    if state.sites:
        raise ImpossibleFact("An experiment is launched once.")
    data = fact.data
    state.launch = data["launch"]
    state.place = Place(data["territory"], data["timezone"])
    state.pending = data["pending"]
    for site in data["sites"]:
        place = Place(site["territory"], site["timezone"])
        state.sites[site["code"]] = SiteInfo(site["code"], site["name"], site["kind"], place)
    state.active = len(state.sites)


def _opened(state: State, fact: Fact) -> None:
    to = StepStatus.WORKING if fact.data.get("working") else StepStatus.OPEN
    _change_step(state, fact, to=to, opened_at=fact.at, since=fact.at, due_at=_instant(fact.data.get("due_at")))


def _action_done(state: State, fact: Fact) -> None:
    before = state.step(_key(fact))
    results = (*before.results, {"do": fact.data["do"], "result": fact.data["result"]})
    _change_step(state, fact, actions_done=before.actions_done + 1, results=results, why="")


def _action_failed(state: State, fact: Fact) -> None:
    _change_step(state, fact, since=fact.at, why=fact.data["error"])


def _action_retried(state: State, fact: Fact) -> None:
    _change_step(state, fact, since=fact.at, why="")


def _asked(state: State, fact: Fact) -> None:
    _change_step(state, fact, since=fact.at)


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


def _through(state: State, fact: Fact) -> None:
    _change_step(state, fact, since=fact.at, why=fact.data.get("because", ""))
    state.pending -= 1
    if fact.site:
        state.through[fact.step] = state.through_count(fact.step) + 1


def _round_ended(state: State, fact: Fact) -> None:
    _change_step(state, fact, since=fact.at, why=fact.data.get("because", ""))


def _round_opened(state: State, fact: Fact) -> None:
    before = _fitting(state, fact)
    status = lifecycle.next_status(lifecycle.STEP, fact.kind, before.status)
    if before.status.is_through:
        state.pending += 1
        if fact.site:
            state.through[fact.step] = state.through_count(fact.step) - 1
    state.steps[before.key] = StepState(before.key, round=fact.round, status=status, since=fact.at, version=before.version + 1)


def _change_site(state: State, fact: Fact, **changes: Any) -> None:
    site = state.sites[fact.site]
    state.sites[fact.site] = replace(site, state=lifecycle.next_status(lifecycle.SITE, fact.kind, site.state), **changes)


def _change_experiment(state: State, fact: Fact) -> None:
    state.status = lifecycle.next_status(lifecycle.EXPERIMENT, fact.kind, state.status)


def _site_stopped(state: State, fact: Fact) -> None:
    _change_site(state, fact, held_at=None)
    state.active -= 1
    state.stopped += 1
    state.pending -= fact.data["pending"]
    for step in fact.data["through"]:
        state.through[step] = state.through_count(step) - 1


def _held(state: State, fact: Fact) -> None:
    if fact.site:
        _change_site(state, fact, held_at=fact.at)
    else:
        _change_experiment(state, fact)
        state.held_at = fact.at


def _released(state: State, fact: Fact) -> None:
    if fact.site:
        site = state.sites[fact.site]
        _change_site(state, fact, held_at=None, suspensions=(*site.suspensions, Suspension(site.held_at or fact.at, fact.at)))
    else:
        _change_experiment(state, fact)
        state.suspensions = (*state.suspensions, Suspension(state.held_at or fact.at, fact.at))
        state.held_at = None


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
    FactKind.GATE_PASSED: _through,
    FactKind.STEP_SKIPPED: _through,
    FactKind.GATE_RETURNED: _round_ended,
    FactKind.GATE_REOPENED: _told,
    FactKind.STEP_RETURNED: _round_ended,
    FactKind.GATE_STOPPED: _round_ended,
    FactKind.STEP_STOPPED: _round_ended,
    FactKind.ROUND_OPENED: _round_opened,
    FactKind.SITE_STOPPED: _site_stopped,
    FactKind.EXPERIMENT_STOPPED: _change_experiment,
    FactKind.EXPERIMENT_CLOSED: _change_experiment,
    FactKind.HELD: _held,
    FactKind.RELEASED: _released,
    FactKind.DEADLINE_MOVED: _deadline_moved,
    FactKind.DEADLINE_MISSED: _deadline_missed,
    FactKind.REMINDER_DUE: _told,
    FactKind.ESCALATED: _told,
}
