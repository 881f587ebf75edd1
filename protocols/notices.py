"""Which messages and which timers the facts of a decision ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from protocols import clocks
from protocols.clocks import Place
from protocols.context import place_of
from protocols.engine import Decision, next_signature
from protocols.facts import Fact, FactKind
from protocols.model import duration
from protocols.needs import MANAGER, awaits
from protocols.plan import Plan
from protocols.state import State, StepKey, StepState


@dataclass(frozen=True, slots=True)
class Owed:
    """A message owed to the holders of roles, or to `persons`. `occasion` tells it from others of its kind about a round of a step."""

    kind: str
    key: StepKey
    round: int
    roles: tuple[str, ...]
    occasion: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    persons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alarm:
    """A timer to set: what is to be decided again, and when (aware UTC)."""

    kind: str
    key: StepKey
    round: int
    fire_at: datetime
    occasion: int = 0


def messages(plan: Plan, decision: Decision) -> list[Owed]:
    """The messages that a decision's facts ask for, each once."""
    found = [owed for fact in decision.facts for owed in _about(plan, decision.state, fact)]
    return list({(owed.kind, owed.key, owed.round, owed.occasion): owed for owed in found}.values())


def _about(plan: Plan, state: State, fact: Fact) -> Iterator[Owed]:
    key, number, data = StepKey(fact.step, fact.site), fact.round, fact.data
    match fact.kind:
        case FactKind.STEP_OPENED | FactKind.CHECKPOINT_ASKED:
            checkpoint = plan.steps[key.step].step.checkpoint
            if checkpoint and not data.get("working"):
                yield Owed("opened", key, number, (checkpoint.role,))
        case FactKind.CHECKPOINT_COMPLETED | FactKind.ANSWERS_SIGNED:
            step = state.step(key)
            wanted = next_signature(plan.steps[key.step], step) if step.round == number else None
            if wanted and (wanted.role != fact.role or wanted.different_person):
                yield Owed("opened", key, number, (wanted.role,), f"sign{step.version}", {"needs": "signature"})
        case FactKind.REMINDER_DUE:
            yield Owed("reminder", key, number, _awaited(plan, state, key), str(data["occasion"]))
        case FactKind.DEADLINE_MISSED:
            yield Owed("overdue", key, number, _awaited(plan, state, key), data["due_at"][:10])
        case FactKind.ESCALATED:
            yield Owed("escalated", key, number, (data["to"],), str(data["occasion"]), {"rung": data["occasion"]})
        case FactKind.GATE_RETURNED:
            back = plan.steps[data["to"]].step.checkpoint
            yield Owed("returned", key, number, (back.role, MANAGER) if back else (MANAGER,), "", {"to_step": data["to"]})
        case FactKind.GATE_REOPENED:
            yield Owed("reopened", key, number, _concerned(plan, key))
        case FactKind.SITE_STOPPED:
            yield Owed("stopped", key, number, (MANAGER, *_site_roles(plan)))
        case FactKind.EXPERIMENT_STOPPED:
            yield Owed("stopped", key, number, tuple(plan.protocol.roles))
        case FactKind.EXPERIMENT_CLOSED:
            yield Owed("closed", key, number, (MANAGER,))
        case FactKind.ACTION_FAILED:
            yield Owed("incident", key, number, (MANAGER,), f"{data['index']}.{state.step(key).version}")
        case FactKind.GLASS_BROKEN:
            yield Owed("glass", key, number, (MANAGER,), str(data["number"]), {"person": fact.by, "reason": data["reason"]})
        case FactKind.CHECKPOINT_DECLINED:
            yield Owed("declined", key, number, (MANAGER,), str(data["remark"]))
        case FactKind.QUESTION_ASKED:
            yield Owed("question", key, number, (MANAGER,), str(data["remark"]))
        case FactKind.QUESTION_ANSWERED:
            yield Owed("answer", key, number, (), str(data["remark"]), persons=(data["asker"],))
        case FactKind.INCIDENT_REPORTED:
            yield Owed("incident", key, number, (MANAGER,), str(data["key"]))


def _awaited(plan: Plan, state: State, key: StepKey) -> tuple[str, ...]:
    role = awaits(plan, state.step(key))[1]
    return (role,) if role else (MANAGER,)


def _concerned(plan: Plan, key: StepKey) -> tuple[str, ...]:
    """Whoever answers or signs a step, and the project managers."""
    checkpoint = plan.steps[key.step].step.checkpoint
    asked = (checkpoint.role, *(one.role for one in checkpoint.signatures)) if checkpoint else ()
    return tuple(dict.fromkeys((*asked, MANAGER)))


def _site_roles(plan: Plan) -> tuple[str, ...]:
    return tuple(role for role in plan.protocol.roles if plan.is_site_role(role))


def alarms(plan: Plan, decision: Decision) -> list[Alarm]:
    """The timers that a decision's facts ask for; those whose time is past are left out, but for a deadline already missed."""
    return [alarm for fact in decision.facts for alarm in _alarms(plan, decision.state, fact)]


def _alarms(plan: Plan, state: State, fact: Fact) -> Iterable[Alarm]:
    if fact.kind not in (FactKind.STEP_OPENED, FactKind.DEADLINE_MOVED):
        return ()
    key = StepKey(fact.step, fact.site)
    step = state.step(key)
    if step.round != fact.round or not step.status.is_live:
        return ()
    place, _ = place_of(state, key.site)
    return [*_deadline_alarms(plan, step, place, fact.at), *reconsider_alarm(plan, step, place, fact.at)]


def _deadline_alarms(plan: Plan, step: StepState, place: Place, now: datetime) -> Iterator[Alarm]:
    if step.due_at is None:
        return
    planned = plan.steps[step.key.step].step
    yield Alarm("overdue", step.key, step.round, step.due_at)
    for occasion, remind in enumerate(planned.remind):
        if (at := clocks.reminder_at(step.due_at, duration(remind.before), place)) > now:
            yield Alarm("reminder", step.key, step.round, at, occasion)
    for occasion, escalate in enumerate(planned.escalate):
        if (at := clocks.escalation_at(step.due_at, duration(escalate.after), place)) > now:
            yield Alarm("escalation", step.key, step.round, at, occasion)


def reconsider_alarm(plan: Plan, step: StepState, place: Place, now: datetime) -> Iterator[Alarm]:
    """A gate that reads `today` is looked at again at each local midnight while it is open."""
    if plan.steps[step.key.step].depends_on_today:
        yield Alarm("reconsider", step.key, step.round, clocks.next_local_midnight(now, place))
