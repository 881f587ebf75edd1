"""JSON as people and programs send it: no key twice in one object, and nested no deeper than anything here is.

Readers of JSON disagree about a key that is given twice: most keep the last, and say nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any

from protocols.phrase import Phrase

DEEPEST = 32  # a row of a table, in answers, in a body is 5 deep

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:]')


class NotJson(ValueError):
    """A text that is not read as JSON; the message says where and why."""


def read_json(text: str) -> Any:
    """What a JSON text says. Raises NotJson when it is none, is nested too deeply, or gives a key twice."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise NotJson(str(error)) from None
    look_into(text, found)
    return found


def look_into(text: str, found: Any) -> None:
    """Raise NotJson when what a text says is nested too deeply, or the text gives a key twice and so says two things."""
    if _is_deeper(found, DEEPEST):
        raise _too_deep()
    if _has_double(text):
        key, line, first = _double(text)
        raise NotJson(
            Phrase("the key {key} is given twice in one object, on line {line} and first on line {first}", key=key, line=line, first=first)
        )


def _too_deep() -> NotJson:
    return NotJson(Phrase("it is nested more than {deepest} deep", deepest=DEEPEST))


def _is_deeper(value: Any, deepest: int) -> bool:
    level = [value]
    for _ in range(deepest):
        level = [part for one in level if isinstance(one, (dict, list)) for part in (one.values() if isinstance(one, dict) else one)]
    return any(isinstance(one, (dict, list)) for one in level)


def _has_double(text: str) -> bool:
    """Whether some object gives a key twice: the quick look, which does not know where."""
    doubled: list[bool] = []

    def noted(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            doubled.append(True)

    json.loads(text, object_pairs_hook=noted, parse_int=float)
    return bool(doubled)


def _double(text: str) -> tuple[str, int, int]:
    """The first key that is given twice, with its line and that of the one before."""
    open_: list[dict[str, int]] = []
    word, place = "", 0
    for found in _PART.finditer(text):
        part = found[0]
        if part in "[{":
            open_.append({})
        elif part in "]}":
            open_.pop()
        elif part == ":":
            key, line = str(json.loads(word)), text.count("\n", 0, place) + 1
            if key in open_[-1]:
                return key, line, open_[-1][key]
            open_[-1][key] = line
        else:
            word, place = part, found.start()
    raise AssertionError("a quick look found a key that is given twice")
