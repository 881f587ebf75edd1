"""Statuses come from one table: the engine keeps to it, the fold refuses what does not, and the document shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from walks import START, launched, random_plan, walks

from protocols import lifecycle
from protocols.facts import TELLING, Fact, FactKind
from protocols.fold import apply
from protocols.lifecycle import ImpossibleFact, next_status
from protocols.state import ExperimentState, SiteState, State, StepKey, StepState, StepStatus

DOCUMENT = Path(__file__).parents[2] / "docs" / "lifecycle.md"
STEP_FACTS = [kind for kind in FactKind if kind in lifecycle.STEP]


def with_step(status: StepStatus) -> State:
    """An experiment with one step in a status, whatever led there."""
    state = launched_state()
    key = StepKey("s0", "A")
    return replace(state, steps={key: StepState(key, status=status)})


def launched_state() -> State:
    from random import Random

    return launched(random_plan(Random(1)), "A", flag=True).decision.state


def a_fact(kind: FactKind, **changes: object) -> Fact:
    """A fact of a kind, with all that any kind's data may need."""
    data = {"due_at": START.isoformat(), "do": "x", "result": {}, "error": "x", "answers": {}, "leads_to": "", "meaning": "x"}
    base = Fact(kind, START, "p", "r", "s0", "A", 2 if kind is FactKind.ROUND_OPENED else 1, data | {"answers_hash": "x", "because": "x"})
    return replace(base, **changes)  # type: ignore[arg-type]


def test_the_document_is_the_table() -> None:
    assert DOCUMENT.read_text("utf-8") == lifecycle.document(), "Write it again: python -m protocols.lifecycle > docs/lifecycle.md"


def test_every_kind_of_fact_has_its_place_in_a_life() -> None:
    told = {*lifecycle.STEP, *lifecycle.SITE, *lifecycle.EXPERIMENT, *TELLING}
    assert told == set(FactKind)


@pytest.mark.parametrize("kind", STEP_FACTS)
@pytest.mark.parametrize("status", StepStatus)
def test_a_fact_happens_to_a_step_only_where_the_table_lets_it(kind: FactKind, status: StepStatus) -> None:
    state, change = with_step(status), lifecycle.STEP[kind]
    if status in change.before:
        apply(state, a_fact(kind))
        assert state.step(StepKey("s0", "A")).status in (change.after or (status,))
    else:
        with pytest.raises(ImpossibleFact):
            apply(state, a_fact(kind))
        assert state == with_step(status)


@pytest.mark.parametrize("kind", STEP_FACTS)
def test_a_fact_of_another_round_is_refused(kind: FactKind) -> None:
    state = with_step(lifecycle.STEP[kind].before[0])
    with pytest.raises(ImpossibleFact, match="round"):
        apply(state, a_fact(kind, round=5))


@pytest.mark.parametrize("kind", [kind for kind in FactKind if kind not in TELLING])
@pytest.mark.parametrize("end", [ExperimentState.STOPPED, ExperimentState.CLOSED])
def test_nothing_happens_after_the_end(kind: FactKind, end: ExperimentState) -> None:
    with pytest.raises(ImpossibleFact):
        apply(replace(with_step(StepStatus.OPEN), status=end), a_fact(kind))


def test_an_incident_may_be_reported_after_the_end() -> None:
    ended = replace(launched_state(), status=ExperimentState.CLOSED)
    apply(ended, Fact(FactKind.INCIDENT_REPORTED, START))
    assert ended == replace(launched_state(), status=ExperimentState.CLOSED)


@pytest.mark.parametrize(
    ("changes", "kind", "status"),
    [
        (lifecycle.SITE, FactKind.HELD, SiteState.ON_HOLD),
        (lifecycle.SITE, FactKind.RELEASED, SiteState.ACTIVE),
        (lifecycle.SITE, FactKind.SITE_STOPPED, SiteState.STOPPED),
        (lifecycle.EXPERIMENT, FactKind.HELD, ExperimentState.ON_HOLD),
        (lifecycle.EXPERIMENT, FactKind.EXPERIMENT_CLOSED, ExperimentState.ON_HOLD),
        (lifecycle.EXPERIMENT, FactKind.STEP_OPENED, ExperimentState.RUNNING),
    ],
)
def test_sites_and_experiments_keep_to_their_tables_too(changes: dict, kind: FactKind, status: object) -> None:  # type: ignore[type-arg]
    with pytest.raises(ImpossibleFact):
        next_status(changes, kind, status)  # type: ignore[type-var]


def test_an_experiment_is_launched_once() -> None:
    state = launched_state()
    with pytest.raises(ImpossibleFact, match="once"):
        apply(state, a_fact(FactKind.EXPERIMENT_LAUNCHED))


def test_random_walks_use_every_arrow_of_a_steps_life() -> None:
    """No arrow of the table is only on paper."""
    taken: set[tuple[FactKind, StepStatus, StepStatus]] = set()
    for walk in walks(800):
        state = State()
        for fact in walk.facts:
            key = StepKey(fact.step, fact.site)
            before = state.step(key).status if fact.step else None
            apply(state, fact)
            if before:
                taken.add((fact.kind, before, state.step(key).status))
    drawn = {(kind, before, after) for kind, change in lifecycle.STEP.items() for before in change.before for after in change.after}
    assert drawn <= taken
