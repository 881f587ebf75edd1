"""What may happen next: commands in, facts and the next state out.

`decide` is pure: the same plan, state, command and time always give the same decision. It never loops over history, and reads only
the steps around the one it is about; on a slice that proves too small it raises SliceTooSmall (see `protocols.state`).
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from protocols import clocks
from protocols.clocks import Place, Suspension
from protocols.commands import Command, Complete, Hold, Launch, RecordAction, Release, Remember, Reopen, RetryAction, Sign, Stop
from protocols.conditions import CompiledCondition, Verdict
from protocols.context import condition_context, place_of
from protocols.errors import CheckpointAlreadyCompleted, IllegalTransition, InvalidAnswers, Refused
from protocols.facts import Fact, FactKind
from protocols.fold import apply
from protocols.forms import check_answers
from protocols.model import Signature
from protocols.phrase import Phrase
from protocols.plan import Plan, PlannedStep
from protocols.state import ExperimentState, SiteState, State, StepKey, StepState, StepStatus


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command brings about: the facts in order, the next state, and each round that ended on the way."""

    facts: tuple[Fact, ...]
    state: State
    ended_rounds: tuple[StepState, ...] = ()


def decide(plan: Plan, state: State, command: Command, now: datetime) -> Decision:
    """Say what a command brings about; the given state is left as it was.

    `now` is aware UTC. Raises a `Refused` when the present state forbids the command, InvalidAnswers when the form refuses the
    answers, SliceTooSmall when the slice does not hold what the decision needs.
    """
    march = _March(plan, state.copy(), now, of=getattr(command, "of", ""))
    if state.status.has_ended:
        _refuse_when_ended(state, command)
    else:
        _CARRY_OUT[type(command)](march, command)
    march.settle()
    return Decision(tuple(march.facts), march.state, tuple(march.ended_rounds))


def advance(plan: Plan, state: State, command: Command, now: datetime) -> State:
    """The state after a command: `decide` without its facts."""
    return decide(plan, state, command, now).state


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
    """The people who completed this round of a step or signed it: another person's signature cannot be theirs."""
    return {step.completed_by, *(signature.by for signature in step.signatures)}


def due_at(planned: PlannedStep, opened_at: datetime, place: Place, suspensions: Iterable[Suspension]) -> clocks.Deadline | None:
    """The step's deadline with its computation, or None when it has none."""
    if planned.step.due is None:
        return None
    relevant = [Suspension(max(pause.start, opened_at), pause.end) for pause in suspensions if pause.end > opened_at]
    return clocks.deadline(planned.step.due, opened_at, place, relevant)


@dataclass(slots=True)
class _March:
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
        """Open a step, or skip it when its `when` does not hold."""
        planned = self.plan.steps[key.step]
        if planned.when and not (verdict := self.verdict(planned.when, key)).holds:
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
        """Read the gate's conditions in the order stop, return, pass: the first that holds, or "" when none does."""
        planned = self.plan.steps[key.step]
        if planned.stops and self.verdict(planned.stops, key).holds:
            return "stop"
        if planned.returns and self.verdict(planned.returns, key).holds:
            return "return"
        return "pass" if self.verdict(planned.passes, key).holds else ""

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


def sites_needed(sites: str | int, active: int) -> int:
    """How many active sites a join waits for. Stopped sites are not waited for: with no site left, `all` is met and `any` never is."""
    if sites == "all":
        return active
    return 1 if sites == "any" else int(sites)


def because(condition: CompiledCondition, verdict: Verdict) -> str:
    """Why a condition does not hold, with the values it misses."""
    return f"{condition.source}; missing: {', '.join(verdict.missing)}" if verdict.missing else condition.source


def _refuse_when_ended(state: State, command: Command) -> None:
    """Refuse people; the machine and the timers may always come late, and change nothing then."""
    if not isinstance(command, (RecordAction, Remember)):
        raise IllegalTransition(Phrase("The experiment is {status}; nothing more can be done in it.", status=state.status))


def _refuse_when_held(state: State, key: StepKey) -> None:
    if state.is_held(key.site):
        is_site = key.site and state.status is not ExperimentState.ON_HOLD
        what = Phrase("Site {site}", site=key.site) if is_site else Phrase("The experiment")
        raise IllegalTransition(
            Phrase("{what} is on hold; a project manager must release it before {step!r} can go on.", what=what, step=key.step)
        )


def _launch(march: _March, command: Launch) -> None:
    plan, first = march.plan, command.sites[0]
    pending = len(plan.experiment_steps) + len(plan.site_steps) * len(command.sites)
    march.note(
        FactKind.EXPERIMENT_LAUNCHED,
        by=command.by,
        role="project_manager",
        protocol=f"{plan.protocol.id} {plan.protocol.version}",
        title=command.title,
        launch=dict(command.launch),
        sites=[dict(place) for place in command.sites],
        territory=first["territory"],
        timezone=first["timezone"],
        pending=pending,
    )
    for name, planned in plan.steps.items():
        if not planned.step.after:
            march.agenda.extend(march.instances(name))


def _open_step(march: _March, key: StepKey, number: int) -> StepState:
    """The step a person acts on, refused unless this very round of it is open."""
    step = march.state.step(key)
    if march.state.site_is_stopped(key.site):
        raise IllegalTransition(Phrase("Site {site} has left the experiment; {step!r} is stopped there.", site=key.site, step=key.step))
    if number < step.round:
        raise IllegalTransition(
            Phrase(
                "Round {number} of {step!r} is over; it is now in round {round}. Reload it and answer again.",
                number=number,
                step=key.step,
                round=step.round,
            )
        )
    if step.status in (StepStatus.PASSED, StepStatus.RETURNED, StepStatus.STOPPED) and step.completed_by:
        raise CheckpointAlreadyCompleted(_already(key, step))
    if step.status is not StepStatus.OPEN or number > step.round:
        raise IllegalTransition(
            Phrase(
                "Checkpoint {step!r} is {status} in round {round}; it cannot be answered now.",
                step=key.step,
                status=step.status,
                round=step.round,
            )
        )
    _refuse_when_held(march.state, key)
    return step


def _already(key: StepKey, step: StepState) -> Phrase:
    when = step.completed_at.strftime("%Y-%m-%d %H:%M UTC") if step.completed_at else Phrase("earlier")
    return Phrase("Checkpoint {step!r} was already completed by {by}, {when}.", step=key.step, by=step.completed_by, when=when)


def _complete(march: _March, command: Complete) -> None:
    key, planned = command.key, march.plan.steps[command.key.step]
    checkpoint = planned.step.checkpoint
    step = _open_step(march, key, command.round)
    if checkpoint is None:
        raise IllegalTransition(Phrase("Step {step!r} has no checkpoint; its gate opens by itself.", step=key.step))
    if step.leads_to and not command.change:
        raise CheckpointAlreadyCompleted(
            Phrase(
                "{completed} It waits for signatures; say that you want to change its answers to void them.", completed=_already(key, step)
            )
        )
    place, _ = place_of(march.state, key.site)
    answers, errors = check_answers(checkpoint.form, command.answers, clocks.local_date(march.now, place), {"launch": march.state.launch})
    if errors:
        raise InvalidAnswers(key.step, errors)
    leads_to = _with_answers(march, step, answers)
    came = {"via": command.via} if command.via else {}
    march.note(FactKind.CHECKPOINT_COMPLETED, key, by=command.by, role=checkpoint.role, answers=answers, leads_to=leads_to, **came)
    if not checkpoint.signatures:
        march.move_gate(key, leads_to)
    march.wake_watchers(key)


def _with_answers(march: _March, step: StepState, answers: Mapping[str, Any]) -> str:
    """Where the gate would go on these answers, before they are a fact."""
    march.state.steps[step.key] = replace(step, answers=answers)
    try:
        return march.where_to(step.key)
    finally:
        march.state.steps[step.key] = step


def _sign(march: _March, command: Sign) -> None:
    key, planned = command.key, march.plan.steps[command.key.step]
    step = _open_step(march, key, command.round)
    wanted = next_signature(planned, step)
    if wanted is None:
        raise IllegalTransition(_nothing_to_sign(key, step))
    if wanted.different_person and command.by in who_acted(step):
        raise Refused(
            Phrase(
                "{by} completed or signed {step!r} before; signature {signatures} must be another person's.",
                by=command.by,
                step=key.step,
                signatures=len(step.signatures) + 1,
            )
        )
    if command.shown and command.shown != answers_hash(step.answers):
        raise IllegalTransition(
            Phrase("The answers of {step!r} have changed since you read them. Nothing was signed; read them again.", step=key.step)
        )
    march.note(
        FactKind.ANSWERS_SIGNED,
        key,
        by=command.by,
        role=wanted.role,
        meaning=command.meaning,
        answers_hash=answers_hash(step.answers),
        leads_to=march.where_to(key),
    )
    march.agenda.append(key)


def _nothing_to_sign(key: StepKey, step: StepState) -> Phrase:
    if step.answers is None:
        return Phrase("Checkpoint {step!r} has nothing to sign now; it has not been completed.", step=key.step)
    return Phrase("Checkpoint {step!r} has nothing to sign now; its gate is closed on the answers given.", step=key.step)


def _reopen(march: _March, command: Reopen) -> None:
    """Take back a passed gate: what was answered is kept in its round, and asked again with everything that was built on it."""
    key = command.key
    step = march.state.step(key)
    if march.state.site_is_stopped(key.site):
        raise IllegalTransition(Phrase("Site {site} has left the experiment; nothing can be reopened there.", site=key.site))
    if step.status is not StepStatus.PASSED or command.round != step.round or march.plan.steps[key.step].step.checkpoint is None:
        raise IllegalTransition(
            Phrase("{step!r} cannot be reopened: only a checkpoint whose gate has passed, in its latest round, can be.", step=key.step)
        )
    _refuse_when_held(march.state, key)
    march.note(FactKind.GATE_REOPENED, key, by=command.by, role=command.role, reason=command.reason)
    march.open_round(key, key.step)


def _record_action(march: _March, command: RecordAction) -> None:
    key, planned = command.key, march.plan.steps[command.key.step]
    step = march.state.step(key)
    if command.round != step.round or command.index < step.actions_done or step.status is not StepStatus.WORKING:
        return  # recorded before, or no longer wanted: the machine may always repeat itself
    if command.index > step.actions_done:
        raise IllegalTransition(
            Phrase(
                "Action {index} of {step!r} cannot end before action {actions_done}.",
                index=command.index,
                step=key.step,
                actions_done=step.actions_done,
            )
        )
    action = planned.step.run[command.index].do
    if command.error is not None:
        march.note(FactKind.ACTION_FAILED, key, index=command.index, do=action, error=command.error)
        return
    march.note(FactKind.ACTION_DONE, key, index=command.index, do=action, result=dict(command.result or {}))
    if command.index + 1 == len(planned.step.run):
        march.note(FactKind.CHECKPOINT_ASKED, key)
        march.agenda.append(key)


def _retry_action(march: _March, command: RetryAction) -> None:
    step = march.state.step(command.key)
    if step.status is not StepStatus.INCIDENT or command.round != step.round:
        raise IllegalTransition(
            Phrase("Step {step!r} is {status}; only an incident can be retried.", step=command.key.step, status=step.status)
        )
    march.note(FactKind.ACTION_RETRIED, command.key, by=command.by, role="project_manager")


def _known_site(march: _March, site: str) -> None:
    if site and site not in march.state.every_site():
        raise IllegalTransition(Phrase("Site {site} takes no part in this experiment.", site=site))
    if march.state.site_is_stopped(site):
        raise IllegalTransition(Phrase("Site {site} has already left the experiment.", site=site))


def _hold(march: _March, command: Hold) -> None:
    _known_site(march, command.site)
    held = march.state.sites[command.site].state is SiteState.ON_HOLD if command.site else march.state.status is ExperimentState.ON_HOLD
    if held:
        raise IllegalTransition(Phrase("{what} is already on hold.", what=command.site or Phrase("The experiment")))
    march.note(FactKind.HELD, by=command.by, role="project_manager", site=command.site, reason=command.reason)


def _release(march: _March, command: Release) -> None:
    _known_site(march, command.site)
    held = march.state.sites[command.site].state is SiteState.ON_HOLD if command.site else march.state.status is ExperimentState.ON_HOLD
    if not held:
        raise IllegalTransition(Phrase("{what} is not on hold.", what=command.site or Phrase("The experiment")))
    march.note(FactKind.RELEASED, by=command.by, role="project_manager", site=command.site, reason=command.reason)
    for key, step in sorted(march.state.steps.items()):
        if step.status.is_live and (not command.site or key.site == command.site) and not march.state.is_held(key.site):
            _move_deadline(march, key, step)
            march.agenda.append(key)


def _move_deadline(march: _March, key: StepKey, step: StepState) -> None:
    place, suspensions = place_of(march.state, key.site)
    deadline = due_at(march.plan.steps[key.step], step.opened_at or march.now, place, suspensions)
    if deadline and deadline.due_at != step.due_at:
        march.note(FactKind.DEADLINE_MOVED, key, due_at=deadline.due_at.isoformat(), computation=deadline.trace)


def _stop(march: _March, command: Stop) -> None:
    _known_site(march, command.site)
    if command.site:
        march.stop_site(command.site, by=command.by, reason=command.reason)
    else:
        march.stop_experiment(by=command.by, reason=command.reason)


def _remember(march: _March, command: Remember) -> None:
    """Decide again what a timer is for, at the moment it fires: a step no longer waiting needs no reminder."""
    key, step = command.key, march.state.step(command.key)
    if not step.status.is_live or step.round != command.round or march.state.is_held(key.site):
        return
    if command.kind == "reconsider":
        march.agenda.append(key)
    elif command.kind == "reminder":
        march.note(FactKind.REMINDER_DUE, key, occasion=command.occasion)
    elif step.due_at is None or step.due_at > march.now:
        return  # the deadline moved since this timer was set; another stands for the new one
    elif command.kind == "overdue" and not step.overdue:
        march.note(FactKind.DEADLINE_MISSED, key, due_at=step.due_at.isoformat())
    elif command.kind == "escalation":
        to = march.plan.steps[key.step].step.escalate[command.occasion].to
        march.note(FactKind.ESCALATED, key, occasion=command.occasion, to=to)


_CARRY_OUT: dict[type, Callable[[_March, Any], None]] = {
    Launch: _launch,
    Complete: _complete,
    Sign: _sign,
    RecordAction: _record_action,
    Reopen: _reopen,
    RetryAction: _retry_action,
    Hold: _hold,
    Release: _release,
    Stop: _stop,
    Remember: _remember,
}
