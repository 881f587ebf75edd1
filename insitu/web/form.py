"""Forms of protocols as HTML posts them: the answers that a posted form holds.

A control's name is `f-` and the field's path (`f-sus_scores.0.score`). What was typed is never lost: a text that is no number stays that
text until the form's check refuses it, and fields that `show_if` hides travel along in one hidden control.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import FormData, UploadFile

from protocols.errors import InvalidInput
from protocols.model import MOST_ROWS, FieldType, FormField
from protocols.numbers import number_of

PREFIX = "f-"
HIDDEN = "hidden-fields"  # the answers of fields that do not apply now, as JSON
ACT = "act"  # the button that was pressed

Store = Callable[[FormField, UploadFile], Mapping[str, Any]]

_DAY = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})")


@dataclass(slots=True)
class Filled:
    """What a posted form holds: answers by field, and messages for files that were refused, by path."""

    answers: dict[str, Any]
    errors: dict[str, str] = field(default_factory=dict)


def answers_of(form: Sequence[FormField], posted: FormData, *, timezone: str = "Europe/Paris") -> dict[str, Any]:
    """The answers of a posted form without files, by field; times are read on the clocks of `timezone`."""
    return filled(form, posted, timezone=timezone).answers


def filled(
    form: Sequence[FormField],
    posted: FormData,
    *,
    timezone: str = "Europe/Paris",
    decimal: str = ",",
    before: Mapping[str, Any] | None = None,
    store: Store | None = None,
) -> Filled:
    """The answers of a posted form, numbers read with the `decimal` mark of the page's language.

    `before` are those it was shown with: a file stored then is kept only if it is among them.

    `store` keeps a file that came along and gives its reference; it raises InvalidInput for one that the field does not accept.
    """
    reading = _Reading(posted, ZoneInfo(timezone), decimal, {mark_of(one): one for one in files_in(before)}, store, Filled({}))
    hidden = _hidden(posted)
    for one in form:
        value = reading.known_files(hidden[one.id]) if one.id in hidden else reading.value(one, one.id)
        if not _is_blank(value):
            reading.found.answers[one.id] = value
    return reading.found


@dataclass(slots=True)
class _Reading:
    posted: FormData
    zone: ZoneInfo
    decimal: str
    files: Mapping[str, Any]
    store: Store | None
    found: Filled

    def value(self, one: FormField, path: str) -> Any:
        match one.type:
            case FieldType.TABLE:
                return self.rows(one, path)
            case FieldType.FILE:
                return self.file(one, path)
            case FieldType.CHOICES:
                return [str(value) for value in self.posted.getlist(PREFIX + path)]
            case _:
                return self.single(one, str(self.posted.get(PREFIX + path, "")), str(self.posted.get(f"{PREFIX}{path}.was", "")))

    def single(self, one: FormField, text: str, was: str) -> Any:
        """The value of one control; `was` is the moment that it was shown with."""
        match one.type:
            case FieldType.TEXT | FieldType.LONG_TEXT | FieldType.PERSON | FieldType.CHOICE:
                return text.replace("\r\n", "\n")
            case FieldType.NUMBER | FieldType.INTEGER:
                return number_of(text, self.decimal)
            case FieldType.BOOLEAN:
                return {"true": True, "false": False, "": None}.get(text, text)
            case FieldType.DATE:
                return _day_of(text)
            case _:
                return _moment_of(text, self.zone, was)

    def file(self, one: FormField, path: str) -> Any:
        upload = self.posted.get(PREFIX + path)
        if isinstance(upload, UploadFile) and upload.filename and self.store:
            try:
                return dict(self.store(one, upload))
            except InvalidInput as refused:
                self.found.errors[path] = refused.args[0]
        return self.files.get(str(self.posted.get(f"{PREFIX}{path}.keep", "")))

    def rows(self, one: FormField, path: str) -> list[dict[str, Any]]:
        act, start = self.posted.get(ACT), f"{PREFIX}{path}."
        numbers = {name[len(start) :].partition(".")[0] for name in self.posted if name.startswith(start)}
        rows = []
        for number in sorted(int(number) for number in numbers if number.isdecimal() and len(number) < 7)[: MOST_ROWS + 1]:
            cells = {column.id: self.value(column, f"{path}.{number}.{column.id}") for column in one.columns}
            row = {name: value for name, value in cells.items() if not _is_blank(value)}
            if row and act != f"remove:{path}.{number}":
                rows.append(row)
        return [*rows, {}] if act == f"add:{path}" else rows

    def known_files(self, value: Any) -> Any:
        """The same value without references to files that were not there before."""
        if isinstance(value, dict) and "hash" in value:
            return self.files.get(mark_of(value))
        if isinstance(value, list):
            return [self.known_files(item) for item in value]
        return {name: self.known_files(item) for name, item in value.items()} if isinstance(value, dict) else value


def mark_of(file: Mapping[str, Any]) -> str:
    """By what a form tells a stored file that it keeps: the same content may have come under two names."""
    return f"{file['hash']}:{file.get('name', '')}"


def files_in(value: Any) -> Iterable[Mapping[str, Any]]:
    """The references to stored files among answers, those in tables too."""
    if isinstance(value, Mapping):
        if isinstance(value.get("hash"), str) and isinstance(value.get("name"), str):
            yield value
        else:
            for item in value.values():
                yield from files_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from files_in(item)


def _hidden(posted: FormData) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(str(posted.get(HIDDEN, "{}")))
        return found if isinstance(found, dict) else {}
    return {}


def _is_blank(value: Any) -> bool:
    return value is None or value in ("", [])


def _day_of(text: str) -> str:
    """An ISO date; 22/11/2026 is read as people here write it, for browsers that offer no calendar."""
    if written := _DAY.fullmatch(text.strip()):
        with suppress(ValueError):
            return date(int(written[3]), int(written[2]), int(written[1])).isoformat()
    return text


def _shown(was: str, zone: ZoneInfo) -> datetime | None:
    """The time that a control showed for a moment; None for what is no moment, or none that the site's clocks can show."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(was)
        return moment.astimezone(zone).replace(tzinfo=None) if moment.tzinfo else None
    return None


def _moment_of(text: str, zone: ZoneInfo, was: str = "") -> str:
    """A time on the site's clocks as an aware one; what is no time stays as it is.

    Left as it was shown it is the moment it `was`: an hour that the clocks show twice does not tell which of the two it is.
    """
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        if moment == _shown(was, zone):
            return was
        if moment.tzinfo is None:
            # By UTC and back: an hour that the clocks skip becomes the one they show instead.
            return moment.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).isoformat()
    return text
