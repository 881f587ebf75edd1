"""Reading a protocol: a text becomes a `Protocol`, or every problem of its shape with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from protocols.documents import Document, Path, read_document
from protocols.errors import InvalidProtocol, Problem
from protocols.model import UNREAD, Protocol


@dataclass(frozen=True, slots=True)
class Parsed:
    """A protocol and the document it was read from, which knows the lines."""

    protocol: Protocol
    document: Document

    def line_of(self, path: str | Iterable[str | int]) -> int:
        """The line, from 1, of a path such as `steps.ethics.gate.pass` or `steps.3.gate.pass`."""
        return self.document.line_of(path)


def parse(text: str, file: str = "") -> Parsed:
    """The protocol of a YAML text. What spans several keys (names, conditions, reachability) is left to `protocols.lint`.

    Raises InvalidProtocol with every problem of shape, in the order of the lines.
    """
    document = read_document(text, file)
    try:
        protocol = Protocol.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidProtocol(sorted(_problems(error, document), key=lambda problem: problem.line)) from None
    return Parsed(protocol, document)


def from_json(canonical: str) -> Protocol:
    """The protocol of a canonical form that was checked before it was kept, without lint.

    Raises InvalidProtocol when it is not one: the database was tampered with, or written by a later release.
    """
    try:
        return Protocol.model_validate_json(canonical)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = f"A stored protocol cannot be read at `{where}`: {first['msg']}. Was it written by a later release of insitu?"
        raise InvalidProtocol([Problem(0, "bad_stored_protocol", message, where)]) from None


@dataclass(frozen=True, slots=True)
class _Mismatch:
    """One of pydantic's errors, placed in the document: `path` is what was written, `rest` what it adds to it."""

    path: Path
    rest: tuple[str | int, ...]
    error: ErrorDetails

    @property
    def kind(self) -> str:
        return "unknown_key" if "[key]" in self.rest or self.error["type"] == "extra_forbidden" else self.error["type"]


def _problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    placed = [_placed(detail, document) for detail in error.errors(include_url=False)]
    above = {mismatch.path[:end] for mismatch in placed for end in range(len(mismatch.path))}
    found: dict[Path, list[_Mismatch]] = {}
    unknown: dict[Path, list[str]] = {}
    for mismatch in placed:
        if _is_echo(mismatch, above, document):
            continue
        found.setdefault(mismatch.path, []).append(mismatch)
        if mismatch.kind == "unknown_key":
            unknown.setdefault(mismatch.path[:-1], []).append(str(mismatch.path[-1]))
    for path, here in found.items():
        absent = [str(mismatch.rest[0]) for mismatch in here if mismatch.kind == "missing"]
        wrong = [mismatch for mismatch in here if mismatch.kind != "missing"]
        for key in absent:
            if not any(document.advice.nearest(word, [key]) for word in unknown.get(path, [])[:_FEW]):
                yield document.problem(path, "missing_key", f"{_name(document, path)} needs a key `{key}`.")
        if wrong:
            yield _problem(wrong, path, document)


def _placed(detail: ErrorDetails, document: Document) -> _Mismatch:
    """The error where the document has it: a union adds the name of each of its branches to the location."""
    path: Path = ()
    rest: list[str | int] = []
    for part in detail["loc"]:
        longer = (*path, part)
        if not rest[1:] and document.walk(longer) == longer:
            path, rest = longer, []
        else:
            rest.append(part)
    return _Mismatch(path, tuple(rest), detail)


def _is_echo(mismatch: _Mismatch, above: set[Path], document: Document) -> bool:
    """Whether an error only repeats another: a list emptied of its bad items, or the branch of a union that was not meant.

    `above` are the paths that something is wrong below.
    """
    value = document.at(mismatch.path)
    if mismatch.kind == "too_short" and isinstance(value, list):
        return bool(value)
    return mismatch.kind == "string_type" and isinstance(value, dict) and mismatch.path in above


def _problem(wrong: list[_Mismatch], path: Path, document: Document) -> Problem:
    key, value, kind = str(path[-1]) if path else "", document.at(path), wrong[0].kind
    if kind == "unknown_key":
        known = _keys_at(path[:-1]) or _words(wrong[0].error)
        if not known:
            return document.problem(path, "bad_value", f"{_name(document, path)} should be {_expected(wrong[0].error)}.")
        parent = f" in {_name(document, path[:-1])}" if path[1:] else ""
        return document.problem(path, "unknown_key", f"`{key}` is not a known key{parent}.{document.advice.did_you_mean(key, known)}")
    expected = " or ".join(dict.fromkeys(_expected(mismatch.error) for mismatch in wrong))
    if path[-2:-1] == ("options",):
        expected = "a text, or a map with a `value` and a `label`"
    if path == ("version",):
        return document.problem(path, "bad_value", f"`version` should be {_VERSION}, not {_shown(document, path)}.")
    words = [word for mismatch in wrong for word in _words(mismatch.error)]
    near = document.advice.nearest(value, words) if isinstance(value, str) else None
    hint = f" Did you mean `{near}`?" if near else _hint(kind, document, path)
    code = "unknown_word" if kind in {"enum", "literal_error"} else "bad_value"
    return document.problem(path, code, f"{_name(document, path)} should be {expected}, not {_shown(document, path)}.{hint}")


_FEW = 10  # words among which a missing key may have been misspelt
_VERSION = "three numbers such as 1.0.0"
_TYPES = {
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a map of keys and values",
    "model_type": "a map of keys and values",
    "tuple_type": "a list",
    "too_short": "a list or map with at least one entry",
}
_BOUNDS = {"greater_than": "more than {gt}", "greater_than_equal": "at least {ge}", "less_than": "less than {lt}"}
_BOUNDS |= {"less_than_equal": "at most {le}", "string_too_short": "at least {min_length} character long"}
_BOUNDS |= {"string_too_long": "at most {max_length} characters long"}
_PATTERNS = {
    "^[a-z]": "a name of small letters and digits, joined by `_` or `-`, that begins with a letter",
    "^(0|": _VERSION,
    "^[1-9]": "a number of days or hours such as 7d or 12h",
}


def _expected(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if words := _words(error):
        return " or ".join([*filter(None, [", ".join(words[:-1])]), words[-1]])
    if kind == "string_pattern_mismatch":
        return next((said for start, said in _PATTERNS.items() if context["pattern"].startswith(start)), "written otherwise")
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context).removesuffix(".0")
    if kind.startswith("int_"):
        return "a whole number"
    if kind.startswith("float_"):
        return "a number"
    return _TYPES.get(kind) or error["msg"].removeprefix("Input should be ")


def _words(error: ErrorDetails) -> list[str]:
    if error["type"] not in {"enum", "literal_error"}:
        return []
    expected = str(error.get("ctx", {}).get("expected", ""))
    return re.findall(r"'([^']*)'", expected) or [expected]


def _hint(kind: str, document: Document, path: Path) -> str:
    value = document.at(path)
    if isinstance(value, (bool, int, float)) and (kind == "string_type" or path[-2:-1] == ("options",)):
        scale = " To compute with the answers of a scale, use `type: integer` with `min` and `max` instead of options."
        return f" Put quotes around it: '{document.written(path)}'.{scale if 'options' in path[-3:] and 0 in path[-2:] else ''}"
    if kind == "tuple_type" and isinstance(value, (str, dict)):
        return " Put square brackets around it, or a dash before it."
    return ""


def _name(document: Document, path: Path) -> str:
    return f"`{document.name_of(path)}`" if path else "The protocol"


def _shown(document: Document, path: Path) -> str:
    """A value as it was written, for a sentence."""
    value = document.at(path)
    if isinstance(value, (dict, list)):
        return ("a map" if isinstance(value, dict) else "a list") if value else "empty"
    if value is None:
        return "empty"
    text = document.written(path)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:59]}…`"


def _keys_at(path: Path) -> list[str]:
    """The keys to write at a path, none when the path leads to a map with free keys."""
    here: Any = Protocol
    for part in path:
        here = _inside(here, str(part))
    model = _model_of(here)
    names = [shape.alias or name for name, shape in model.model_fields.items()] if model else []
    return [name for name in names if path or name not in UNREAD]


def _inside(annotation: Any, part: str) -> Any:
    if model := _model_of(annotation):
        return next((shape.annotation for name, shape in model.model_fields.items() if (shape.alias or name) == part), None)
    kinds = {get_origin(kind): get_args(kind) for kind in _alternatives(annotation)}
    return kinds[tuple][0] if tuple in kinds else kinds[dict][1] if dict in kinds else None


def _model_of(annotation: Any) -> type[BaseModel] | None:
    kinds = (kind for kind in _alternatives(annotation) if isinstance(kind, type) and not get_origin(kind))
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _alternatives(inner[0])
    elif origin in {Union, UnionType}:
        for kind in inner:
            yield from _alternatives(kind)
    else:
        yield annotation
