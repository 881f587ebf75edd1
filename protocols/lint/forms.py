"""What can be wrong with the fields of a form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime

from protocols.documents import Document
from protocols.errors import Problem
from protocols.lint.scopes import scope_of_show_if, type_of_form
from protocols.lint.types import check
from protocols.model import MOST_ROWS, FieldType, FormField, Protocol

Path = tuple[str | int, ...]

_NUMBERS = frozenset({FieldType.NUMBER, FieldType.INTEGER})
_DATES = frozenset({FieldType.DATE, FieldType.DATETIME})
_CHOICES = frozenset({FieldType.CHOICE, FieldType.CHOICES})
_COUNTED = frozenset({FieldType.TABLE, FieldType.CHOICES})
_ONLY_ON: dict[str, frozenset[FieldType]] = {
    "min": _NUMBERS | _DATES,
    "max": _NUMBERS | _DATES | _COUNTED,
    "unit": _NUMBERS,
    "options": _CHOICES,
    "accept": frozenset({FieldType.FILE}),
    "max_mb": frozenset({FieldType.FILE}),
    "columns": frozenset({FieldType.TABLE}),
    "role": frozenset({FieldType.PERSON}),
}


def form_problems(form: tuple[FormField, ...], path: Path, protocol: Protocol, document: Document) -> Iterator[Problem]:
    """Everything wrong with the fields of a form that stands at `path`."""
    yield from duplicates([field.id for field in form], path, "field", document)
    types = type_of_form(form)
    for position, field in enumerate(form):
        here = (*path, position)
        yield from _key_problems(field, here, document)
        yield from _bound_problems(field, here, document)
        yield from _accept_problems(field, here, document)
        yield from _role_problems(field, here, protocol, document)
        yield from duplicates(list(field.option_values), (*here, "options"), "option", document)
        yield from _column_problems(field, here, protocol, document)
        if field.show_if is not None:
            for code, message, level in check(field.show_if, scope_of_show_if(field, types), document.advice).findings:
                yield document.problem((*here, "show_if"), code, message, level)


def duplicates(ids: list[str], path: Path, noun: str, document: Document) -> Iterator[Problem]:
    """A problem for each id that stands a second time in the list at `path`."""
    first, count = {name: position for position, name in reversed([*enumerate(ids)])}, Counter(ids)
    for position, name in enumerate(ids):
        if position != first[name]:
            line = document.line_of((*path, first[name]))
            message = f"There are {count[name]} {noun}s `{name}`, the first on line {line}: give each its own name."
            yield document.problem((*path, position), f"duplicate_{noun}", message)


def _key_problems(field: FormField, path: Path, document: Document) -> Iterator[Problem]:
    for key, types in _ONLY_ON.items():
        if key in field.model_fields_set and field.type not in types:
            message = f"`{key}` has no meaning on `{field.id}`, a {field.type}: only on {_listed(types)}."
            yield document.problem((*path, key), "misplaced_key", message)
    if field.type in _CHOICES and not field.options:
        yield document.problem(path, "missing_options", f"`{field.id}` is a {field.type} and needs `options`, a list of its answers.")
    if field.type is FieldType.TABLE and not field.columns:
        yield document.problem(path, "missing_columns", f"`{field.id}` is a table and needs `columns`, a list of fields.")


def _listed(types: Iterable[FieldType]) -> str:
    return " or ".join(sorted(types))


def _bound_problems(field: FormField, path: Path, document: Document) -> Iterator[Problem]:
    if field.type in _COUNTED:
        yield from _count_problems(field, path, document)
    if field.type not in _NUMBERS | _DATES:
        return
    bounds = {key: bound for key, bound in (("min", field.min), ("max", field.max)) if bound is not None}
    bad = {key: sentence for key, bound in bounds.items() if (sentence := _bad_bound(field, bound))}
    for key, sentence in bad.items():
        yield document.problem(
            (*path, key), "bad_bound", f"`{key}` of `{field.id}` should be {sentence}, not `{document.written((*path, key))}`."
        )
    if len(bounds) == 2 and not bad and _is_reversed(*bounds.values()):
        message = f"No answer fits `{field.id}`: its `min` {field.min:g} is above its `max` {field.max:g}."
        if field.type in _DATES:
            message = f"No answer fits `{field.id}`: its `min` {field.min} is after its `max` {field.max}."
        yield document.problem((*path, "min"), "empty_range", message)


def _count_problems(field: FormField, path: Path, document: Document) -> Iterator[Problem]:
    most = MOST_ROWS if field.type is FieldType.TABLE else len(field.options)
    if field.max is not None and not (isinstance(field.max, (int, float)) and field.max == int(field.max) and 1 <= field.max <= most):
        message = f"`max` of `{field.id}` should be a whole number from 1 to {most}, not `{document.written((*path, 'max'))}`."
        yield document.problem((*path, "max"), "bad_bound", message)


def _bad_bound(field: FormField, bound: float | str) -> str:
    if field.type in _NUMBERS:
        if not isinstance(bound, (int, float)) or not math.isfinite(bound):
            return "a number"
        return "a whole number" if field.type is FieldType.INTEGER and bound != int(bound) else ""
    if field.type is FieldType.DATE:
        return "" if bound == "today" or _is_date(bound) else "`today` or a date such as 2026-01-31"
    return "" if bound == "today" or _is_datetime(bound) else "`today` or a time such as 2026-01-31T09:00"


def _is_date(bound: float | str) -> bool:
    try:
        return isinstance(bound, str) and len(bound) == 10 and bool(date.fromisoformat(bound))
    except ValueError:
        return False


def _is_datetime(bound: float | str) -> bool:
    try:
        return isinstance(bound, str) and bool(datetime.fromisoformat(bound))
    except ValueError:
        return False


def _is_reversed(low: float | str, high: float | str) -> bool:
    if isinstance(low, str) or isinstance(high, str):
        return "today" not in (low, high) and str(low) > str(high)
    return low > high


def _accept_problems(field: FormField, path: Path, document: Document) -> Iterator[Problem]:
    for position, kind in enumerate(field.kinds):
        if not kind.isascii() or not kind.isalnum():
            message = f"`{kind}` in `accept` of `{field.id}` is no ending of a file's name: no file would be taken. Write `pdf`."
            yield document.problem((*path, "accept", position), "bad_accept", message)


def _role_problems(field: FormField, path: Path, protocol: Protocol, document: Document) -> Iterator[Problem]:
    if field.role is not None and field.role not in protocol.roles:
        message = f"`{field.role}` is not a role of this protocol.{document.advice.did_you_mean(field.role, protocol.roles)}"
        yield document.problem((*path, "role"), "unknown_role", message)


def _column_problems(field: FormField, path: Path, protocol: Protocol, document: Document) -> Iterator[Problem]:
    if field.type is not FieldType.TABLE:
        return
    for position, column in enumerate(field.columns):
        here = (*path, "columns", position)
        if column.type is FieldType.TABLE:
            yield document.problem((*here, "type"), "nested_table", f"`{column.id}` is a table in a table: use a field of its own.")
        if column.show_if is not None:
            message = f"`show_if` cannot be used on a column; put it on the table `{field.id}`."
            yield document.problem((*here, "show_if"), "show_if_in_table", message)
    plain = tuple(column.model_copy(update={"show_if": None}) for column in field.columns)
    yield from form_problems(plain, (*path, "columns"), protocol, document)
