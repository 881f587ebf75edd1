"""What can be wrong with a step: its people, its actions, its deadline and its gate."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

from protocols.documents import Document
from protocols.errors import Problem
from protocols.lint.forms import Path, form_problems
from protocols.lint.scopes import Scopes
from protocols.lint.truth import can_hold, outcomes
from protocols.lint.types import Checked, Names, check
from protocols.model import Calendar, Due, Protocol, Scope, Step, duration

LONGEST_DAYS = 1096


@dataclass(frozen=True, slots=True)
class Known:
    """The names that live outside the protocol; None where any name will do."""

    actions: Collection[str] = ("render", "notify", "evaluate")
    templates: Collection[str] | None = None
    notices: Collection[str] | None = None


def step_problems(position: int, protocol: Protocol, scopes: Scopes, document: Document, known: Known) -> Iterator[Problem]:
    """Everything wrong with one step but its place in the order."""
    step, path = protocol.steps[position], ("steps", position)
    yield from _people_problems(step, path, protocol, document)
    yield from _action_problems(step, path, protocol, document, known)
    yield from _deadline_problems(step, path, protocol, document)
    if step.checkpoint is not None:
        yield from form_problems(step.checkpoint.form, (*path, "checkpoint", "form"), protocol, document)
    yield from _when_problems(step, path, scopes, document)
    yield from _gate_problems(step, path, scopes.of_gate(step), document)


def _people_problems(step: Step, path: Path, protocol: Protocol, document: Document) -> Iterator[Problem]:
    if step.checkpoint is None:
        return
    asked = [(step.checkpoint.role, (*path, "checkpoint", "role"), "completes")]
    for number, signature in enumerate(step.checkpoint.signatures):
        asked.append((signature.role, (*path, "checkpoint", "signatures", number, "role"), "signs"))
    for role, here, does in asked:
        if role not in protocol.roles:
            yield unknown_role(role, here, protocol, document)
        elif step.scope is Scope.EXPERIMENT and protocol.roles[role].scope is Scope.SITE:
            message = (
                f"`{step.id}` happens once for the experiment, but `{role}`, who {does} it, is a role of a site: nobody could. "
                f"Give the step `scope: site`, or name a role of the experiment."
            )
            yield document.problem(here, "role_scope", message)


def unknown_role(role: str, path: Path, protocol: Protocol, document: Document) -> Problem:
    return document.problem(
        path, "unknown_role", f"`{role}` is not a role of this protocol.{document.advice.did_you_mean(role, protocol.roles)}"
    )


def _action_problems(step: Step, path: Path, protocol: Protocol, document: Document, known: Known) -> Iterator[Problem]:
    for number, action in enumerate(step.run):
        here = (*path, "run", number)
        if action.do not in known.actions:
            message = f"`{action.do}` is not an action that insitu can do.{document.advice.did_you_mean(action.do, known.actions)}"
            yield document.problem((*here, "do"), "unknown_action", message)
        elif action.do == "render":
            yield from _named(action.with_.get("template"), "template", (*here, "with", "template"), known.templates, document)
        elif action.do == "notify":
            yield from _named(action.with_.get("notice"), "notice", (*here, "with", "notice"), known.notices, document)
            yield from _recipients(action.with_.get("to"), (*here, "with", "to"), protocol, document)


def _named(name: object, noun: str, path: Path, known: Collection[str] | None, document: Document) -> Iterator[Problem]:
    if not isinstance(name, str) or not name:
        yield document.problem(path, "missing_argument", f"This action needs `with: {{{noun}: …}}`, the name of a {noun}.")
    elif known is not None and name not in known:
        yield document.problem(path, f"unknown_{noun}", f"There is no {noun} `{name}`.{document.advice.did_you_mean(name, known)}")


def _recipients(to: object, path: Path, protocol: Protocol, document: Document) -> Iterator[Problem]:
    roles = [to] if isinstance(to, str) else to
    if not isinstance(roles, list) or not roles:
        yield document.problem(path, "missing_argument", "`notify` needs `to`, a list of roles.")
        return
    for number, role in enumerate(roles):
        if not isinstance(role, str) or role not in protocol.roles:
            yield unknown_role(str(role), (*path, number), protocol, document)


def _deadline_problems(step: Step, path: Path, protocol: Protocol, document: Document) -> Iterator[Problem]:
    for number, escalation in enumerate(step.escalate):
        if escalation.to not in protocol.roles:
            yield unknown_role(escalation.to, (*path, "escalate", number, "to"), protocol, document)
    for key in ("remind", "escalate"):
        if getattr(step, key) and step.due is None:
            yield document.problem((*path, key), "no_deadline", f"`{step.id}` has no `due`, so there is no day to count `{key}` from.")
    if step.due is None:
        return
    if step.remind and step.checkpoint is None:
        yield document.problem((*path, "remind"), "nobody_to_remind", f"`{step.id}` has no checkpoint: nobody to remind.", "warning")
    for number, reminder in enumerate(step.remind):
        if duration(reminder.before) > _shortest_span(step.due):
            message = f"{reminder.before} before the deadline is before the step opens: its deadline is {step.due.days} days long."
            yield document.problem((*path, "remind", number), "early_reminder", message)
    if step.due.days > LONGEST_DAYS:
        message = f"A deadline of {step.due.days} days is more than three years: was it meant?"
        yield document.problem((*path, "due", "days"), "long_deadline", message, "warning")


def _shortest_span(due: Due) -> timedelta:
    """How long the deadline lasts when no holiday stretches it: five working days take a week."""
    return timedelta(days=due.days * 7 / 5 if due.calendar is Calendar.WORKING else due.days)


def _when_problems(step: Step, path: Path, scopes: Scopes, document: Document) -> Iterator[Problem]:
    if step.when is None:
        return
    here = (*path, "when")
    checked = check(step.when, scopes.of_when(step), document.advice)
    yield from _findings(checked, here, document)
    if _is_sound(checked) and not can_hold(checked):
        yield document.problem(here, "never_opens", f"`{step.id}` would always be skipped: its `when` is never true.")


def _gate_problems(step: Step, path: Path, scope: Names, document: Document) -> Iterator[Problem]:
    gate, here = step.gate, (*path, "gate")
    stop = check(gate.stop, scope, document.advice) if gate.stop is not None else None
    back = check(gate.return_.if_, scope, document.advice) if gate.return_ is not None else None
    go_on = check(gate.pass_, scope, document.advice)
    places = {"stop": (stop, (*here, "stop")), "return": (back, (*here, "return", "if")), "pass": (go_on, (*here, "pass"))}
    present = [(checked, place) for checked, place in places.values() if checked is not None]
    for checked, place in present:
        yield from _findings(checked, place, document)
    if not all(_is_sound(checked) for checked, _ in present):
        return
    reached = outcomes(stop, back, go_on)
    if "pass" not in reached:
        yield document.problem((*here, "pass"), "never_passes", f"The gate of `{step.id}` can never pass: {_why(stop, back, go_on)}.")
    for outcome in ("stop", "return"):
        if places[outcome][0] is not None and outcome not in reached:
            message = f"`{outcome}` of `{step.id}` can never happen: take it out, or correct its condition."
            yield document.problem(places[outcome][1], f"never_{outcome}s", message, "warning")


def _why(stop: Checked | None, back: Checked | None, go_on: Checked) -> str:
    if not can_hold(go_on):
        return "no answer makes `pass` true"
    named = " or ".join(name for name, checked in (("stop", stop), ("return", back)) if checked is not None)
    return f"whenever `pass` is true, {named} is true first"


def _findings(checked: Checked, path: Path, document: Document) -> Iterator[Problem]:
    for code, message, level in checked.findings:
        yield document.problem(path, code, message, level)


def _is_sound(checked: Checked) -> bool:
    return not any(finding.level == "error" for finding in checked.findings)
