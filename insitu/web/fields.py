"""Forms of protocols as pages show them: each field with its words, bounds, value and message."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from insitu.entrance.language import N_, Language
from insitu.web.form import PREFIX, mark_of
from protocols.conditions import compile_condition
from protocols.forms import shown_fields
from protocols.model import FieldType, FormField, in_locale
from protocols.phrase import Phrase

NEW_ROW = "__row__"  # stands for a row's number in the row that JavaScript copies
FEW = 6  # up to so many options are shown at once


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and for whom a form is shown. `persons` are the people (id, name) to choose among, by the role of the field."""

    language: Language
    today: date
    timezone: str = "Europe/Paris"
    persons: Mapping[str | None, Sequence[tuple[str, str]]] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)


def shown(
    form: Sequence[FormField], answers: Mapping[str, Any], setting: Setting, errors: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The fields that apply to these answers, as `parts/form.html` shows them; `errors` are messages by path."""
    wrong, said = errors or {}, setting.language
    texts = {path: said.text(message) for path, message in wrong.items()}
    applies = shown_fields(form, answers, setting.today, setting.context, setting.timezone)
    deciding = _deciding(form)
    return [_field(one, one.id, answers.get(one.id), setting, texts) | {"decides": one.id in deciding} for one in form if one.id in applies]


def hidden(form: Sequence[FormField], answers: Mapping[str, Any], setting: Setting) -> str:
    """The answers of the fields that do not apply now, as JSON: they come back if the fields do."""
    applies = shown_fields(form, answers, setting.today, setting.context, setting.timezone)
    kept = {one.id: answers[one.id] for one in form if one.id not in applies and one.id in answers}
    return json.dumps(kept, ensure_ascii=False) if kept else ""


def summary(form: Sequence[FormField], errors: Mapping[str, str], language: Language) -> list[tuple[str, str]]:
    """For each message, the control it stands at and the sentence with the field's label: what `ui.summary` takes."""
    return [(PREFIX + path, _labelled(form, path, language.text(message), language)) for path, message in errors.items()]


def _labelled(form: Sequence[FormField], path: str, message: str, language: Language) -> str:
    top, _, rest = path.partition(".")
    one = next((one for one in form if one.id == top), None)
    if one is None:
        return f"{path}: {message}"
    label = in_locale(one.label, language.code)
    number, _, column = rest.partition(".")
    if number.isdecimal():
        inner = _labelled(one.columns, column, message, language) if column else message
        return language(N_("{label}, row {number}: {message}"), label=label, number=int(number) + 1, message=inner)
    return language(N_("{label}: {message}"), label=label, message=message)


def _deciding(form: Sequence[FormField]) -> frozenset[str]:
    """The fields on which it depends whether others apply."""
    conditions = [compile_condition(one.show_if) for one in form if one.show_if]
    paths = [reference.split(".") for condition in conditions for reference in condition.references]
    return frozenset(path[1] for path in paths if path[0] == "answers" and len(path) > 1)


def _field(one: FormField, path: str, value: Any, setting: Setting, errors: Mapping[str, str]) -> dict[str, Any]:
    said, name = setting.language, PREFIX + path
    found: dict[str, Any] = {
        "id": name,
        "name": name,
        "path": path,
        "type": one.type.value,
        "label": in_locale(one.label, said.code),
        "help": in_locale(one.help, said.code),
        "bounds": _bounds(one, setting),
        "required": one.required,
        "unit": one.unit or "",
        "error": errors.get(path, ""),
        "value": typed_text(one, value, setting),
        "was": value if one.type is FieldType.DATETIME and isinstance(value, str) and value else "",
        "attributes": _attributes(one, value, setting),
    }
    found["described"] = " ".join(f"{name}-{part}" for part in ("help", "bounds", "error") if found[part])
    return found | _parts(one, path, value, setting, errors)


def _parts(one: FormField, path: str, value: Any, setting: Setting, errors: Mapping[str, str]) -> dict[str, Any]:
    match one.type:
        case FieldType.BOOLEAN:
            return {"options": _options(_yes_or_no(one, setting.language), _yes_text(value), path)}
        case FieldType.CHOICE | FieldType.PERSON:
            given = _choosable(one, value, setting)
            return {"options": _options(given, value, path), "many": len(given) > FEW or one.type is FieldType.PERSON}
        case FieldType.CHOICES:
            return {"options": _options(_choosable(one, value, setting), value if isinstance(value, list) else (), path)}
        case FieldType.FILE:
            return {"file": _stored(value, setting.language), "accept": ",".join(f".{kind}" for kind in one.kinds)}
        case FieldType.TABLE:
            rows = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
            return {
                "columns": [_column(column, setting) for column in one.columns],
                "rows": [_row(one, f"{path}.{number}", row, setting, errors) for number, row in enumerate(rows or [{}])],
                "copied": _row(one, f"{path}.{NEW_ROW}", {}, setting, {}),
            }
        case _:
            return {}


def _stored(value: Any, said: Language) -> dict[str, str] | None:
    if not isinstance(value, Mapping) or "hash" not in value:
        return None
    return {"mark": mark_of(value), "name": str(value.get("name", "")), "size": size_text(value.get("size", 0), said)}


def size_text(size: Any, said: Language) -> str:
    """A file's size in words: kilobytes up to a megabyte."""
    if not isinstance(size, (int, float)) or size <= 0:
        return ""
    if size < 1024 * 1024:
        return said(N_("{size} kB"), size=said.number(max(1, round(size / 1024))))
    return said(N_("{size} MB"), size=said.number(round(size / 1024 / 1024, 1)))


def _yes_text(value: Any) -> str:
    return {"True": "true", "False": "false"}.get(str(value), "") if isinstance(value, bool) else ""


def _column(one: FormField, setting: Setting) -> dict[str, Any]:
    label = in_locale(one.label, setting.language.code)
    return {"label": label, "unit": one.unit or "", "required": one.required, "bounds": _bounds(one, setting)}


def _row(one: FormField, path: str, row: Mapping[str, Any], setting: Setting, errors: Mapping[str, str]) -> dict[str, Any]:
    applies = shown_fields(one.columns, row, setting.today, timezone=setting.timezone)
    cells = [_field(column, f"{path}.{column.id}", row.get(column.id), setting, errors) for column in one.columns]
    number = path.rpartition(".")[2]
    return {
        "path": path,
        "number": int(number) + 1 if number.isdecimal() else NEW_ROW,
        "cells": [cell if column.id in applies or cell["error"] else None for column, cell in zip(one.columns, cells, strict=True)],
    }


def _yes_or_no(one: FormField, said: Language) -> list[tuple[str, str]]:
    asked = [("true", said(N_("Yes"))), ("false", said(N_("No")))]
    return asked if one.required else [*asked, ("", said(N_("No answer")))]


def _choosable(one: FormField, value: Any, setting: Setting) -> list[tuple[str, str]]:
    if one.type is FieldType.PERSON:
        known = list(setting.persons.get(one.role, ()))
        return known if not value or value in [person for person, _ in known] else [*known, (str(value), str(value))]
    return [(option.value, in_locale(option.label, setting.language.code) or option.value) for option in one.options]


def _options(pairs: Iterable[tuple[str, str]], chosen: Any, path: str) -> list[dict[str, Any]]:
    """The first bears the field's own id, so that the summary of errors leads to it."""
    picked = {str(item) for item in chosen} if isinstance(chosen, (list, tuple)) else {"" if chosen is None else str(chosen)}
    ids = (PREFIX + path if not place else f"{PREFIX}{path}-{place}" for place in range(10**6))
    return [{"value": value, "label": label, "checked": value in picked, "id": next(ids)} for value, label in pairs]


def typed_text(one: FormField, value: Any, setting: Setting) -> str:
    """A value as it stands in its control: decimals by the reader's custom, times on the site's clocks, anything odd as it was typed."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, (int, float)):
        return digits(value, setting.language)
    if one.type is FieldType.DATETIME and isinstance(value, str):
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value)
            local = moment.astimezone(ZoneInfo(setting.timezone)) if moment.tzinfo else moment
            return local.replace(tzinfo=None).isoformat(timespec="auto" if local.second or local.microsecond else "minutes")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def digits(value: float, said: Language) -> str:
    if isinstance(value, float) and not abs(value) < 1e300:
        return ""
    text = format(Decimal(repr(value)), "f")
    return text.replace(".", ",") if said.code == "fr" else text


def _attributes(one: FormField, value: Any, setting: Setting) -> dict[str, str]:
    """The control's kind and the bounds a browser can show; a text that is no date is shown as text, so that it can be mended."""
    match one.type:
        case FieldType.NUMBER:
            return {"type": "text", "inputmode": "decimal"}
        case FieldType.INTEGER:
            return {"type": "text", "inputmode": "numeric"}
        case FieldType.DATE | FieldType.DATETIME:
            kind = "date" if one.type is FieldType.DATE else "datetime-local"
            return {"type": kind if _reads(value) else "text"} | (_date_bounds(one, setting) if one.type is FieldType.DATE else {})
        case _:
            return {"type": "text", "dir": "auto"}


def _reads(value: Any) -> bool:
    if value in (None, ""):
        return True
    with suppress(ValueError, TypeError):
        datetime.fromisoformat(value)
        return True
    return False


def _date_bounds(one: FormField, setting: Setting) -> dict[str, str]:
    bounds = {"min": one.min, "max": one.max}
    return {name: setting.today.isoformat() if bound == "today" else str(bound) for name, bound in bounds.items() if bound is not None}


def _bounds(one: FormField, setting: Setting) -> str:
    """What a field accepts, in words beside it; "" for anything."""
    said, low, high = setting.language, one.min, one.max
    if one.type is FieldType.FILE:
        return _file_bounds(one, said)
    if low is None and high is None:
        return ""
    if one.type in (FieldType.TABLE, FieldType.CHOICES):
        most = N_("At most {high} rows") if one.type is FieldType.TABLE else N_("At most {high} choices")
        return said(most, high=_bound(high, said))
    if one.type in (FieldType.DATE, FieldType.DATETIME):
        words = {"low": said.text(_when(low)), "high": said.text(_when(high))}
        if low is not None and high is not None:
            return said(N_("From {low} to {high}"), **words)
        return said(N_("{high} at the latest"), **words) if low is None else said(N_("{low} at the earliest"), **words)
    unit = f" {one.unit}" if one.unit else ""
    words = {"low": _bound(low, said), "high": _bound(high, said), "unit": unit}
    if low is not None and high is not None:
        return said(N_("Between {low} and {high}{unit}"), **words)
    return said(N_("At most {high}{unit}"), **words) if low is None else said(N_("At least {low}{unit}"), **words)


def _file_bounds(one: FormField, said: Language) -> str:
    kinds = ", ".join(kind.upper() for kind in one.kinds)
    most = said.number(one.max_mb) if one.max_mb else ""
    if kinds and most:
        return said(N_("{kinds}, at most {most} MB"), kinds=kinds, most=most)
    return said(N_("At most {most} MB"), most=most) if most else kinds


def _bound(bound: float | str | None, said: Language) -> str:
    return "" if bound is None else said.number(float(bound))


def _when(bound: float | str | None) -> str:
    if bound == "today":
        return Phrase("Today")
    with suppress(ValueError):
        return Phrase("{day}", day=date.fromisoformat(str(bound)))
    return "" if bound is None else str(bound)
