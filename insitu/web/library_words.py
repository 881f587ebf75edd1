"""A protocol in words: conditions as sentences where they can be said, fields by what they accept. Pure, in one language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from insitu.entrance.language import N_, Language
from protocols.clocks import RULES
from protocols.conditions import compile_condition
from protocols.context import PATHWAY_COUNTS
from protocols.model import UNREAD, Calendar, FieldType, FormField, Protocol, Text, in_locale

FIELDS = {
    FieldType.TEXT: N_("short text"),
    FieldType.LONG_TEXT: N_("long text"),
    FieldType.NUMBER: N_("number"),
    FieldType.INTEGER: N_("whole number"),
    FieldType.BOOLEAN: N_("yes or no"),
    FieldType.DATE: N_("date"),
    FieldType.DATETIME: N_("date and time"),
    FieldType.CHOICE: N_("one choice among"),
    FieldType.CHOICES: N_("several choices among"),
    FieldType.FILE: N_("file"),
    FieldType.TABLE: N_("table with the columns"),
    FieldType.PERSON: N_("person"),
}
COMPARED = {
    "==": N_("{left} is {right}"),
    "!=": N_("{left} is not {right}"),
    ">=": N_("{left} is at least {right}"),
    "<=": N_("{left} is at most {right}"),
    ">": N_("{left} is more than {right}"),
    "<": N_("{left} is less than {right}"),
}
NAMED = {
    "today": N_("today’s date"),
    "sites.count": N_("the number of sites"),
    "sites.active": N_("the number of active sites"),
    "sites.stopped": N_("the number of stopped sites"),
    "site.code": N_("the site’s code"),
    "site.name": N_("the site’s name"),
    "site.kind": N_("the kind of site"),
    "site.territory": N_("the site’s territory"),
}
DONE = {
    "render": N_("prepares the document “{what}”"),
    "evaluate": N_("works out the results"),
    "notify": N_("sends the message “{what}”"),
}
_SIGNS = {"+": "+", "-": "−", "*": "×", "/": "÷"}
_TOKEN = re.compile(r"\s*(\|\||&&|[=!<>]=|[-+*/()<>!]|\d+(?:\.\d+)?|'[^'\\]*'|\"[^\"\\]*\"|[A-Za-z_][\w.]*)")


class Unsayable(Exception):
    """A condition with something in it that these words do not know."""


class Reading:
    """A protocol as one language says it."""

    def __init__(self, protocol: Protocol, tongue: Language) -> None:
        self.protocol = protocol
        self.tongue = tongue
        self.steps = {step.id: step for step in protocol.steps}

    def text(self, text: Text | None) -> str:
        return in_locale(text, self.tongue.code)

    def role(self, role: str) -> str:
        """A role's title; its name where the protocol has no such role."""
        known = self.protocol.roles.get(role)
        return self.text(known.title) if known else role

    def options(self, field: FormField) -> list[str]:
        """What one may choose, as people read it."""
        return [self.text(one.label) or one.value for one in field.options]

    def rule(self, calendar: Calendar) -> str:
        """How a deadline's days are counted."""
        return RULES[calendar]["fr" if self.tongue.code == "fr" else "en"]

    def device(self) -> list[str]:
        """What the law calls the thing that is tested (MDR 2017/745)."""
        solution = self.protocol.solution
        ai = [self.tongue(N_("with artificial intelligence"))] if solution and solution.ai else []
        if solution is None or (device := solution.device) is None:
            return ai
        said = [N_("medical device") if device.is_medical_device else N_("no medical device")]
        if device.ce_marked is not None:
            said.append(N_("CE-marked") if device.ce_marked else N_("not CE-marked"))
        if device.used_as_intended is not None:
            said.append(N_("used as intended") if device.used_as_intended else N_("used otherwise than intended"))
        classed = [self.tongue(N_("class {name}"), name=device.class_)] if device.class_ else []
        return [*map(self.tongue, said), *classed, *ai]

    def without_effect(self) -> list[str]:
        """What stands in a protocol of an earlier release and nothing reads: blocks, and names that are always 0 in its conditions."""
        blocks = [name for name in UNREAD if getattr(self.protocol, name)]
        sources = [one for step in self.protocol.steps for one in (step.when, step.gate.stop, step.gate.pass_) if one]
        sources += [step.gate.return_.if_ for step in self.protocol.steps if step.gate.return_]
        named = {name for source in sources for name in compile_condition(source).names}
        return list(dict.fromkeys([*blocks, *(name for name in PATHWAY_COUNTS if name in named)]))

    def field_type(self, field: FormField) -> str:
        return self.tongue(FIELDS[field.type])

    def action(self, do: str, given: dict[str, Any]) -> str:
        """What the machine does; another action than these is called by its name."""
        return self.tongue(DONE.get(do, N_("does “{do}”")), do=do, what=given.get("template") or given.get("notice") or "")

    def span(self, duration: str) -> tuple[int, str]:
        """`7d` as (7, "d")."""
        return int(duration[:-1]), duration[-1]

    def bound(self, value: float | str | None) -> str:
        """A field's bound as people read it."""
        if value is None or isinstance(value, (int, float)):
            return "" if value is None else self.tongue.number(value)
        return self.tongue(NAMED["today"]) if value == "today" else self.tongue.day(value, short=True) if len(value) == 10 else value

    def condition(self, source: str, step: str = "") -> str:
        """A condition as a sentence; "" where it cannot be said, or says nothing. `answers` are those of `step`, else of the launch."""
        try:
            return "" if source == "true" else _Sentence(self, source, step).said()
        except (Unsayable, RecursionError):
            return ""

    def field(self, path: str, step: str) -> FormField | None:
        """The field that a reference names: `answers.x`, `launch.x` or `steps.s.answers.x`."""
        parts = path.split(".")
        if parts[0] == "steps" and len(parts) == 4 and parts[2] == "answers":
            return self._among(self._form(parts[1]), parts[3])
        if len(parts) == 2 and parts[0] in ("answers", "launch"):
            return self._among(self._form(step) if parts[0] == "answers" and step else self.protocol.launch, parts[1])
        return None

    def _form(self, step: str) -> tuple[FormField, ...]:
        known = self.steps.get(step)
        return known.checkpoint.form if known and known.checkpoint else ()

    def _among(self, form: tuple[FormField, ...], name: str) -> FormField | None:
        return next((field for field in form if field.id == name), None)


class _Sentence:
    """Reads a condition from left to right: or, and, not, a comparison, sums and products."""

    def __init__(self, reading: Reading, source: str, step: str) -> None:
        self.reading, self.step = reading, step
        self.tokens = _tokens(source)
        self.place = 0
        self.field: FormField | None = None  # the field compared with, whose option's label is said

    def said(self) -> str:
        text = self._any()
        if self.place != len(self.tokens):
            raise Unsayable
        return text

    def _next(self, *wanted: str) -> str:
        """The next token if it is one of these, and then the one after comes next; else ""."""
        if self.place < len(self.tokens) and self.tokens[self.place] in wanted:
            self.place += 1
            return self.tokens[self.place - 1]
        return ""

    def _any(self) -> str:
        return self._joined(self._all, "||", N_("{left} or {right}"))

    def _all(self) -> str:
        return self._joined(self._one, "&&", N_("{left} and {right}"))

    def _joined(self, part: Callable[[], str], sign: str, sentence: str) -> str:
        text = part()
        while self._next(sign):
            text = self.reading.tongue(sentence, left=text, right=part())
        return text

    def _one(self) -> str:
        if self._next("!"):
            return self._yes_or_no(self._value(), N_("{left} is no"))
        here = self.place
        if self._next("("):
            inner = self._any()
            if self._next(")") and self._peek() not in COMPARED:
                return f"({inner})"
            self.place = here
        return self._compared()

    def _compared(self) -> str:
        left, field = self._sum(), self.field
        sign = self._next(*COMPARED)
        if not sign:
            return self._yes_or_no(left, N_("{left} is yes"))
        self.field = field
        return self.reading.tongue(COMPARED[sign], left=left, right=self._sum())

    def _yes_or_no(self, left: str, sentence: str) -> str:
        if self.field is None or self.field.type is not FieldType.BOOLEAN:
            raise Unsayable
        return self.reading.tongue(sentence, left=left)

    def _peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def _sum(self) -> str:
        text = self._value()
        while sign := self._next(*_SIGNS):
            text = f"{text} {_SIGNS[sign]} {self._value()}"
        return text

    def _value(self) -> str:
        if self._next("("):
            inner = self._sum()
            if not self._next(")"):
                raise Unsayable
            return f"({inner})"
        token = self._peek()
        self.place += 1
        if token in ("double", "int") and self._next("("):  # says how to count, not what
            inner = self._sum()
            if not self._next(")"):
                raise Unsayable
            return inner
        return self._literal(token)

    def _literal(self, token: str) -> str:
        tongue = self.reading.tongue
        if token[:1] in ("'", '"'):
            return tongue(N_("“{value}”"), value=self._option(token[1:-1]))
        if token[:1].isdigit():
            return tongue.number(float(token) if "." in token else int(token))
        if token in NAMED:
            return tongue(NAMED[token])
        return self._reference(token)

    def _option(self, value: str) -> str:
        found = next((one for one in self.field.options if one.value == value), None) if self.field else None
        return (self.reading.text(found.label) if found and found.label else "") or self.reading.tongue.word(value)

    def _reference(self, path: str) -> str:
        tongue, parts = self.reading.tongue, path.split(".")
        other = self.reading.steps.get(parts[1]) if parts[0] == "steps" and len(parts) > 2 else None
        if other and parts[2:] == ["status"]:
            self.field = None
            return tongue(N_("the state of “{step}”"), step=self.reading.text(other.title))
        field = self.reading.field(path, self.step)
        if field is None:
            raise Unsayable
        self.field, label = field, self.reading.text(field.label)
        if other:
            return tongue(N_("“{field}” of “{step}”"), field=label, step=self.reading.text(other.title))
        if parts[0] == "launch":
            return tongue(N_("“{field}” of the launch"), field=label)
        return tongue(N_("“{value}”"), value=label)


def _tokens(source: str) -> list[str]:
    found, place = [], 0
    text = source.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if not match:
            raise Unsayable
        found.append(match[1])
        place = match.end()
    return found
