"""The names each condition of a protocol may use, with their types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeGuard

from protocols.costs import size_of_list, size_of_map, size_of_text
from protocols.lint.graph import Graph
from protocols.lint.types import BOOL, DOUBLE, INT, TEXT, TIMESTAMP, Names, Type
from protocols.model import MOST_ROWS, FieldType, FormField, Protocol, Scope, Step

STATUSES = ("waiting", "open", "working", "incident", "passed", "skipped", "returned", "stopped")

_TEXT_SIZE = size_of_text(200)  # what people write in a field; a longer one is seen when the condition is evaluated
_MOST_SITES = 200

_PLAIN = {
    FieldType.TEXT: replace(TEXT, size=_TEXT_SIZE),
    FieldType.LONG_TEXT: replace(TEXT, size=_TEXT_SIZE),
    FieldType.PERSON: TEXT,
    FieldType.FILE: TEXT,
    FieldType.NUMBER: DOUBLE,
    FieldType.INTEGER: INT,
    FieldType.BOOLEAN: BOOL,
    FieldType.DATE: TIMESTAMP,
    FieldType.DATETIME: TIMESTAMP,
}
_SITE = Type("map", names=Names("field", dict.fromkeys(("code", "name", "kind", "territory"), TEXT)))
_SITES = Type("map", names=Names("field", {"count": replace(INT, low=1), "active": INT, "stopped": INT}))
_EVERYWHERE = {"sites": _SITES, "today": TIMESTAMP}

# What format 1 named before there was anything to count, and what counts it in format 2.
REPLACED = {
    "participants": "Format 2 has `cases` instead: a kind `participant` is opened one by one.",
    "incidents": "Format 2 has `cases` instead: a kind such as `adverse_event`, with the clocks of its reports.",
    "evaluation": "Format 2 reads figures from `cases` and their steps; here, a step with `run: [{do: evaluate}]` works them out.",
}
_COUNTED = {
    "participants": "`cases.participant.count` and `cases.participant.passed.STEP`",
    "data": "`cases.KIND.sum.STEP.FIELD` and `cases.KIND.number.STEP.FIELD`",
    "incidents": "`cases.adverse_event.count` and `.open`",
    "indicators": "`cases.KIND.tally.NAME`",
}
_ALWAYS_ZERO = {
    name: ("without_effect", f"`{name}` is always 0: nothing fills it. Format 2 counts with {instead}.")
    for name, instead in _COUNTED.items()
}


def type_of_field(field: FormField) -> Type:
    """What the answer to a field is in a condition; null when it may be left unanswered."""
    options = Type("text", words=field.option_values, size=size_of_text(max(map(len, field.option_values), default=0)))
    kinds = {FieldType.CHOICE: options, FieldType.CHOICES: _list_of(options, len(field.options))}
    if field.type is FieldType.TABLE:
        kinds[FieldType.TABLE] = _list_of(type_of_form(field.columns), int(field.max) if _is_count(field.max) else MOST_ROWS)
    found = kinds.get(field.type) or _PLAIN[field.type]
    low = float(field.min) if found in (DOUBLE, INT) and isinstance(field.min, (int, float)) else None
    return replace(found, optional=not field.required or field.show_if is not None, low=low)


def _is_count(bound: float | str | None) -> TypeGuard[float]:
    return isinstance(bound, (int, float)) and 1 <= bound <= MOST_ROWS


def _list_of(item: Type, most: int) -> Type:
    return Type("list", item=item, size=size_of_list(item.size, most))


def type_of_form(form: Iterable[FormField]) -> Type:
    fields = {field.id: type_of_field(field) for field in form}
    return Type("map", names=Names("field", fields), size=size_of_map({name: kind.size for name, kind in fields.items()}))


def scope_of_show_if(field: FormField, form: Type) -> Names:
    """The names in a `show_if`: the other fields of the same form."""
    others = {name: kind for name, kind in (form.names.known if form.names else {}).items() if name != field.id}
    itself = {field.id: ("shows_itself", f"`{field.id}` cannot decide whether it is shown itself; use another field.")}
    sentence = "A `show_if` reads only the other fields of its form, as `answers.<field>`."
    refused = dict.fromkeys(("steps", "sites_of", "launch", "site", *_EVERYWHERE, *_ALWAYS_ZERO), ("wrong_scope", sentence))
    return Names("name", {"answers": Type("map", names=Names("field", others, itself), size=form.size)}, refused)


class Scopes:
    """The scopes of one protocol's steps. What each step offers to the others is worked out once."""

    def __init__(self, protocol: Protocol, graph: Graph) -> None:
        self._graph = graph
        self._entries = {step.id: _entry(step) for step in graph.steps.values()}
        self._lists = {step.id: _list_of(_entry(step, site=TEXT), _MOST_SITES) for step in graph.steps.values() if step.scope is Scope.SITE}
        self._everywhere = _EVERYWHERE | {"launch": type_of_form(protocol.launch)}

    def of_gate(self, step: Step) -> Names:
        """The names in a gate's conditions: everything, with the answers of its own checkpoint if it has one."""
        names = self._of(step)
        if step.checkpoint is None:
            sentence = f"`{step.id}` has no checkpoint, so nobody gives answers: give it one, or read another step's answers."
            return replace(names, refused={**names.refused, "answers": ("no_checkpoint", sentence)})
        return replace(names, known={**names.known, "answers": type_of_form(step.checkpoint.form)})

    def of_when(self, step: Step) -> Names:
        """The names in a `when`, which is read before anyone is asked."""
        names = self._of(step)
        sentence = "A `when` is read before anyone answers: use `launch`, or an earlier step as `steps.<id>.answers`."
        return replace(names, refused={**names.refused, "answers": ("no_answers_yet", sentence)})

    def _of(self, step: Step) -> Names:
        known = self._everywhere | {"steps": self._steps(step)}
        if step.scope is Scope.SITE:
            sentence = f"`{step.id}` is a site step: `steps.<id>` reads the same site's steps; `sites_of` is for experiment steps."
            return Names("name", known | {"site": _SITE}, {**_ALWAYS_ZERO, "sites_of": ("wrong_scope", sentence)})
        sentence = f"`{step.id}` is an experiment step and stands at no site: give it `scope: site`, or use `sites` or `sites_of.<step>`."
        return Names("name", known | {"sites_of": self._sites_of(step)}, {**_ALWAYS_ZERO, "site": ("wrong_scope", sentence)})

    def _steps(self, step: Step) -> Type:
        known, refused = {}, {}
        for other in self._graph.steps.values():
            if step.scope is Scope.EXPERIMENT and other.scope is Scope.SITE:
                refused[other.id] = ("wrong_scope", f"`{other.id}` is a site step: read all its sites as the list `sites_of.{other.id}`.")
            elif self._graph.comes_before(other.id, step.id) or other.id == step.id:
                known[other.id] = self._entries[other.id]
            else:
                refused[other.id] = _not_yet_known(other, step)
        return Type("map", names=Names("step", known, refused))

    def _sites_of(self, step: Step) -> Type:
        known, refused = {}, {}
        for other in self._graph.steps.values():
            if other.scope is Scope.EXPERIMENT:
                refused[other.id] = ("wrong_scope", f"`{other.id}` is an experiment step: read it as `steps.{other.id}`.")
            elif self._graph.comes_before(other.id, step.id):
                known[other.id] = self._lists[other.id]
            else:
                refused[other.id] = _not_yet_known(other, step)
        return Type("map", names=Names("step", known, refused))


def _not_yet_known(other: Step, step: Step) -> tuple[str, str]:
    return "not_yet_known", f"`{other.id}` does not come before `{step.id}`, so nothing is known of it here: name it in `after`."


def _entry(step: Step, **more: Type) -> Type:
    """What is known of another step. It may have been skipped, so that any of its answers may be null."""
    form = step.checkpoint.form if step.checkpoint else ()
    answers = {field.id: replace(type_of_field(field), optional=True) for field in form}
    size = size_of_map({name: kind.size for name, kind in answers.items()})
    parts = {"status": Type("text", words=STATUSES), "round": INT, "answers": Type("map", names=Names("field", answers), size=size)} | more
    return Type("map", names=Names("part", parts), size=size_of_map({name: kind.size for name, kind in parts.items()}))
