"""Answers as people read them: the label of each field and what was answered, in their language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from insitu.entrance.language import N_, Language
from insitu.web.fields import digits, size_text
from protocols.model import FieldType, FormField, in_locale


def told(
    form: Sequence[FormField], answers: Mapping[str, Any], said: Language, timezone: str, names: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Each answered field with its `label` and one of `text`, `chosen`, `file` or `table` (`head`, `rows` of the same).

    `names` are people's, by id. Values that do not fit their field, as a draft may hold, are shown as they were typed.
    """
    return [_cell(field, answers[field.id], said, timezone, names or {}) for field in form if field.id in answers]


def _cell(field: FormField, value: Any, said: Language, timezone: str, names: Mapping[str, str]) -> dict[str, Any]:
    label = {"label": in_locale(field.label, said.code), "type": field.type.value}
    if field.type is FieldType.FILE and isinstance(value, Mapping) and "hash" in value:
        size = size_text(value.get("size", 0), said)
        return label | {"file": {"name": str(value.get("name", "")), "hash": str(value["hash"]), "size": size}}
    if field.type is FieldType.CHOICES and isinstance(value, list):
        return label | {"chosen": [_option(field, item, said) for item in value]}
    if field.type is FieldType.TABLE and isinstance(value, list):
        rows = [row for row in value if isinstance(row, Mapping)]
        cells = [[_cell(one, row[one.id], said, timezone, names) if one.id in row else None for one in field.columns] for row in rows]
        return label | {"table": {"head": [_heading(one, said) for one in field.columns], "rows": cells}}
    return label | {"text": _text(field, value, said, timezone, names)}


def _heading(field: FormField, said: Language) -> str:
    label = in_locale(field.label, said.code)
    return f"{label} ({field.unit})" if field.unit else label


def _option(field: FormField, value: Any, said: Language) -> str:
    known = next((option for option in field.options if option.value == value), None)
    return (in_locale(known.label, said.code) if known else "") or str(value)


def _text(field: FormField, value: Any, said: Language, timezone: str, names: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return said(N_("Yes")) if value else said(N_("No"))
    if isinstance(value, (int, float)):
        number = digits(value, said)
        return f"{number} {field.unit}" if field.unit else number
    match field.type:
        case FieldType.CHOICE:
            return _option(field, value, said)
        case FieldType.PERSON:
            return names.get(str(value), str(value))
        case FieldType.DATE:
            with suppress(ValueError, TypeError):
                return said.day(value)
        case FieldType.DATETIME:
            with suppress(ValueError, TypeError, OverflowError):  # a moment no clock of the site can show
                if datetime.fromisoformat(value).tzinfo:
                    return said.moment(value, timezone)
    return str(value)
