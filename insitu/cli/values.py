"""`--set field=value`: a launch field's value from the words of a command line, by the field's type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protocols.errors import InvalidInput, did_you_mean
from protocols.model import FieldType, FormField
from protocols.numbers import number_of, readings
from protocols.strict_json import NotJson, read_json

_TRUE, _FALSE = ("true", "yes", "oui", "vrai", "1"), ("false", "no", "non", "faux", "0")


def launch_values(given: Iterable[str], fields: Iterable[FormField]) -> dict[str, Any]:
    """The launch fields that `field=value` words name; dates and texts stay text, the ledger checks them.

    Raises InvalidInput for an unknown field or a value of another type.
    """
    known = {field.id: field for field in fields}
    found: dict[str, Any] = {}
    for one in given:
        name, sign, text = one.partition("=")
        name = name.strip()
        if not sign:
            raise InvalidInput(f"--set {one!r} should be field=value, such as planned_start=2026-05-01.")
        if name not in known:
            raise InvalidInput(f"--set {one!r}: this protocol has no launch field {name!r}.{did_you_mean(name, known)}")
        found[name] = typed(known[name], text.strip())
    return found


def typed(field: FormField, text: str) -> Any:
    """The value a text means for a field. Raises InvalidInput."""
    try:
        return _READERS.get(field.type, str)(text)
    except NotJson as error:
        raise InvalidInput(f"--set {field.id}: `{field.id}` should be {_EXPECTED[field.type]}, but {error}.") from None
    except ValueError:
        expected = _EXPECTED.get(field.type, "text")
        if field.type in (FieldType.NUMBER, FieldType.INTEGER) and (meant := readings(text)):
            expected += f" that can be read in one way: write {meant[0]}, or {meant[1]}"
        raise InvalidInput(f"--set {field.id}={text}: `{field.id}` should be {expected}.") from None


def _boolean(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError
    return text.lower() in _TRUE


def _number(text: str) -> float | int:
    number = number_of(text, decimal=".")
    if isinstance(number, str):
        raise ValueError
    return number


def _integer(text: str) -> int:
    number = _number(text)
    if not isinstance(number, int):
        raise ValueError
    return number


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_READERS: Mapping[FieldType, Callable[[str], Any]] = {
    FieldType.BOOLEAN: _boolean,
    FieldType.NUMBER: _number,
    FieldType.INTEGER: _integer,
    FieldType.CHOICES: _words,
    FieldType.TABLE: read_json,
    FieldType.FILE: read_json,
}
_EXPECTED: Mapping[FieldType, str] = {
    FieldType.BOOLEAN: "true or false (oui or non)",
    FieldType.NUMBER: "a number",
    FieldType.INTEGER: "a whole number",
    FieldType.TABLE: "JSON: a list of rows",
    FieldType.FILE: 'JSON: {"name", "hash"}',
}
