"""Lint: everything that is wrong with a protocol as a whole, with its line, before it runs for six months."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from protocols.documents import Path
from protocols.errors import InvalidProtocol, Problem
from protocols.lint.forms import duplicates, form_problems
from protocols.lint.graph import Graph, graph_of, order_problems
from protocols.lint.scopes import REPLACED, Scopes
from protocols.lint.steps import Known, step_problems
from protocols.model import LOCALES, FieldType, FormField, Protocol, limited
from protocols.parsing import Parsed, parse

__all__ = ["Known", "lint", "load"]

_TEXTS = frozenset({"title", "summary", "description", "help", "label", "meaning"})


# What a document released before these rules may hold: it warns there, and is an error in a new one.
LATER_RULES = frozenset({"without_effect", "costly", "size_of_text"})
MOST: Mapping[str, int] = {"steps": 500, "roles": 200, "fields": 500, "options": 500}


def lint(parsed: Parsed, known: Known | None = None, *, released: bool = False) -> list[Problem]:
    """Every problem of a protocol whose shape is right, in the order of the lines; empty when it is sound.

    Errors stop it from being loaded: unknown names, conditions that do not type-check, steps that cannot be reached or passed.
    Warnings are worth reading: a missing translation, a role nobody uses. `known` names the actions, templates and notices there are.
    A document that was `released` keeps what it could hold then: later rules only warn of it.
    """
    if not released:
        if too_many := sorted(_too_many(parsed), key=lambda problem: problem.line):
            return too_many
        parsed = Parsed(limited(parsed.protocol), parsed.document)
    graph = graph_of(parsed.protocol)
    found = [*_problems(parsed, graph, known or Known())]
    found += _unreachable(found, parsed, graph)
    if released:
        found = [replace(problem, level="warning") if problem.code in LATER_RULES else problem for problem in found]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line, problem.path))


def load(text: str, file: str = "", known: Known | None = None, *, released: bool = False) -> Protocol:
    """The protocol of a YAML text, checked; warnings do not stop it.

    Raises InvalidProtocol with every error of its shape or, when that is right, of its sense.
    """
    parsed = parse(text, file)
    if errors := [problem for problem in lint(parsed, known, released=released) if problem.level == "error"]:
        raise InvalidProtocol(errors)
    return parsed.protocol


def _too_many(parsed: Parsed) -> Iterator[Problem]:
    """Lists so long that nobody could read them, nor lint check them in time."""
    protocol, document = parsed.protocol, parsed.document
    forms = [("launch", protocol.launch)]
    forms += [(f"steps.{number}.checkpoint.form", step.checkpoint.form) for number, step in enumerate(protocol.steps) if step.checkpoint]
    lists: list[tuple[str, str, int]] = [("steps", "steps", len(protocol.steps)), ("roles", "roles", len(protocol.roles))]
    for path, form in forms:
        lists.append((path, "fields", len(form) + sum(len(field.columns) for field in form)))
        lists += [(f"{path}.{number}.options", "options", len(field.options)) for number, field in enumerate(form)]
    for path, noun, count in lists:
        if count > MOST[noun]:
            message = f"`{document.name_of(path.split('.'))}` has {count:,} {noun}; the most is {MOST[noun]}."
            yield document.problem(path, "too_many", message)


def _problems(parsed: Parsed, graph: Graph, known: Known) -> Iterator[Problem]:
    protocol, document = parsed.protocol, parsed.document
    yield from duplicates([step.id for step in protocol.steps], ("steps",), "step", document)
    yield from order_problems(parsed, graph)
    yield from _without_effect(parsed)
    yield from form_problems(protocol.launch, ("launch",), protocol, document)
    scopes = Scopes(protocol, graph)
    for position in range(len(protocol.steps)):
        yield from step_problems(position, protocol, scopes, document, known)
    yield from _pathway_problems(parsed)
    yield from _unused_roles(parsed)
    yield from _missing_translations(document.value, (), parsed)


def _without_effect(parsed: Parsed) -> Iterator[Problem]:
    """What was kept for later releases and never read."""
    for key, instead in REPLACED.items():
        if key in parsed.document.value:
            message = f"`{key}` has no effect: nothing reads it. {instead} Take it out until then."
            yield parsed.document.problem((key,), "without_effect", message)


def _unreachable(found: list[Problem], parsed: Parsed, graph: Graph) -> Iterator[Problem]:
    """The steps that come after one that never passes, or that waits in a circle."""
    closed = {problem.path.split(".")[1] for problem in found if problem.code == "never_passes"}
    closed |= {step for step in graph.steps if graph.comes_before(step, step)}
    for position, step in enumerate(parsed.protocol.steps):
        if step.id not in closed and (behind := sorted(closed & graph.before[step.id])):
            message = f"`{step.id}` can never be reached: it comes after {', '.join(f'`{name}`' for name in behind)}, which never passes."
            yield parsed.document.problem(("steps", position), "unreachable_step", message)


def _pathway_problems(parsed: Parsed) -> Iterator[Problem]:
    pathway = parsed.protocol.pathway
    yield from duplicates(list(pathway.anchors), ("pathway", "anchors"), "anchor", parsed.document)
    for phase, bounds in pathway.phases.items():
        for key, anchor in (("from", bounds.from_), ("until", bounds.until)):
            if anchor is not None and anchor not in pathway.anchors:
                message = (
                    f"`{anchor}` is not among the anchors of the pathway.{parsed.document.advice.did_you_mean(anchor, pathway.anchors)}"
                )
                yield parsed.document.problem(("pathway", "phases", str(phase), key), "unknown_anchor", message)


def _unused_roles(parsed: Parsed) -> Iterator[Problem]:
    used = set(_roles_used(parsed.protocol))
    for role in parsed.protocol.roles:
        if role not in used:
            message = f"The role `{role}` does nothing in this protocol: no checkpoint, signature, escalation, notice or field names it."
            yield parsed.document.problem(("roles", role), "unused_role", message, "warning")


def _roles_used(protocol: Protocol) -> Iterator[str]:
    yield from _roles_in(protocol.launch)
    for step in protocol.steps:
        yield from (escalation.to for escalation in step.escalate)
        for action in step.run:
            to = action.with_.get("to")
            yield from (role for role in (to if isinstance(to, list) else [to]) if isinstance(role, str))
        if step.checkpoint is not None:
            yield step.checkpoint.role
            yield from (signature.role for signature in step.checkpoint.signatures)
            yield from _roles_in(step.checkpoint.form)


def _roles_in(form: tuple[FormField, ...]) -> Iterator[str]:
    for field in form:
        if field.role is not None and field.type is FieldType.PERSON:
            yield field.role
        yield from _roles_in(field.columns)


def _missing_translations(value: object, path: Path, parsed: Parsed) -> Iterator[Problem]:
    if isinstance(value, dict):
        if path and path[-1] in _TEXTS and value.keys() <= set(LOCALES):
            yield from _missing_locales(value, path, parsed)
        for key, inner in value.items():
            yield from _missing_translations(inner, (*path, key), parsed)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _missing_translations(inner, (*path, position), parsed)


def _missing_locales(words: dict[str, object], path: Path, parsed: Parsed) -> Iterator[Problem]:
    for locale in LOCALES:
        if not str(words.get(locale) or "").strip():
            message = f"`{parsed.document.name_of(path)}` has no `{locale}`: readers in that language would see the other one."
            yield parsed.document.problem(path, "missing_translation", message, "warning")
