"""What each command does to the march."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from protocols import clocks
from protocols.commands import Command, Complete, Hold, Launch, RecordAction, Release, Remember, Reopen, RetryAction, Sign, Stop
from protocols.context import place_of
from protocols.engine.march import March, answers_hash, due_at, next_signature, who_acted
from protocols.errors import CheckpointAlreadyCompleted, IllegalTransition, InvalidAnswers, Refused
from protocols.facts import FactKind
from protocols.forms import check_answers
from protocols.keys import folded
from protocols.phrase import Phrase
from protocols.state import ExperimentState, SiteState, State, StepKey, StepState, StepStatus


def refuse_when_ended(state: State, command: Command) -> None:
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


def _launch(march: March, command: Launch) -> None:
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


def _open_step(march: March, key: StepKey, number: int) -> StepState:
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


def _complete(march: March, command: Complete) -> None:
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
    today, context = clocks.local_date(march.now, place), {"launch": march.state.launch}
    answers, errors = check_answers(checkpoint.form, command.answers, today, context, place.timezone)
    if errors:
        raise InvalidAnswers(key.step, errors)
    leads_to = _with_answers(march, step, answers)
    came = {"via": command.via} if command.via else {}
    march.note(FactKind.CHECKPOINT_COMPLETED, key, by=command.by, role=checkpoint.role, answers=answers, leads_to=leads_to, **came)
    if not checkpoint.signatures:
        march.move_gate(key, leads_to)
    march.wake_watchers(key)


def _with_answers(march: March, step: StepState, answers: Mapping[str, Any]) -> str:
    """Where the gate would go on these answers, before they are a fact."""
    march.state.steps[step.key] = replace(step, answers=answers)
    try:
        return march.where_to(step.key)
    finally:
        march.state.steps[step.key] = step


def _sign(march: March, command: Sign) -> None:
    key, planned = command.key, march.plan.steps[command.key.step]
    step = _open_step(march, key, command.round)
    wanted = next_signature(planned, step)
    if wanted is None:
        raise IllegalTransition(_nothing_to_sign(key, step))
    if wanted.different_person and folded(command.by) in who_acted(step):
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


def _reopen(march: March, command: Reopen) -> None:
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


def _record_action(march: March, command: RecordAction) -> None:
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


def _retry_action(march: March, command: RetryAction) -> None:
    step = march.state.step(command.key)
    if step.status is not StepStatus.INCIDENT or command.round != step.round:
        raise IllegalTransition(
            Phrase("Step {step!r} is {status}; only an incident can be retried.", step=command.key.step, status=step.status)
        )
    march.note(FactKind.ACTION_RETRIED, command.key, by=command.by, role="project_manager")


def _known_site(march: March, site: str) -> None:
    if site and site not in march.state.every_site():
        raise IllegalTransition(Phrase("Site {site} takes no part in this experiment.", site=site))
    if march.state.site_is_stopped(site):
        raise IllegalTransition(Phrase("Site {site} has already left the experiment.", site=site))


def _hold(march: March, command: Hold) -> None:
    _known_site(march, command.site)
    held = march.state.sites[command.site].state is SiteState.ON_HOLD if command.site else march.state.status is ExperimentState.ON_HOLD
    if held:
        raise IllegalTransition(Phrase("{what} is already on hold.", what=command.site or Phrase("The experiment")))
    march.note(FactKind.HELD, by=command.by, role="project_manager", site=command.site, reason=command.reason)


def _release(march: March, command: Release) -> None:
    _known_site(march, command.site)
    held = march.state.sites[command.site].state is SiteState.ON_HOLD if command.site else march.state.status is ExperimentState.ON_HOLD
    if not held:
        raise IllegalTransition(Phrase("{what} is not on hold.", what=command.site or Phrase("The experiment")))
    march.note(FactKind.RELEASED, by=command.by, role="project_manager", site=command.site, reason=command.reason)
    for key, step in sorted(march.state.steps.items()):
        if step.status.is_live and (not command.site or key.site == command.site) and not march.state.is_held(key.site):
            _move_deadline(march, key, step)
            march.agenda.append(key)


def _move_deadline(march: March, key: StepKey, step: StepState) -> None:
    place, suspensions = place_of(march.state, key.site)
    deadline = due_at(march.plan.steps[key.step], step.opened_at or march.now, place, suspensions)
    if deadline and deadline.due_at != step.due_at:
        march.note(FactKind.DEADLINE_MOVED, key, due_at=deadline.due_at.isoformat(), computation=deadline.trace)


def _stop(march: March, command: Stop) -> None:
    _known_site(march, command.site)
    if command.site:
        march.stop_site(command.site, by=command.by, reason=command.reason)
    else:
        march.stop_experiment(by=command.by, reason=command.reason)


def _remember(march: March, command: Remember) -> None:
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


CARRY_OUT: dict[type, Callable[[March, Any], None]] = {
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
