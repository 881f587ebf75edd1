"""The protocol document, format 1, as frozen values.

The shapes follow the document key by key. What spans several keys (names that must exist, conditions that must type-check,
steps that must be reachable) is checked by `protocols.lint`; where a value came from in a file is known by `protocols.parsing`.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$", max_length=64)]
SemVer = Annotated[str, StringConstraints(pattern=r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$")]
Locale = Literal["fr", "en"]
Text = str | dict[Locale, str]

LOCALES: tuple[Locale, ...] = ("fr", "en")
UNREAD = ("participants", "incidents", "evaluation")  # kept for later releases in format 1, and never read
TABLE_ROWS = 200  # of a table whose author named no `max`
MOST_ROWS = 5_000  # of any table; of one released before tables had a `max`


def _condition(value: object) -> object:
    """YAML writes `pass: true` as a boolean; a condition is always CEL source."""
    return ("true" if value else "false") if isinstance(value, bool) else value


Condition = Annotated[str, BeforeValidator(_condition), StringConstraints(min_length=1, max_length=2000)]
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,3}[dh]$")]


class Value(BaseModel):
    """A frozen part of the document; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=False)


class Phase(StrEnum):
    """Where a step stands in the care pathway."""

    PREPARATION = "preparation"
    BEFORE = "before"
    DURING = "during"
    AFTER = "after"
    CLOSURE = "closure"


class Scope(StrEnum):
    """Whether a thing exists once for the experiment or once for each site."""

    EXPERIMENT = "experiment"
    SITE = "site"


class FieldType(StrEnum):
    """What a form field accepts."""

    TEXT = "text"
    LONG_TEXT = "long_text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    CHOICE = "choice"
    CHOICES = "choices"
    FILE = "file"
    TABLE = "table"
    PERSON = "person"


class Option(Value):
    """One answer of a `choice` or `choices`; a bare string is both value and label."""

    value: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    label: Text | None = None


def _option(value: object) -> object:
    return {"value": value} if isinstance(value, str) else value


class FormField(Value):
    """One field of a form. Without a label its id is shown.

    Bounds are numbers, or dates where `today` is allowed; the `max` of a table is its rows, that of `choices` how many may be chosen.
    """

    id: Slug
    type: FieldType
    label: Text
    help: Text | None = None
    required: bool = False
    min: float | str | None = None
    max: float | str | None = None
    unit: str | None = None
    options: tuple[Annotated[Option, BeforeValidator(_option)], ...] = ()
    accept: tuple[str, ...] = ()
    max_mb: float | None = Field(default=None, gt=0, le=100)
    columns: tuple[FormField, ...] = ()
    role: Slug | None = None
    show_if: Condition | None = None

    @model_validator(mode="before")
    @classmethod
    def _label_is_id_by_default(cls, value: object) -> object:
        if isinstance(value, dict) and "label" not in value:
            return {**value, "label": str(value.get("id", ""))}
        return value

    @property
    def kinds(self) -> tuple[str, ...]:
        """The endings of file names that `accept` lets in, in small letters and without their dot; none lets all in.

        `accept` itself stays as it was written: the document's hash is of it.
        """
        return tuple(dict.fromkeys(kind.strip().lstrip(".").lower() for kind in self.accept))

    @property
    def option_values(self) -> tuple[str, ...]:
        return tuple(option.value for option in self.options)


class Device(Value):
    """The regulatory nature of the tested device (MDR 2017/745 classes)."""

    is_medical_device: bool
    class_: Literal["I", "IIa", "IIb", "III"] | None = Field(default=None, alias="class")
    ce_marked: bool | None = None
    used_as_intended: bool | None = None


class Solution(Value):
    """What is tested."""

    name: str
    holder: str | None = None
    description: Text | None = None
    device: Device | None = None
    ai: bool = False


class PhaseBounds(Value):
    """Which anchors bound a phase of the stay."""

    from_: Slug | None = Field(default=None, alias="from")
    until: Slug | None = None


class Pathway(Value):
    """The dated events of a stay, and the phases they bound."""

    anchors: tuple[Slug, ...] = ()
    phases: dict[Phase, PhaseBounds] = {}


class Role(Value):
    """A function people hold; `requires` names what must be in force to act in it."""

    scope: Scope
    title: Text
    requires: tuple[Literal["delegation", "training"], ...] = ()


class After(Value):
    """A predecessor; `sites` says how many active sites must have passed it, from an experiment step."""

    step: Slug
    sites: Literal["all", "any"] | Annotated[int, Field(ge=1)] = "all"


def _after(value: object) -> object:
    return {"step": value} if isinstance(value, str) else value


class Action(Value):
    """What the machine does when a step opens, before anyone is asked."""

    do: Slug
    with_: dict[str, Any] = Field(default={}, alias="with")


class Signature(Value):
    """A signature asked for, in order; `meaning` is shown to the signer and kept."""

    role: Slug
    meaning: Text
    different_person: bool = False


class Checkpoint(Value):
    """The task by which a person answers the gate's question."""

    role: Slug
    form: tuple[FormField, ...] = ()
    signatures: tuple[Signature, ...] = ()


class Return(Value):
    """A way back: a new round of `to` and of everything after it."""

    to: Slug
    if_: Condition = Field(alias="if")


class Gate(Value):
    """The question "may we go on?", read in the order stop, return, pass."""

    pass_: Condition = Field(default="true", alias="pass")
    return_: Return | None = Field(default=None, alias="return")
    stop: Condition | None = None


class Calendar(StrEnum):
    """How days are counted."""

    CALENDAR = "calendar"
    WORKING = "working"
    LEGAL = "legal"


class Due(Value):
    """A deadline: so many days from the opening."""

    days: int = Field(ge=1, le=3660)
    calendar: Calendar = Calendar.CALENDAR
    from_: Literal["opened"] = Field(default="opened", alias="from")


class Remind(Value):
    before: Duration


class Escalate(Value):
    after: Duration
    to: Slug


class Step(Value):
    """A node of the protocol: run actions, a checkpoint, a gate, a deadline."""

    id: Slug
    title: Text
    help: Text | None = None
    phase: Phase
    scope: Scope = Scope.EXPERIMENT
    after: tuple[Annotated[After, BeforeValidator(_after)], ...] = ()
    when: Condition | None = None
    run: tuple[Action, ...] = ()
    checkpoint: Checkpoint | None = None
    gate: Gate = Gate()
    due: Due | None = None
    remind: tuple[Remind, ...] = ()
    escalate: tuple[Escalate, ...] = ()


class Protocol(Value):
    """A whole protocol, as one document."""

    insitu: Literal[1]
    id: Slug
    version: SemVer
    title: Text
    summary: Text | None = None
    solution: Solution | None = None
    pathway: Pathway = Pathway()
    roles: dict[Slug, Role] = Field(min_length=1)
    launch: tuple[FormField, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1)
    participants: dict[str, Any] = {}
    incidents: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}


def canonical(protocol: Protocol) -> str:
    """The protocol's canonical form: JSON with sorted keys, no spaces and no defaults.

    Two documents that mean the same have the same canonical form, whatever their comments, key order or layout.
    """
    content = protocol.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def limited(protocol: Protocol) -> Protocol:
    """The protocol with a `max` on every table, as a new release has it: `TABLE_ROWS` where its author named none."""
    steps = []
    for step in protocol.steps:
        if step.checkpoint is not None:
            step = step.model_copy(update={"checkpoint": step.checkpoint.model_copy(update={"form": _limited(step.checkpoint.form)})})
        steps.append(step)
    return protocol.model_copy(update={"launch": _limited(protocol.launch), "steps": tuple(steps)})


def _limited(form: tuple[FormField, ...]) -> tuple[FormField, ...]:
    return tuple(
        field.model_copy(update={"max": float(TABLE_ROWS)}) if field.type is FieldType.TABLE and field.max is None else field
        for field in form
    )


def content_hash(protocol: Protocol) -> str:
    """SHA-256 of the canonical form, in hexadecimal: what an experiment pins."""
    return hashlib.sha256(canonical(protocol).encode()).hexdigest()


def in_locale(text: Text | None, locale: str) -> str:
    """The text in a locale, else in the other one: a missing translation never hides the words."""
    if text is None or isinstance(text, str):
        return text or ""
    wanted = {str(known): words for known, words in text.items()}
    return wanted.get(locale) or next(iter(wanted.values()), "")


def duration(text: Duration) -> timedelta:
    """`7d` or `12h` as a timedelta."""
    match = re.fullmatch(r"(\d+)([dh])", text)
    assert match is not None, f"the model lets only durations through, not {text!r}"
    count = int(match[1])
    return timedelta(days=count) if match[2] == "d" else timedelta(hours=count)
