"""What holds of the engine whatever the protocol and whatever people do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

from walks import ANSWERS, Walk, kept, keys, slice_of, walks

from protocols.commands import Command, Complete, RecordAction, Sign
from protocols.context import condition_context
from protocols.engine import Decision, decide, next_signature, sites_needed
from protocols.errors import InsituError
from protocols.facts import FactKind
from protocols.fold import apply, replay
from protocols.needs import needs
from protocols.notices import alarms, messages
from protocols.plan import Plan
from protocols.state import ExperimentState, SliceTooSmall, State, StepKey, StepState, StepStatus

SEEDS = 800


def of_every_walk(answers: tuple[int, ...] = ANSWERS) -> Callable[[Callable[[Walk], None]], Callable[[], None]]:
    """A test of every walk, from what a test of one walk says."""

    def test_of_all(test: Callable[[Walk], None]) -> Callable[[], None]:
        def tested() -> None:
            for walk in walks(SEEDS, answers):
                test(walk)

        return tested

    return test_of_all


def through_at(plan: Plan, state: State, name: str) -> int:
    return sum(state.step(StepKey(name, site)).status.is_through for site in state.active_sites())


def is_ready(plan: Plan, state: State, key: StepKey) -> bool:
    """Whether a step's predecessors are through, counted from the statuses alone."""
    for after in plan.steps[key.step].step.after:
        if plan.is_site_step(after.step) and not key.site:
            if through_at(plan, state, after.step) < sites_needed(after.sites, len(state.active_sites())):
                return False
        elif not state.step(StepKey(after.step, key.site if plan.is_site_step(after.step) else "")).status.is_through:
            return False
    return True


@of_every_walk()
def test_the_facts_alone_give_back_the_state(walk: Walk) -> None:
    assert replay(walk.facts) == walk.end.decision.state


@of_every_walk()
def test_a_decision_leaves_the_state_it_was_given_as_it_was(walk: Walk) -> None:
    state = copy.deepcopy(walk.end.before)
    decide(walk.plan, walk.end.before, walk.end.command, walk.end.now)
    assert walk.end.before == state


@of_every_walk()
def test_what_is_through_stays_through_until_its_next_round(walk: Walk) -> None:
    for move in walk.moves:
        for key, step in move.before.steps.items():
            after = move.decision.state.step(key)
            if step.status.is_through and after.round == step.round:
                assert after == step


@of_every_walk()
def test_no_step_opens_before_its_predecessors_are_through(walk: Walk) -> None:
    state = State()
    for fact in walk.facts:
        if fact.kind in (FactKind.STEP_OPENED, FactKind.STEP_SKIPPED):
            assert is_ready(walk.plan, state, StepKey(fact.step, fact.site))
        apply(state, fact)


@of_every_walk()
def test_no_step_is_left_asleep(walk: Walk) -> None:
    """After each command nothing is left that could move by itself."""
    for move in walk.moves:
        state = move.decision.state
        if not state.status.has_ended:
            assert [key for key in keys(walk.plan, state) if could_move(walk.plan, state, move, key)] == []


def could_move(plan: Plan, state: State, move: object, key: StepKey) -> bool:
    step, planned = state.step(key), plan.steps[key.step]
    if step.status is StepStatus.WAITING:
        return is_ready(plan, state, key)
    if step.status is not StepStatus.OPEN or state.is_held(key.site):
        return False
    checkpoint = planned.step.checkpoint
    if checkpoint and (step.answers is None or len(step.signatures) < len(checkpoint.signatures)):
        return False
    return planned.passes.evaluate(condition_context(plan, state, key, planned.passes, move.now)).holds  # type: ignore[attr-defined]


@of_every_walk()
def test_the_counts_are_those_of_the_steps_and_sites(walk: Walk) -> None:
    for move in walk.moves:
        state = move.decision.state
        active = state.active_sites()
        assert (state.active, state.stopped) == (len(active), len(state.sites) - len(active))
        assert state.pending == sum(not state.step(key).status.is_through for key in keys(walk.plan, state))
        for name in walk.plan.joined:
            assert state.through.get(name, 0) == through_at(walk.plan, state, name)


@of_every_walk()
def test_a_return_within_a_site_leaves_the_other_sites_alone(walk: Walk) -> None:
    for move in walk.moves:
        for back in (fact for fact in move.decision.facts if fact.kind is FactKind.GATE_RETURNED and fact.site):
            if walk.plan.is_site_step(back.data["to"]):
                others = [key for key in move.before.steps if key.site not in ("", back.site)]
                assert [move.before.step(key).round for key in others] == [move.decision.state.step(key).round for key in others]


@of_every_walk()
def test_an_experiment_closes_exactly_when_every_step_is_through(walk: Walk) -> None:
    for move in walk.moves:
        state = move.decision.state
        if state.status in (ExperimentState.RUNNING, ExperimentState.CLOSED):
            assert (state.status is ExperimentState.CLOSED) is (state.pending == 0)


@of_every_walk()
def test_a_hold_never_makes_a_deadline_earlier(walk: Walk) -> None:
    for move in walk.moves:
        for fact in move.decision.facts:
            before = move.before.step(StepKey(fact.step, fact.site)) if fact.kind is FactKind.DEADLINE_MOVED else None
            if before and before.due_at:
                after = move.decision.state.step(before.key)
                assert after.due_at
                assert after.due_at >= before.due_at


@of_every_walk()
def test_a_slice_decides_as_the_whole_does(walk: Walk) -> None:
    for move in walk.moves[1:]:
        key = getattr(move.command, "key", None)
        if key is None:
            continue
        whole = decided(walk.plan, kept(walk.plan, move.before), move.command, move)
        try:
            part = decided(walk.plan, slice_of(walk.plan, kept(walk.plan, move.before), key), move.command, move)
        except SliceTooSmall:
            continue
        assert part.facts == whole.facts == move.decision.facts
        assert part.ended_rounds == whole.ended_rounds
        assert {one: whole.state.steps[one] for one in part.state.steps} == part.state.steps
        assert {name: whole.state.through[name] for name in part.state.through} == part.state.through
        counts = [(one.state.status, one.state.pending, one.state.active, one.state.stopped) for one in (part, whole)]
        assert counts[0] == counts[1]
        assert messages(walk.plan, part) == messages(walk.plan, whole)
        assert alarms(walk.plan, part) == alarms(walk.plan, whole)
        if part.state.step(key).status.is_live:
            assert needs(walk.plan, part.state, key, move.now) == needs(walk.plan, whole.state, key, move.now)


def decided(plan: Plan, state: State, command: Command, move: object) -> Decision:
    return decide(plan, state, command, move.now)  # type: ignore[attr-defined]


@of_every_walk((0, 1))
def test_sites_do_not_depend_on_each_others_order(walk: Walk) -> None:
    """Whatever two sites do at the same moment, the result is the same in either order, as long as nobody returns or stops."""
    state = walk.end.decision.state
    if state.status.has_ended:
        return
    here = [command for step in live_at_sites(state) for command in likely(walk.plan, step)]
    pairs = [(one, other) for one, other in combinations(here, 2) if one.key.site != other.key.site]
    for one, other in pairs[:2]:
        if pair := both_ways(walk, state, one, other):
            assert pair[0] == pair[1]


def live_at_sites(state: State) -> list[StepState]:
    return [step for key, step in sorted(state.steps.items()) if key.site and step.status.is_live]


def likely(plan: Plan, step: StepState) -> list[Complete | Sign | RecordAction]:
    if step.status is StepStatus.WORKING:
        return [RecordAction(step.key, step.round, step.actions_done, {})]
    if next_signature(plan.steps[step.key.step], step):
        return [Sign(step.key, step.round, f"signer {len(step.signatures)}", "Seen")]
    asked = step.status is StepStatus.OPEN and plan.steps[step.key.step].step.checkpoint
    return [Complete(step.key, step.round, {"n": 1}, "p")] if asked else []


def both_ways(walk: Walk, state: State, one: Command, other: Command) -> tuple[State, State] | None:
    try:
        ways = [(one, other), (other, one)]
        ends = [decide(walk.plan, decide(walk.plan, state, a, walk.end.now).state, b, walk.end.now).state for a, b in ways]
    except InsituError:
        return None
    return unversioned(ends[0]), unversioned(ends[1])


def unversioned(state: State) -> State:
    return replace(state, steps={key: replace(step, version=0) for key, step in state.steps.items()})
