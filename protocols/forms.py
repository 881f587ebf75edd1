"""Forms: which answers a form accepts, field by field, and what it says to the ones it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

from protocols.conditions import compile_condition
from protocols.model import MOST_ROWS, FieldType, FormField
from protocols.phrase import Phrase
from protocols.plan import converted, converters

MAX_TEXT = 10_000


def check_answers(
    form: Iterable[FormField], answers: Mapping[str, Any], today: date, context: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The answers as they will be kept, and a message for each refused field, by path (`sus_scores.2.score`).

    Kept answers are JSON values: numbers stay numbers, dates are ISO 8601 texts, a field hidden by `show_if` or left blank is absent.
    `today` is the date where the form is filled in. `context` holds the other names `show_if` may read.
    """
    fields = tuple(form)
    errors: dict[str, str] = {
        name: Phrase("this form has no such field; it has {fields}", fields=_listed(field.id for field in fields))
        for name in _unknown(fields, answers)
    }
    kept: dict[str, Any] = {}
    for field in fields:
        value = answers.get(field.id)
        if not _is_shown(field, fields, kept, context or {}):
            continue
        if _is_blank(value):
            if field.required:
                errors[field.id] = Phrase("an answer is required")
            continue
        try:
            kept[field.id] = _CHECKS[field.type](field, value, today)
        except _Refusals as refused:
            errors |= {f"{field.id}{path}": message for path, message in refused.by_path.items()}
    return kept, errors


def shown_fields(
    form: Iterable[FormField], answers: Mapping[str, Any], today: date, context: Mapping[str, Any] | None = None
) -> frozenset[str]:
    """The ids of the fields that apply to these answers: all but those that `show_if` hides, as `check_answers` reads it."""
    fields = tuple(form)
    if all(field.show_if is None for field in fields):
        return frozenset(field.id for field in fields)
    known = {field.id: answers[field.id] for field in fields if field.id in answers}
    kept, shown = check_answers(fields, known, today, context)[0], set()
    for place, field in enumerate(fields):
        before = {one.id: kept[one.id] for one in fields[:place] if one.id in kept}
        if _is_shown(field, fields, before, context or {}):
            shown.add(field.id)
    return frozenset(shown)


class _Refusals(Exception):
    def __init__(self, message: str = "", by_path: dict[str, str] | None = None) -> None:
        self.by_path = by_path or {"": message}


def _unknown(fields: tuple[FormField, ...], answers: Mapping[str, Any]) -> list[str]:
    known = {field.id for field in fields}
    return [str(name) for name in answers if name not in known]


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value == []


def _is_shown(field: FormField, fields: tuple[FormField, ...], kept: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    if field.show_if is None:
        return True
    condition = compile_condition(field.show_if)
    verdict = condition.evaluate({**context, "answers": converted(kept, converters(fields), condition.nulls)})
    return verdict.holds or verdict.undecided  # what is hidden is not kept


def _text(field: FormField, value: Any, today: date) -> str:
    if not isinstance(value, str):
        raise _Refusals(Phrase("expected text, not {value}", value=_described(value)))
    if len(value) > MAX_TEXT:
        raise _Refusals(Phrase("the text has {count} characters; at most {most} are kept", count=len(value), most=MAX_TEXT))
    if "\x00" in value:
        raise _Refusals(Phrase("the text holds a null character; remove it"))
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _Refusals(Phrase("the text holds half a character; type it again"))
    return value


def _number(field: FormField, value: Any, today: date) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:  # NaN is not below either
        raise _Refusals(Phrase("expected a number, not {value}", value=_described(value)))
    _within(field, value, field.unit or "")
    return value if abs(value) <= 2**53 else float(value)


def _integer(field: FormField, value: Any, today: date) -> int:
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


def _boolean(field: FormField, value: Any, today: date) -> bool:
    if not isinstance(value, bool):
        raise _Refusals(Phrase("expected true or false, not {value}", value=_described(value)))
    return value


def _date(field: FormField, value: Any, today: date) -> str:
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Refusals(Phrase("expected a date such as {today}, not {value}", today=today, value=_described(value))) from None
    if (earliest := _bound(field.min, today)) and day < earliest:
        raise _Refusals(Phrase("must not be before {bound}", bound=earliest))
    if (latest := _bound(field.max, today)) and day > latest:
        raise _Refusals(Phrase("must not be after {bound}", bound=latest))
    return day.isoformat()


def _bound(bound: float | str | None, today: date) -> date | None:
    if bound is None:
        return None
    return today if bound == "today" else date.fromisoformat(str(bound))


def _datetime(field: FormField, value: Any, today: date) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        example = f"{today.isoformat()}T09:30:00+01:00"
        raise _Refusals(
            Phrase("expected a date and time such as {example}, not {value}", example=example, value=_described(value))
        ) from None
    if moment.tzinfo is None:
        raise _Refusals(Phrase("the time needs its zone, such as +01:00 or Z"))
    if field.min is not None and _compared(moment, field.min, today) < 0:
        raise _Refusals(Phrase("must not be before {bound}", bound=_named(field.min)))
    if field.max is not None and _compared(moment, field.max, today) > 0:
        raise _Refusals(Phrase("must not be after {bound}", bound=_named(field.max)))
    return moment.isoformat()


def _named(bound: float | str) -> Any:
    """A bound as a message says it: `today`, a date, or the time as the protocol writes it."""
    if bound == "today":
        return Phrase("today")
    return date.fromisoformat(str(bound)) if len(str(bound)) == len("2026-01-31") else bound


def _compared(moment: datetime, bound: float | str, today: date) -> int:
    """Below, at or above a bound (-1, 0, 1): by day for `today` or a date, by the answer's own wall clock for a time without a zone."""
    if bound == "today" or len(str(bound)) == len("2026-01-31"):
        day = today if bound == "today" else date.fromisoformat(str(bound))
        return (moment.date() > day) - (moment.date() < day)
    limit = datetime.fromisoformat(str(bound))
    given = moment if limit.tzinfo else moment.replace(tzinfo=None)
    return (given > limit) - (given < limit)


def _choice(field: FormField, value: Any, today: date) -> str:
    if value not in field.option_values:
        raise _Refusals(Phrase("expected one of {options}, not {value}", options=_listed(field.option_values), value=_described(value)))
    return str(value)


def _choices(field: FormField, value: Any, today: date) -> list[str]:
    if not isinstance(value, list):
        raise _Refusals(Phrase("expected a list of choices, not {value}", value=_described(value)))
    chosen = list(dict.fromkeys(_choice(field, item, today) for item in value))
    if field.max is not None and len(chosen) > float(field.max):
        raise _Refusals(Phrase("{count} were chosen; at most {most} may be", count=len(chosen), most=_plain(float(field.max))))
    return chosen


def _file(field: FormField, value: Any, today: date) -> dict[str, Any]:
    """A file is a reference to a stored document: `{"name", "hash", "size"}`."""
    if not isinstance(value, dict) or not {"name", "hash"} <= set(value) <= {"name", "hash", "size"}:
        raise _Refusals(Phrase("expected a stored file with its name and hash, not {value}", value=_described(value)))
    name = str(value["name"])
    if field.accept and name.rsplit(".", 1)[-1].lower() not in field.accept:
        raise _Refusals(Phrase("expected a file of type {types}, not {name!r}", types=_listed(field.accept), name=name))
    size = value.get("size", 0)
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not all(isinstance(value[part], str) for part in ("name", "hash")):
        raise _Refusals(Phrase("expected a stored file with its name, hash and size in bytes"))
    if field.max_mb and size > field.max_mb * 1024 * 1024:
        raise _Refusals(Phrase("the file is larger than {most} MB", most=_plain(field.max_mb)))
    return dict(value)


def _table(field: FormField, value: Any, today: date) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise _Refusals(Phrase("expected a list of rows, not {value}", value=_described(value)))
    if len(value) > (most := int(field.max or MOST_ROWS)):
        raise _Refusals(Phrase("the table has {count} rows; at most {most} are kept", count=len(value), most=most))
    checked = [check_answers(field.columns, row, today) for row in value]
    if errors := {f".{number}.{path}": text for number, (_, refused) in enumerate(checked) for path, text in refused.items()}:
        raise _Refusals(by_path=errors)
    return [row for row, _ in checked]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _described(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


_CHECKS: dict[FieldType, Callable[[FormField, Any, date], Any]] = {
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
