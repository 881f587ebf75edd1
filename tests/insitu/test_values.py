"""`--set field=value` gives what the field's type says."""

from __future__ import annotations

from typing import Any

import pytest

from insitu.cli.values import typed
from protocols.errors import InvalidInput
from protocols.model import FieldType, FormField

GOOD: list[tuple[str, str, Any]] = [
    ("boolean", "true", True),
    ("boolean", "Oui", True),
    ("boolean", "0", False),
    ("boolean", "non", False),
    ("integer", "120", 120),
    ("integer", "1 200", 1200),
    ("integer", "-3", -3),
    ("number", "1,5", 1.5),
    ("number", "180000", 180000),
    ("date", "2026-05-01", "2026-05-01"),
    ("text", "a=b", "a=b"),
    ("choice", "MR-001", "MR-001"),
    ("choices", "a, b,", ["a", "b"]),
    ("table", '[{"x": 1}]', [{"x": 1}]),
]
BAD = [
    ("boolean", "maybe"),
    ("integer", "1.5"),
    ("integer", "many"),
    ("integer", "4 0"),
    ("number", "1.2.3"),
    ("number", "1,500"),
    ("table", "x"),
]


def field(type_: str) -> FormField:
    return FormField(id="it", type=FieldType(type_), label="It", options=({"value": "a"}, {"value": "b"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("type_", "text", "value"), GOOD)
def test_a_word_becomes_the_value_its_field_takes(type_: str, text: str, value: Any) -> None:
    found = typed(field(type_), text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("type_", "text"), BAD)
def test_a_word_of_another_type_is_refused_by_its_field_s_name(type_: str, text: str) -> None:
    with pytest.raises(InvalidInput, match="`it` should be"):
        typed(field(type_), text)
