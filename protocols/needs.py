"""What a step needs now, of whom, since when: why each closed gate is closed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocols.conditions import CompiledCondition, Verdict
from protocols.context import condition_context, shown_status
from protocols.engine import next_signature, sites_needed
from protocols.model import LOCALES, in_locale
from protocols.plan import Plan
from protocols.state import State, StepKey, StepState, StepStatus

MANAGER = "project_manager"

_WORDS: dict[str, dict[str, str]] = {
    "answers": {"fr": "Réponses attendues", "en": "Answers awaited"},
    "again": {"fr": "Condition non remplie : {condition}", "en": "Condition not met: {condition}"},
    "missing": {
        "fr": "Condition non remplie : {condition} (sans valeur : {names})",
        "en": "Condition not met: {condition} (no value: {names})",
    },
    "failed": {
        "fr": "Condition non remplie : {condition} ({reason})",
        "en": "Condition not met: {condition} ({reason})",
    },
    "signature": {"fr": "Signature attendue : {meaning}", "en": "Signature awaited: {meaning}"},
    "actions": {"fr": "Action automatique en cours : {action}", "en": "Automated action under way: {action}"},
    "incident": {"fr": "Action automatique en échec : {error}", "en": "Automated action failed: {error}"},
    "step": {"fr": "Étape préalable : {title}", "en": "Earlier step: {title}"},
    "sites": {"fr": "{title} : {count} site(s) sur {needed}", "en": "{title}: {count} of {needed} site(s)"},
    "hold": {"fr": "Suspendu", "en": "On hold"},
}


@dataclass(frozen=True, slots=True)
class Need:
    """One unmet condition. `role` is who can meet it ("" for nobody in particular); `since` is aware UTC or None before it counts."""

    kind: str
    role: str
    since: datetime | None
    words: dict[str, Any]

    def what(self, locale: str) -> str:
        """The need as a sentence in a locale."""
        words = {name: in_locale(value, locale) if isinstance(value, dict) else value for name, value in self.words.items()}
        return _WORDS[self.kind]["fr" if locale == "fr" else "en"].format(**words)


def awaits(plan: Plan, step: StepState) -> tuple[str, str]:
    """What a step waits for (`answers`, `signature`, `actions`, `incident`, `condition` or "") and of which role."""
    checkpoint = plan.steps[step.key.step].step.checkpoint
    if step.status is StepStatus.WORKING:
        return "actions", ""
    if step.status is StepStatus.INCIDENT:
        return "incident", MANAGER
    if step.status is not StepStatus.OPEN:
        return "", ""
    if checkpoint is None:
        return "condition", ""
    if wanted := next_signature(plan.steps[step.key.step], step):
        return "signature", wanted.role
    return "answers", checkpoint.role


def needs(plan: Plan, state: State, key: StepKey, now: datetime) -> list[Need]:
    """Each unmet condition of a step's gate, empty when the step is through or over."""
    step = state.step(key)
    status = shown_status(state, step)
    if status is StepStatus.WAITING:
        return _earlier_steps(plan, state, key)
    if not status.is_live:
        return []
    held = [Need("hold", MANAGER, since, {})] if (since := state.held_since(key.site)) else []
    return held + _own(plan, state, step, now)


def _own(plan: Plan, state: State, step: StepState, now: datetime) -> list[Need]:
    planned = plan.steps[step.key.step]
    kind, role = awaits(plan, step)
    match kind:
        case "actions":
            return [Need(kind, "", step.since, {"action": planned.step.run[step.actions_done].do})]
        case "incident":
            return [Need(kind, role, step.since, {"error": step.why})]
        case "signature":
            wanted = next_signature(planned, step)
            return [Need(kind, role, step.since, {"meaning": wanted.meaning if wanted else ""})]
        case "answers" if step.answers is None:
            return [Need(kind, role, step.since, {})]
        case _:
            return [_unmet(plan, state, step, role, now)]


def _unmet(plan: Plan, state: State, step: StepState, role: str, now: datetime) -> Need:
    condition, verdict = _deciding(plan, state, step, now)
    if verdict.holds:  # what it reads elsewhere has changed since: the same answers will do now
        return Need("answers", role, step.since, {})
    if verdict.error:
        reason = dict(verdict.because) or dict.fromkeys(LOCALES, verdict.error)
        return Need("failed", role, step.since, {"condition": condition.source, "reason": reason})
    words = {"condition": condition.source, "names": ", ".join(verdict.missing)}
    return Need("missing" if verdict.missing else "again", role, step.since, words)


def _deciding(plan: Plan, state: State, step: StepState, now: datetime) -> tuple[CompiledCondition, Verdict]:
    """What keeps the gate closed: its `pass`, or before it a `stop` or `return` that takes too long to read."""
    conditions = plan.steps[step.key.step].gate_conditions
    found = ((one, one.evaluate(condition_context(plan, state, step.key, one, now))) for one in conditions)
    return next((one, verdict) for one, verdict in found if verdict.undecided or one is conditions[-1])


def _earlier_steps(plan: Plan, state: State, key: StepKey) -> list[Need]:
    found = []
    for after in plan.steps[key.step].step.after:
        earlier = plan.steps[after.step]
        if earlier.is_site_step and not key.site:
            count, needed = state.through_count(after.step), sites_needed(after.sites, state.active)
            if count < needed:
                found.append(Need("sites", "", None, {"title": earlier.step.title, "count": count, "needed": needed}))
        else:
            before = state.step(StepKey(after.step, key.site if earlier.is_site_step else ""))
            if not before.status.is_through:
                found.append(Need("step", awaits(plan, before)[1], before.since, {"title": earlier.step.title}))
    return found
