"""YAML documents as plain values that remember their lines."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from protocols.errors import Adviser, InvalidProtocol, Problem

Path = tuple[str | int, ...]

MAX_CHARACTERS = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 64
ADVICES = 50  # nearest spellings looked for in one document

_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(f"{_CORE}{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "merge", "map", "seq"))
_WORDING = {
    "found character '\\t' that cannot start any token": "a tab stands here; indent with spaces",
    "mapping values are not allowed here": "a second `key:` on one line, or a text with `: ` in it that needs quotes",
    "but found another document": "a second document begins (`---`); keep one to a file",
    "found unexpected end of stream": "a quote is not closed",
    "'<stream end>'": "the end",
    "hexdecimal": "hexadecimal",
}
_BASES = {"0x": 16, "0o": 8, "0b": 2}


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says: maps, lists, strings, numbers, booleans and null, with the line of each.

    A date stays the text that was written; `no` and `yes` are text, as in YAML 1.2.
    """

    value: dict[str, Any]
    file: str = ""
    lines: dict[Path, int] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    advice: Adviser = field(default_factory=lambda: Adviser(ADVICES), compare=False)

    def written(self, path: Path) -> str:
        """The value at a path as it stands in the text: `010780062` where the number read is 10780062."""
        value = self.at(path)
        return self.texts.get(path, str(value).lower() if isinstance(value, bool) else str(value))

    def line_of(self, path: str | Iterable[str | int]) -> int:
        """The line, from 1, of a path such as `steps.ethics.gate.pass` or `steps.3.gate.pass`, else of the nearest above."""
        return self.lines[self.walk(path)]

    def walk(self, path: str | Iterable[str | int]) -> Path:
        """The path as far as the document goes, items of lists by position even when they were named by their `id`."""
        value: Any = self.value
        walked: list[str | int] = []
        for part in path.split(".") if isinstance(path, str) else path:
            position = _position(value, part)
            if position is None:
                break
            value = value[position]
            walked.append(position)
        return tuple(walked)

    def at(self, path: Iterable[str | int]) -> Any:
        """The value at a path that `walk` gave."""
        value: Any = self.value
        for part in path:
            value = value[part]
        return value

    def name_of(self, path: Iterable[str | int]) -> str:
        """The path as people read it: `steps.ethics.gate.pass`, an item of a list by its `id` where it has one."""
        value: Any = self.value
        names: list[str] = []
        for part in path:
            known = _position(value, part) is not None
            value = value[part] if known else None
            name = value.get("id") if isinstance(part, int) and isinstance(value, dict) else None
            names.append(name if isinstance(name, str) and name else str(part))
        return ".".join(names)

    def problem(self, path: str | Iterable[str | int], code: str, message: str, level: Literal["error", "warning"] = "error") -> Problem:
        """A problem at a path, with its line and its readable name."""
        parts = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
        return Problem(self.line_of(parts), code, message, self.name_of(parts), self.file, level)


def read_document(text: str, file: str = "") -> Document:
    """The document of a YAML 1.2 text; `file` only names it in problems.

    Raises InvalidProtocol with every repeated key, foreign tag or odd key, or with the place where the text stops being YAML.
    Anchors cannot be referred to: a few lines of them could stand for gigabytes.
    """
    reading = _Reading(file)
    value = reading.value_of(_compose(text, file), ())
    if not reading.problems and not isinstance(value, dict):
        reading.problems.append(Problem(1, "not_a_map", "The document should be a map, with keys such as `insitu` and `steps`.", "", file))
    if reading.problems:
        raise InvalidProtocol(reading.problems)
    return Document(value, file, reading.lines, reading.texts)


class _Frugal(Composer):
    """Composes a bounded number of nodes, each once: an anchor is refused where it stands."""

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        self.nodes += 1
        if event.anchor is not None:
            raise ComposerError(None, None, "anchors and aliases (& and *) are not used in protocols: write it out", event.start_mark)
        if self.nodes > MAX_NODES:
            raise ComposerError(None, None, f"the document has more than {MAX_NODES:,} values", event.start_mark)
        return super().compose_node(parent, index)


def _compose(text: str, file: str) -> Node:
    if len(text) > MAX_CHARACTERS:
        raise _unreadable(0, "too_large", f"The document has {len(text):,} characters; the most is {MAX_CHARACTERS:,}.", file)
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Frugal
    yaml.max_depth = MAX_DEPTH
    try:
        node: Node | None = yaml.compose(text)
    except MaxDepthExceededError as error:
        raise _unreadable(_line(error), "too_deep", f"The document is nested more than {MAX_DEPTH} deep here.", file) from None
    except MarkedYAMLError as error:
        raise _unreadable(_line(error), "not_yaml", _sentence(error), file) from None
    except ReaderError as error:
        line, column = _place(text, error.position)
        message = f"The character U+{ord(text[error.position]):04X} at column {column} is not allowed in YAML; remove it."
        raise _unreadable(line, "not_yaml", message, file) from None
    except (YAMLError, ValueError, IndexError, RecursionError, AttributeError, TypeError, KeyError, AssertionError) as error:
        raise _unreadable(0, "not_yaml", f"The document cannot be read as YAML ({error or type(error).__name__}).", file) from None
    if node is None:
        raise _unreadable(1, "empty", "The document is empty; a protocol begins with `insitu: 1`.", file)
    return node


class _Reading:
    """One walk over the nodes, gathering lines and problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.texts: dict[Path, str] = {}
        self.problems: list[Problem] = []

    def value_of(self, node: Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if str(node.tag) not in _PLAIN_TAGS:
            self._problem(line, "foreign_tag", f"The tag {node.tag} is not used in protocols; remove it.", path)
            return None
        if isinstance(node, MappingNode):
            return self._map(node, path)
        if isinstance(node, SequenceNode):
            return [self.value_of(item, (*path, position)) for position, item in enumerate(node.value)]
        value = _scalar(str(node.tag).removeprefix(_CORE), node.value)
        if not isinstance(value, str):
            self.texts[path] = node.value
        return value

    def _map(self, node: MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._problem(line, "odd_key", "A key is a word, not a map or a list.", path)
                continue
            key = key_node.value
            if key in values:
                self._problem(line, "duplicate_key", f"`{key}` is given twice, first on line {self.lines[*path, key]}.", (*path, key))
                continue
            self.lines[*path, key] = line
            values[key] = self.value_of(value_node, (*path, key))
        return values

    def _problem(self, line: int, code: str, message: str, path: Path) -> None:
        self.problems.append(Problem(line, code, message, ".".join(map(str, path)), self.file))


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"true", "yes", "on", "y"}
    with suppress(ValueError):
        if kind == "int":
            digits = text.replace("_", "")
            return int(digits, _BASES.get(digits.lstrip("+-")[:2].lower(), 10))
        if kind == "float":
            return float(text.replace("_", ""))  # `.inf` and `.nan` are not numbers to a protocol: they stay text
    return text


def _position(value: Any, part: str | int) -> str | int | None:
    """Where `part` leads in a map or list, or None."""
    if isinstance(value, dict):
        return part if part in value else None
    if not isinstance(value, list):
        return None
    if isinstance(part, int) or part.isdecimal():
        return int(part) if int(part) < len(value) else None
    return next((i for i, item in enumerate(value) if isinstance(item, dict) and item.get("id") == part), None)


def _unreadable(line: int, code: str, message: str, file: str) -> InvalidProtocol:
    return InvalidProtocol([Problem(line, code, message, "", file)])


def _line(error: MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 0


def _sentence(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    column = f" at column {mark.column + 1}" if mark else ""
    problem = error.problem or "it ends too early"
    for theirs, ours in _WORDING.items():
        problem = problem.replace(theirs, ours)
    context = f" {error.context}" if (error.context or "").startswith("while parsing") else ""
    return f"This is not YAML{column}{context}: {problem}."


def _place(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")
