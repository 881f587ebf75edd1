"""The march of one decision: a state being changed, the facts so far, and the steps still to look at."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from protocols import clocks
from protocols.clocks import Place, Suspension
from protocols.conditions import CompiledCondition, Verdict
from protocols.context import condition_context, place_of
from protocols.facts import Fact, FactKind
from protocols.fold import apply
from protocols.keys import folded
from protocols.model import Signature
from protocols.plan import Plan, PlannedStep
from protocols.state import ExperimentState, State, StepKey, StepState, StepStatus


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command brings about: the facts in order, the next state, and each round that ended on the way."""

    facts: tuple[Fact, ...]
    state: State
    ended_rounds: tuple[StepState, ...] = ()


def answers_hash(answers: Mapping[str, Any] | None) -> str:
    """SHA-256 of the answers in canonical JSON: what a signature is bound to."""
    content = json.dumps(answers or {}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def next_signature(planned: PlannedStep, step: StepState) -> Signature | None:
    """The signature this step waits for: none while its answers lead nowhere, or once all are there."""
    checkpoint = planned.step.checkpoint
    if checkpoint is None or not step.leads_to or step.status is not StepStatus.OPEN:
        return None
    return checkpoint.signatures[len(step.signatures)] if len(step.signatures) < len(checkpoint.signatures) else None


def who_acted(step: StepState) -> set[str]:
    """The people who completed this round of a step or signed it, by their folded ids: another person's signature cannot be theirs."""
    return {folded(step.completed_by), *(folded(signature.by) for signature in step.signatures)}


def due_at(planned: PlannedStep, opened_at: datetime, place: Place, suspensions: Iterable[Suspension]) -> clocks.Deadline | None:
    """The step's deadline with its computation, or None when it has none."""
    if planned.step.due is None:
        return None
    relevant = [Suspension(max(pause.start, opened_at), pause.end) for pause in suspensions if pause.end > opened_at]
    return clocks.deadline(planned.step.due, opened_at, place, relevant)


def sites_needed(sites: str | int, active: int) -> int:
    """How many active sites a join waits for. Stopped sites are not waited for: with no site left, `all` is met and `any` never is."""
    if sites == "all":
        return active
    return 1 if sites == "any" else int(sites)


def because(condition: CompiledCondition, verdict: Verdict) -> str:
    """Why a condition does not hold, with the values it misses or the reason for which it could not be evaluated."""
    reason = f"missing: {', '.join(verdict.missing)}" if verdict.missing else verdict.error
    return f"{condition.source}; {reason}" if reason else condition.source


@dataclass(slots=True)
class March:
    """One decision under way: a state being changed, the facts so far, and the steps still to look at."""

    plan: Plan
    state: State
    now: datetime
    facts: list[Fact] = field(default_factory=list)
    ended_rounds: list[StepState] = field(default_factory=list)
    agenda: deque[StepKey] = field(default_factory=deque)
    returned: set[StepKey] = field(default_factory=set)
    of: str = ""

    def note(self, kind: FactKind, key: StepKey | None = None, *, by: str = "", role: str = "", **data: Any) -> None:
        """Add a fact and change the state by it; what a deputy did says for whom."""
        data |= {"of": self.of} if by and self.of else {}
        step = self.state.step(key) if key else None
        number = data.pop("round", step.round if step else 0)
        name, site = key or StepKey("", data.pop("site", ""))
        fact = Fact(kind, self.now, by, role, name, site, number, data)
        apply(self.state, fact)
        self.facts.append(fact)

    def settle(self) -> None:
        """Look at each step on the agenda until nothing more moves by itself; close the experiment when all is through."""
        while self.agenda and not self.state.status.has_ended:
            self.look_at(self.agenda.popleft())
        if self.state.status is ExperimentState.RUNNING and self.state.pending == 0 and self.facts:
            self.note(FactKind.EXPERIMENT_CLOSED)

    def look_at(self, key: StepKey) -> None:
        step = self.state.step(key)
        if self.state.site_is_stopped(key.site):
            return
        if step.status is StepStatus.WAITING and self.may_open(key):
            self.open(key)
        elif step.status is StepStatus.OPEN:
            self.look_at_gate(key)

    def may_open(self, key: StepKey) -> bool:
        return all(self.is_through(key, after.step, after.sites) for after in self.plan.steps[key.step].step.after)

    def is_through(self, key: StepKey, predecessor: str, sites: str | int) -> bool:
        if not self.plan.is_site_step(predecessor):
            return self.state.step(StepKey(predecessor)).status.is_through
        if key.site:
            return self.state.step(StepKey(predecessor, key.site)).status.is_through
        return self.state.through_count(predecessor) >= sites_needed(sites, self.state.active)

    def open(self, key: StepKey) -> None:
        """Open a step, or skip it when its `when` does not hold; a `when` that takes too long to read skips nothing."""
        planned = self.plan.steps[key.step]
        verdict = self.verdict(planned.when, key) if planned.when else None
        if planned.when and verdict and not (verdict.holds or verdict.undecided):
            self.note(FactKind.STEP_SKIPPED, key, because=because(planned.when, verdict))
            self.go_on_from(key)
            return
        data: dict[str, Any] = {"working": True} if planned.step.run else {}
        place, pauses = place_of(self.state, key.site)
        if not self.state.is_held(key.site) and (deadline := due_at(planned, self.now, place, pauses)):
            data |= {"due_at": deadline.due_at.isoformat(), "computation": deadline.trace}
        self.note(FactKind.STEP_OPENED, key, **data)
        if not planned.step.run:
            self.look_at_gate(key)

    def look_at_gate(self, key: StepKey) -> None:
        """Let the gate move if its checkpoint is complete and signed, or if it has none."""
        planned, step = self.plan.steps[key.step], self.state.step(key)
        if self.state.is_held(key.site):
            return
        checkpoint = planned.step.checkpoint
        if checkpoint is None or (step.answers is not None and len(step.signatures) == len(checkpoint.signatures)):
            self.move_gate(key, self.where_to(key))

    def where_to(self, key: StepKey) -> str:
        """Read the gate's conditions in the order stop, return, pass: the first that holds, or "" when none does.

        One that nobody knows of, since evaluating it takes too long, keeps the gate closed: a stop is never passed by unread.
        """
        planned = self.plan.steps[key.step]
        for outcome, condition in (("stop", planned.stops), ("return", planned.returns), ("pass", planned.passes)):
            verdict = self.verdict(condition, key) if condition else None
            if verdict and (verdict.holds or verdict.undecided):
                return outcome if verdict.holds else ""
        return ""

    def move_gate(self, key: StepKey, to: str) -> None:
        planned = self.plan.steps[key.step]
        if to == "pass":
            self.note(FactKind.GATE_PASSED, key)
            self.go_on_from(key)
        elif to == "return" and planned.step.gate.return_ and key not in self.returned:
            back = planned.step.gate.return_
            # Once a decision: a gate that nobody answers would return on the same values for ever.
            self.returned.add(key)
            self.note(FactKind.GATE_RETURNED, key, to=back.to, because=back.if_)
            self.open_round(key, back.to)
        elif to == "stop":
            self.note(FactKind.GATE_STOPPED, key, because=planned.step.gate.stop)
            self.stop_site(key.site, by="", reason="") if key.site else self.stop_experiment(by="", reason="")

    def go_on_from(self, key: StepKey) -> None:
        """Put on the agenda whatever this step's being through may move."""
        for name in self.plan.successors[key.step]:
            self.agenda.extend(self.instances(name, key.site))
        self.wake_watchers(key)

    def wake_watchers(self, key: StepKey) -> None:
        """Put on the agenda the gates whose conditions read this step."""
        for name in self.plan.watchers[key.step]:
            self.agenda.extend(self.instances(name, key.site))

    def instances(self, name: str, site: str = "") -> list[StepKey]:
        """The keys of a step: one for an experiment step; for a site step the given site's, or every active site's."""
        if not self.plan.is_site_step(name):
            return [StepKey(name)]
        return [StepKey(name, code) for code in ([site] if site else self.state.active_sites())]

    def open_round(self, origin: StepKey, back_to: str) -> None:
        """Open a new round of `back_to` and of everything after it; steps never reached keep their first."""
        site = origin.site if self.plan.is_site_step(back_to) else ""
        affected = [key for name in sorted({back_to, *self.plan.descendants(back_to)}, key=self.plan.order.__getitem__)
                    for key in self.instances(name, site)]  # fmt: skip
        for key in affected:
            step = self.state.step(key)
            if step.status is StepStatus.WAITING or self.state.site_is_stopped(key.site):
                continue
            if step.status.is_live:
                self.note(FactKind.STEP_RETURNED, key, because=origin.step)
            self.ended_rounds.append(self.state.step(key))
            self.note(FactKind.ROUND_OPENED, key, round=step.round + 1)
            # Not only the target: a join over any site may be met already by the others.
            self.agenda.append(key)
            self.wake_watchers(key)

    def stop_site(self, site: str, *, by: str, reason: str) -> None:
        state = self.state
        state.every_site()
        mine = [StepKey(name, site) for name in self.plan.site_steps]
        for key in mine:
            if state.step(key).status.is_live:
                self.note(FactKind.STEP_STOPPED, key)
        through = [key.step for key in mine if state.step(key).status.is_through]
        self.note(FactKind.SITE_STOPPED, by=by, site=site, reason=reason, through=through, pending=len(mine) - len(through))
        # A stop changes what joins and gates count.
        self.agenda.extend(StepKey(name) for name in self.plan.experiment_steps)
        for name in self.plan.site_steps:
            self.agenda.extend(self.instances(name) if self.plan.steps[name].counts_sites else ())

    def stop_experiment(self, *, by: str, reason: str) -> None:
        self.state.every_site()
        for name in self.plan.order:
            for key in self.instances(name):
                if self.state.step(key).status.is_live:
                    self.note(FactKind.STEP_STOPPED, key)
        self.note(FactKind.EXPERIMENT_STOPPED, by=by, reason=reason)

    def verdict(self, condition: CompiledCondition, key: StepKey) -> Verdict:
        return condition.evaluate(condition_context(self.plan, self.state, key, condition, self.now))
