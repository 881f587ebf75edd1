"""Random small protocols, and random walks of commands through them, for properties that must hold of any.

They come from numbered seeds and not from Hypothesis: all properties share them, which buys ten times as many, and Hypothesis's taste
for small values seldom got as far as a join or a return. A broken property shows the shortest walk that breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

from protocols.commands import Command, Complete, Hold, Launch, RecordAction, Release, Remember, Reopen, RetryAction, Sign, Stop
from protocols.engine import Decision, decide, next_signature
from protocols.errors import InsituError
from protocols.facts import Fact
from protocols.model import Protocol, content_hash
from protocols.plan import Plan
from protocols.state import ExperimentState, SiteState, State, StepKey, StepState, StepStatus

START = datetime(2026, 4, 29, 9, tzinfo=UTC)  # before a run of French public holidays
ROLES = {"manager": {"scope": "experiment", "title": "M"}, "nurse": {"scope": "site", "title": "N"}}
# What an answer brings about: 0 keeps the gate closed, 1 passes, 2 returns, 3 stops.
ANSWERS = (1, 1, 1, 0, 2, 2, 3)


@dataclass(frozen=True)
class Move:
    """One accepted command: the state before it, when it came, and the decision."""

    before: State
    command: Command
    now: datetime
    decision: Decision


@dataclass(frozen=True)
class Walk:
    """A protocol and the moves made in it, from the launch on."""

    plan: Plan
    moves: tuple[Move, ...]

    @property
    def end(self) -> Move:
        return self.moves[-1]

    @property
    def facts(self) -> list[Fact]:
        return [fact for move in self.moves for fact in move.decision.facts]


@cache
def walks(seeds: int, answers: tuple[int, ...] = ANSWERS) -> tuple[Walk, ...]:
    """As many walks as seeds, the shortest first."""
    return tuple(sorted((walk(Random(seed), answers) for seed in range(seeds)), key=lambda walk: len(walk.moves)))


def walk(dice: Random, answers: tuple[int, ...] = ANSWERS) -> Walk:
    plan = random_plan(dice)
    now, moves = START, [launched(plan, dice.choice(["A", "AB", "ABC"]), flag=dice.random() < 0.7)]
    for _ in range(dice.randint(5, 40)):
        now += timedelta(hours=dice.choice([0, 1, 20, 72, 200]))
        state = moves[-1].decision.state
        if not (possible := list(commands(plan, state, answers))):
            break
        command = dice.choice(possible)
        try:
            moves.append(Move(state, command, now, decide(plan, state, command, now)))
        except InsituError:
            continue
    return Walk(plan, tuple(moves))


def random_plan(dice: Random) -> Plan:
    steps: list[dict[str, Any]] = []
    for number in range(dice.randint(2, 7)):
        steps.append(_step(dice, f"s{number}", steps))
    document = {"insitu": 1, "id": "p", "version": "1.0.0", "title": "P", "solution": {"name": "S"}, "roles": ROLES}
    flag = {"id": "flag", "type": "boolean"}
    protocol = Protocol.model_validate(document | {"launch": [flag], "steps": steps})
    return Plan(protocol, content_hash(protocol))


def _step(dice: Random, name: str, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    scope = dice.choice(["experiment", "site"])
    before = dice.sample(earlier, min(len(earlier), dice.choice([0, 1, 1, 2])))
    step: dict[str, Any] = {
        "id": name,
        "title": name,
        "phase": "before",
        "scope": scope,
        "after": [_after(dice, scope, one) for one in before],
        "run": [{"do": "work"}] * dice.choice([0, 0, 1, 2]),
    }
    if dice.random() < 0.8:
        step |= _asked(dice, scope, earlier)
    if dice.random() < 0.25:
        step["when"] = dice.choice(["launch.flag", "!launch.flag", *_readings(scope, before, "answers.n == 1")])
    if dice.random() < 0.5:
        step["due"] = {"days": dice.randint(1, 12), "calendar": dice.choice(["calendar", "working", "legal"])}
        step |= {"remind": [{"before": "1d"}], "escalate": [{"after": "1d", "to": "manager"}]}
    return step


def _after(dice: Random, scope: str, one: dict[str, Any]) -> Any:
    if scope == "site" or one["scope"] == "experiment":
        return one["id"]
    return {"step": one["id"], "sites": dice.choice(["all", "all", "any", 2])}


def _asked(dice: Random, scope: str, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    role = "nurse" if scope == "site" else "manager"
    signatures = [{"role": role, "meaning": "Seen", "different_person": second} for second in (False, True)]
    gate: dict[str, Any] = {"pass": "answers.n == 1", "stop": "answers.n == 3"}
    if earlier:
        gate["return"] = {"to": dice.choice(earlier)["id"], "if": "answers.n == 2"}
    what = dice.choice(["status == 'passed'", "answers.n <= 1", "round >= 2"])
    if dice.random() < 0.3 and (readings := [*_readings(scope, earlier, what), "sites.stopped > 0"]):
        gate["pass"] = f"answers.n == 1 && {dice.choice(readings)}"
    form = [{"id": "n", "type": "integer", "required": True}]
    return {"checkpoint": {"role": role, "form": form, "signatures": signatures[: dice.choice([0, 0, 1, 2])]}, "gate": gate}


def _readings(scope: str, steps: list[dict[str, Any]], what: str) -> list[str]:
    """Conditions over other steps that a step of this scope can read."""
    asked = [one for one in steps if "checkpoint" in one]
    return [f"steps.{one['id']}.{what}" for one in asked if scope == "site" or one["scope"] == "experiment"]


def launched(plan: Plan, codes: str, *, flag: bool) -> Move:
    places = tuple({"code": one, "name": one, "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"} for one in codes)
    command = Launch("m", places, {"flag": flag})
    return Move(State(), command, START, decide(plan, State(), command, START))


def commands(plan: Plan, state: State, answers: tuple[int, ...] = ANSWERS) -> Iterator[Command]:
    """What may be asked now; likely things several times over, so that walks get somewhere."""
    if state.status.has_ended:
        return
    for _, step in sorted(state.steps.items()):
        if step.status.is_live and not state.is_held(step.key.site):
            yield from [*_about(plan, step, answers)] * 4
    if state.status is ExperimentState.ON_HOLD:
        yield from [Release("m", "go on")] * 4
    if answers == ANSWERS:
        yield Hold("m", "wait")
        yield from (command for site in state.sites.values() for command in _about_site(site.code, site.state))
        yield from _reopenings(plan, state)


def _about(plan: Plan, step: StepState, answers: tuple[int, ...]) -> Iterator[Command]:
    if step.status is StepStatus.WORKING:
        yield from [RecordAction(step.key, step.round, step.actions_done, {"done": True})] * 3
        yield RecordAction(step.key, step.round, step.actions_done, None, "it broke")
    elif step.status is StepStatus.INCIDENT:
        yield RetryAction(step.key, step.round, "m")
    elif plan.steps[step.key.step].step.checkpoint:
        if next_signature(plan.steps[step.key.step], step):
            yield from [Sign(step.key, step.round, f"signer {len(step.signatures)}", "Seen")] * 4
        yield from (Complete(step.key, step.round, {"n": answer}, "p", bool(step.leads_to)) for answer in answers)
    if step.due_at and len(answers) > 2:
        yield from (Remember(step.key, step.round, kind) for kind in ("reminder", "overdue", "escalation"))


def _reopenings(plan: Plan, state: State) -> Iterator[Command]:
    passed = [step for _, step in sorted(state.steps.items()) if step.status is StepStatus.PASSED and not state.is_held(step.key.site)]
    asked = [one for one in passed if plan.steps[one.key.step].step.checkpoint and not state.site_is_stopped(one.key.site)]
    yield from (Reopen(step.key, step.round, "m", "project_manager", "it was wrong") for step in asked[-1:])


def _about_site(code: str, state: SiteState) -> Iterator[Command]:
    if state is SiteState.ACTIVE:
        yield from (Hold("m", "wait", code), Stop("m", "enough", code))
    elif state is SiteState.ON_HOLD:
        yield from [Release("m", "go on", code)] * 4


def keys(plan: Plan, state: State) -> list[StepKey]:
    """Every step of the experiment, at every site that still takes part."""
    sites = state.active_sites()
    return [StepKey(name, site) for name in plan.order for site in (sites if plan.is_site_step(name) else [""])]


def slice_of(plan: Plan, state: State, key: StepKey) -> State:
    """The part of a state that `sites.snapshot.load` reads for a command about one step."""
    names = plan.neighbourhood(key.step)
    everywhere = not key.site and any(plan.is_site_step(name) for name in names)
    here = set(state.sites) if everywhere else {key.site}
    return replace(
        state,
        sites={code: site for code, site in state.sites.items() if code in here},
        steps={one: step for one, step in state.steps.items() if one.step in names and one.site in {"", *here}},
        through={step: count for step, count in state.through.items() if step in plan.joined & names},
        known_steps=names,
        all_sites=everywhere,
    )


def kept(plan: Plan, state: State) -> State:
    """A whole state as the ledger keeps it: it counts only what joins count."""
    return replace(state, through={step: state.through.get(step, 0) for step in plan.joined})
