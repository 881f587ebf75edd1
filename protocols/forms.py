"""Forms: which answers a form accepts, field by field, and what it says to the ones it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

from protocols.conditions import compile_condition
from protocols.model import FieldType, FormField
from protocols.plan import converted, converters

MAX_TEXT = 10_000
MAX_ROWS = 5_000


def check_answers(
    form: Iterable[FormField], answers: Mapping[str, Any], today: date, context: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The answers as they will be kept, and a message for each refused field, by path (`sus_scores.2.score`).

    Kept answers are JSON values: numbers stay numbers, dates are ISO 8601 texts, a field hidden by `show_if` or left blank is absent.
    `today` is the date where the form is filled in. `context` holds the other names `show_if` may read.
    """
    fields = tuple(form)
    errors = {name: f"this form has no such field; it has {_listed(field.id for field in fields)}" for name in _unknown(fields, answers)}
    kept: dict[str, Any] = {}
    for field in fields:
        value = answers.get(field.id)
        if not _is_shown(field, fields, kept, context or {}):
            continue
        if _is_blank(value):
            if field.required:
                errors[field.id] = "an answer is required"
            continue
        try:
            kept[field.id] = _CHECKS[field.type](field, value, today)
        except _Refusals as refused:
            errors |= {f"{field.id}{path}": message for path, message in refused.by_path.items()}
    return kept, errors


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
    return compile_condition(field.show_if).evaluate({**context, "answers": converted(kept, converters(fields))}).holds


def _text(field: FormField, value: Any, today: date) -> str:
    if not isinstance(value, str):
        raise _Refusals(f"expected text, not {_described(value)}")
    if len(value) > MAX_TEXT:
        raise _Refusals(f"the text has {len(value)} characters; at most {MAX_TEXT} are kept")
    if "\x00" in value:
        raise _Refusals("the text holds a null character; remove it")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _Refusals("the text holds half a character; type it again")
    return value


def _number(field: FormField, value: Any, today: date) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:  # NaN is not below either
        raise _Refusals(f"expected a number, not {_described(value)}")
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
        raise _Refusals(f"expected a whole number, not {_described(value)}")
    if abs(value) > 2**53:
        raise _Refusals("the number is too large")
    _within(field, value, field.unit or "")
    return int(value)


def _within(field: FormField, value: float, unit: str) -> None:
    if field.min is not None and value < float(field.min):
        raise _Refusals(f"must be at least {float(field.min):g} {unit}".rstrip() + f", not {value:g}")
    if field.max is not None and value > float(field.max):
        raise _Refusals(f"must be at most {float(field.max):g} {unit}".rstrip() + f", not {value:g}")


def _boolean(field: FormField, value: Any, today: date) -> bool:
    if not isinstance(value, bool):
        raise _Refusals(f"expected true or false, not {_described(value)}")
    return value


def _date(field: FormField, value: Any, today: date) -> str:
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Refusals(f"expected a date such as {today.isoformat()}, not {_described(value)}") from None
    if (earliest := _bound(field.min, today)) and day < earliest:
        raise _Refusals(f"must not be before {earliest.isoformat()}")
    if (latest := _bound(field.max, today)) and day > latest:
        raise _Refusals(f"must not be after {latest.isoformat()}")
    return day.isoformat()


def _bound(bound: float | str | None, today: date) -> date | None:
    if bound is None:
        return None
    return today if bound == "today" else date.fromisoformat(str(bound))


def _datetime(field: FormField, value: Any, today: date) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Refusals(f"expected a date and time such as {today.isoformat()}T09:30:00+01:00, not {_described(value)}") from None
    if moment.tzinfo is None:
        raise _Refusals("the time needs its zone, such as +01:00 or Z")
    if field.min is not None and _compared(moment, field.min, today) < 0:
        raise _Refusals(f"must not be before {field.min}")
    if field.max is not None and _compared(moment, field.max, today) > 0:
        raise _Refusals(f"must not be after {field.max}")
    return moment.isoformat()


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
        raise _Refusals(f"expected one of {_listed(field.option_values)}, not {_described(value)}")
    return str(value)


def _choices(field: FormField, value: Any, today: date) -> list[str]:
    if not isinstance(value, list):
        raise _Refusals(f"expected a list of choices, not {_described(value)}")
    return list(dict.fromkeys(_choice(field, item, today) for item in value))


def _file(field: FormField, value: Any, today: date) -> dict[str, Any]:
    """A file is a reference to a stored document: `{"name", "hash", "size"}`."""
    if not isinstance(value, dict) or not {"name", "hash"} <= set(value) <= {"name", "hash", "size"}:
        raise _Refusals(f"expected a stored file with its name and hash, not {_described(value)}")
    name = str(value["name"])
    if field.accept and name.rsplit(".", 1)[-1].lower() not in field.accept:
        raise _Refusals(f"expected a file of type {_listed(field.accept)}, not {name!r}")
    size = value.get("size", 0)
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not all(isinstance(value[part], str) for part in ("name", "hash")):
        raise _Refusals("expected a stored file with its name, hash and size in bytes")
    if field.max_mb and size > field.max_mb * 1024 * 1024:
        raise _Refusals(f"the file is larger than {field.max_mb:g} MB")
    return dict(value)


def _table(field: FormField, value: Any, today: date) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise _Refusals(f"expected a list of rows, not {_described(value)}")
    if len(value) > MAX_ROWS:
        raise _Refusals(f"the table has {len(value)} rows; at most {MAX_ROWS} are kept")
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
