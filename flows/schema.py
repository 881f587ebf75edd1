"""Form fields as JSON Schema, which Prefect's own dialogs show and check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protocols.model import FieldType, FormField, in_locale

_TYPES: dict[FieldType, dict[str, Any]] = {
    FieldType.TEXT: {"type": "string"},
    FieldType.LONG_TEXT: {"type": "string", "format": "multiline"},
    FieldType.NUMBER: {"type": "number"},
    FieldType.INTEGER: {"type": "integer"},
    FieldType.BOOLEAN: {"type": "boolean"},
    FieldType.DATE: {"type": "string", "format": "date"},
    FieldType.DATETIME: {"type": "string", "format": "date-time"},
    FieldType.CHOICE: {"type": "string"},
    FieldType.CHOICES: {"type": "array", "uniqueItems": True},
    FieldType.FILE: {"type": "string"},
    FieldType.TABLE: {"type": "array"},
    FieldType.PERSON: {"type": "string"},
}


def object_schema(fields: Iterable[FormField], locale: str) -> dict[str, Any]:
    """Fields as an object's schema, in the order of the form."""
    listed = tuple(fields)
    return {
        "type": "object",
        "required": [field.id for field in listed if field.required],
        "properties": {field.id: _property(field, locale) | {"position": place} for place, field in enumerate(listed)},
    }


def _property(field: FormField, locale: str) -> dict[str, Any]:
    label = in_locale(field.label, locale)
    schema = {"title": f"{label} ({field.unit})" if field.unit else label} | _TYPES[field.type]
    if field.help:
        schema["description"] = in_locale(field.help, locale)
    if field.type in (FieldType.NUMBER, FieldType.INTEGER):
        schema |= {name: bound for name, bound in (("minimum", field.min), ("maximum", field.max)) if bound is not None}
    if field.type is FieldType.CHOICE:
        schema["enum"] = list(field.option_values)
    if field.type is FieldType.CHOICES:
        schema["items"] = {"type": "string", "enum": list(field.option_values)}
    if field.type is FieldType.TABLE:
        schema["items"] = object_schema(field.columns, locale)
    if field.type in (FieldType.CHOICES, FieldType.TABLE) and field.max is not None:
        schema["maxItems"] = int(field.max)
    return schema


def draft_schema(fields: Iterable[FormField], locale: str) -> dict[str, Any]:
    """A checkpoint's fields as a draft may fill them in: none is required, and files cannot be given there."""
    asked = tuple(field for field in fields if field.type is not FieldType.FILE)
    return object_schema(asked, locale) | {"title": "Draft", "required": []}
