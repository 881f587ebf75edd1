"""Forms: which answers a form accepts, field by field, and what it says to the ones it refuses."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

from protocols.conditions import compile_condition
from protocols.model import MOST_ROWS, FieldType, FormField
from protocols.numbers import readings
from protocols.phrase import Phrase
from protocols.plan import converted, converters

MAX_TEXT = 10_000
# Whatever day is answered has a day before and after it on every clock of the world.
EARLIEST, LATEST = date(1000, 1, 1), date(9000, 12, 31)
_UNSEEN = frozenset({"Cf", "Cc", "Zs", "Zl", "Zp"})
# Letters, signs and marks that are blank all the same: fillers, the blank of braille, joiners and variation selectors (UAX 44,
# Default_Ignorable_Code_Point).
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0").union(
    map(chr, range(0xFE00, 0xFE10)), map(chr, range(0xE0100, 0xE01F0))
)


@dataclass(frozen=True, slots=True)
class Here:
    """Where a form is filled in: its date, and its time zone, None where answers are judged on their own clocks."""

    today: date
    zone: ZoneInfo | None = None


def check_answers(
    form: Iterable[FormField],
    answers: Mapping[str, Any],
    today: date,
    context: Mapping[str, Any] | None = None,
    timezone: str = "",
) -> tuple[dict[str, Any], dict[str, str]]:
    """The answers as they will be kept, and a message for each refused field, by path (`sus_scores.2.score`).

    Kept answers are JSON values: numbers stay numbers, dates are ISO 8601 texts, a field hidden by `show_if` or left blank is absent.
    `today` is the date where the form is filled in, on the clocks of `timezone`, which also say on which day an answered moment falls.
    `context` holds the other names `show_if` may read.
    """
    return _checked(tuple(form), answers, Here(today, ZoneInfo(timezone) if timezone else None), context or {})


def _checked(
    fields: tuple[FormField, ...], answers: Mapping[str, Any], here: Here, context: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    errors: dict[str, str] = {
        name: Phrase("this form has no such field; it has {fields}", fields=_listed(field.id for field in fields))
        for name in _unknown(fields, answers)
    }
    kept: dict[str, Any] = {}
    for field in fields:
        value = answers.get(field.id)
        if not _is_shown(field, fields, kept, context):
            continue
        if _is_blank(value):
            if field.required:
                errors[field.id] = Phrase("an answer is required")
            continue
        try:
            kept[field.id] = _CHECKS[field.type](field, value, here)
        except _Refusals as refused:
            errors |= {f"{field.id}{path}": message for path, message in refused.by_path.items()}
    return kept, errors


def shown_fields(
    form: Iterable[FormField],
    answers: Mapping[str, Any],
    today: date,
    context: Mapping[str, Any] | None = None,
    timezone: str = "",
) -> frozenset[str]:
    """The ids of the fields that apply to these answers: all but those that `show_if` hides, as `check_answers` reads it."""
    fields = tuple(form)
    if all(field.show_if is None for field in fields):
        return frozenset(field.id for field in fields)
    known = {field.id: answers[field.id] for field in fields if field.id in answers}
    kept, shown = check_answers(fields, known, today, context, timezone)[0], set()
    for place, field in enumerate(fields):
        before = {one.id: kept[one.id] for one in fields[:place] if one.id in kept}
        if _is_shown(field, fields, before, context or {}):
            shown.add(field.id)
    return frozenset(shown)


# ------------------------------------------------------------------ what answers name


def kind_of(name: str) -> str:
    """The ending of a file's name, in small letters; "" without one."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def files_among(form: Iterable[FormField], answers: Mapping[str, Any]) -> Iterator[tuple[str, FormField, Mapping[str, Any]]]:
    """The stored files that the answers of a form name, in tables too: the path, the field, and the reference (`hash`, `name`)."""
    for path, field, value in answers_of_type(FieldType.FILE, form, answers):
        if _names_file(value):
            yield path, field, value


def answers_of_type(wanted: FieldType, form: Iterable[FormField], answers: Mapping[str, Any]) -> Iterator[tuple[str, FormField, Any]]:
    """The answers given to fields of a type, in tables too: the path, the field, and the answer."""
    for field in form:
        value = answers.get(field.id)
        if field.type is wanted and value is not None:
            yield field.id, field, value
        elif field.type is FieldType.TABLE and isinstance(value, list):
            for number, row in enumerate(value):
                inner = answers_of_type(wanted, field.columns, row) if isinstance(row, Mapping) else ()
                yield from ((f"{field.id}.{number}.{path}", column, found) for path, column, found in inner)


def without_files(form: Iterable[FormField], answers: Mapping[str, Any], unless: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """The answers without the files they name, `unless` it says that one may stay; whatever else was typed stays."""
    kept = dict(answers)
    for field in form:
        value = kept.get(field.id)
        if field.type is FieldType.FILE and isinstance(value, Mapping) and not (_names_file(value) and unless(value)):
            del kept[field.id]
        elif field.type is FieldType.TABLE and isinstance(value, list):
            kept[field.id] = [without_files(field.columns, row, unless) if isinstance(row, Mapping) else row for row in value]
    return kept


def _names_file(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and isinstance(value.get("hash"), str) and isinstance(value.get("name"), str)


# ------------------------------------------------------------------ one field


class _Refusals(Exception):
    def __init__(self, message: str = "", by_path: dict[str, str] | None = None) -> None:
        self.by_path = by_path or {"": message}


def _unknown(fields: tuple[FormField, ...], answers: Mapping[str, Any]) -> list[str]:
    known = {field.id for field in fields}
    return [str(name) for name in answers if name not in known]


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and says_nothing(value)) or value == []


def says_nothing(text: str) -> bool:
    """Whether a text has no character that can be seen: blanks, and marks without a width of their own."""
    return all(one.isspace() or one in _BLANKS or unicodedata.category(one) in _UNSEEN for one in text)


def _is_shown(field: FormField, fields: tuple[FormField, ...], kept: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    if field.show_if is None:
        return True
    condition = compile_condition(field.show_if)
    verdict = condition.evaluate({**context, "answers": converted(kept, converters(fields), condition.nulls)})
    return verdict.holds or verdict.undecided  # what is hidden is not kept


def _text(field: FormField, value: Any, here: Here) -> str:
    if not isinstance(value, str):
        raise _Refusals(Phrase("expected text, not {value}", value=_described(value)))
    if len(value) > MAX_TEXT:
        raise _Refusals(Phrase("the text has {count} characters; at most {most} are kept", count=len(value), most=MAX_TEXT))
    if "\x00" in value:
        raise _Refusals(Phrase("the text holds a null character; remove it"))
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _Refusals(Phrase("the text holds half a character; type it again"))
    return value


def _number(field: FormField, value: Any, here: Here) -> float | int:
    _refuse_two_readings(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:  # NaN is not below either
        raise _Refusals(Phrase("expected a number, not {value}", value=_described(value)))
    _within(field, value, field.unit or "")
    return value if abs(value) <= 2**53 else float(value)


def _refuse_two_readings(value: Any) -> None:
    if isinstance(value, str) and (meant := readings(value)):
        words = {"value": value, "whole": str(meant[0]), "part": meant[1]}  # a fraction is told with the reader's own mark
        raise _Refusals(Phrase("{value} can be read in two ways: write {whole} without a mark in it, or {part}", **words))


def _integer(field: FormField, value: Any, here: Here) -> int:
    _refuse_two_readings(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value != value
        or value in (math.inf, -math.inf)
        or value != int(value)
    ):
        raise _Refusals(Phrase("expected a whole number, not {value}", value=_described(value)))
    if abs(value) > 2**53:
        raise _Refusals(Phrase("the number is too large"))
    _within(field, value, field.unit or "")
    return int(value)


def _within(field: FormField, value: float, unit: str) -> None:
    if field.min is not None and value < float(field.min):
        raise _Refusals(Phrase("must be at least {bound}{unit}, not {value}", **_measured(float(field.min), unit, value)))
    if field.max is not None and value > float(field.max):
        raise _Refusals(Phrase("must be at most {bound}{unit}, not {value}", **_measured(float(field.max), unit, value)))


def _measured(bound: float, unit: str, value: float) -> dict[str, Any]:
    return {"bound": _plain(bound), "unit": unit and f" {unit}", "value": _plain(value)}


def _plain(value: float) -> float | int:
    """A number as it was written: a bound of 5 is not 5.0."""
    return int(value) if value == int(value) else value


def _boolean(field: FormField, value: Any, here: Here) -> bool:
    if not isinstance(value, bool):
        raise _Refusals(Phrase("expected true or false, not {value}", value=_described(value)))
    return value


def _date(field: FormField, value: Any, here: Here) -> str:
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Refusals(Phrase("expected a date such as {today}, not {value}", today=here.today, value=_described(value))) from None
    if not EARLIEST <= day <= LATEST:
        raise _Refusals(Phrase("no such year can be meant: {year}", year=str(day.year)))
    if (earliest := _bound(field.min, here.today)) and day < earliest:
        raise _Refusals(Phrase("must not be before {bound}", bound=earliest))
    if (latest := _bound(field.max, here.today)) and day > latest:
        raise _Refusals(Phrase("must not be after {bound}", bound=latest))
    return day.isoformat()


def _bound(bound: float | str | None, today: date) -> date | None:
    if bound is None:
        return None
    return today if bound == "today" else date.fromisoformat(str(bound))


def _datetime(field: FormField, value: Any, here: Here) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        example = f"{here.today.isoformat()}T09:30:00+01:00"
        raise _Refusals(
            Phrase("expected a date and time such as {example}, not {value}", example=example, value=_described(value))
        ) from None
    if moment.tzinfo is None:
        raise _Refusals(Phrase("the time needs its zone, such as +01:00 or Z"))
    if not EARLIEST <= moment.date() <= LATEST:
        raise _Refusals(Phrase("no such year can be meant: {year}", year=str(moment.year)))
    if field.min is not None and _compared(moment, field.min, here) < 0:
        raise _Refusals(Phrase("must not be before {bound}", bound=_named(field.min)))
    if field.max is not None and _compared(moment, field.max, here) > 0:
        raise _Refusals(Phrase("must not be after {bound}", bound=_named(field.max)))
    return moment.isoformat()


def _named(bound: float | str) -> Any:
    """A bound as a message says it: `today`, a date, or the time as the protocol writes it."""
    if bound == "today":
        return Phrase("today")
    return date.fromisoformat(str(bound)) if len(str(bound)) == len("2026-01-31") else bound


def _compared(moment: datetime, bound: float | str, here: Here) -> int:
    """Below, at or above a bound (-1, 0, 1): by day for `today` or a date, by the wall clock for a time without a zone, both as they are
    where the form is filled in."""
    moment = moment.astimezone(here.zone) if here.zone else moment
    if bound == "today" or len(str(bound)) == len("2026-01-31"):
        day = here.today if bound == "today" else date.fromisoformat(str(bound))
        return (moment.date() > day) - (moment.date() < day)
    limit = datetime.fromisoformat(str(bound))
    given = moment if limit.tzinfo else moment.replace(tzinfo=None)
    return (given > limit) - (given < limit)


def _choice(field: FormField, value: Any, here: Here) -> str:
    if value not in field.option_values:
        raise _Refusals(Phrase("expected one of {options}, not {value}", options=_listed(field.option_values), value=_described(value)))
    return str(value)


def _choices(field: FormField, value: Any, here: Here) -> list[str]:
    if not isinstance(value, list):
        raise _Refusals(Phrase("expected a list of choices, not {value}", value=_described(value)))
    chosen = list(dict.fromkeys(_choice(field, item, here) for item in value))
    if field.max is not None and len(chosen) > float(field.max):
        raise _Refusals(Phrase("{count} were chosen; at most {most} may be", count=len(chosen), most=_plain(float(field.max))))
    return chosen


def _file(field: FormField, value: Any, here: Here) -> dict[str, Any]:
    """A file is a reference to a stored document: `{"name", "hash", "size"}`."""
    if not isinstance(value, dict) or not {"name", "hash"} <= set(value) <= {"name", "hash", "size"}:
        raise _Refusals(Phrase("expected a stored file with its name and hash, not {value}", value=_described(value)))
    name = str(value["name"])
    if field.kinds and kind_of(name) not in field.kinds:
        raise _Refusals(Phrase("expected a file of type {types}, not {name!r}", types=_listed(field.kinds), name=name))
    size = value.get("size", 0)
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not all(isinstance(value[part], str) for part in ("name", "hash")):
        raise _Refusals(Phrase("expected a stored file with its name, hash and size in bytes"))
    if field.max_mb and size > field.max_mb * 1024 * 1024:
        raise _Refusals(Phrase("the file is larger than {most} MB", most=_plain(field.max_mb)))
    return dict(value)


def _table(field: FormField, value: Any, here: Here) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise _Refusals(Phrase("expected a list of rows, not {value}", value=_described(value)))
    if len(value) > (most := int(field.max or MOST_ROWS)):
        raise _Refusals(Phrase("the table has {count} rows; at most {most} are kept", count=len(value), most=most))
    checked = [_checked(tuple(field.columns), row, here, {}) for row in value]
    if errors := {f".{number}.{path}": text for number, (_, refused) in enumerate(checked) for path, text in refused.items()}:
        raise _Refusals(by_path=errors)
    return [row for row, _ in checked]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _described(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


_CHECKS: dict[FieldType, Callable[[FormField, Any, Here], Any]] = {
    FieldType.TEXT: _text,
    FieldType.LONG_TEXT: _text,
    FieldType.PERSON: _text,
    FieldType.NUMBER: _number,
    FieldType.INTEGER: _integer,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.DATETIME: _datetime,
    FieldType.CHOICE: _choice,
    FieldType.CHOICES: _choices,
    FieldType.FILE: _file,
    FieldType.TABLE: _table,
}
