"""Conditions: CEL sources compiled once and evaluated against values, naming what is missing.

What could hold the process that asks (`protocols.costs`) is not evaluated here: it is handed to whoever `evaluate_apart_by` named, and
fails where nobody was. Infinity and NaN never decide: a source that divides or multiplies is run as `protocols.guards` rewrites it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import takewhile
from types import ModuleType
from typing import Any, Protocol

from protocols.costs import LIMIT, MACROS, cost, is_heavy, size_of
from protocols.guards import guarded, named_by
from protocols.trees import Node, Unreadable, read_tree

CONSTANTS = {"true": True, "false": False}

_KEYWORDS = frozenset({"true", "false", "null", "in"})
_STRING = r"""[rRbB]?(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
_NAME = r"[A-Za-z_]\w*"
_TOKEN = re.compile(
    rf"""(?P<skipped>{_STRING}|//[^\n]*|(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)[uU]?)
       |(?P<path>(?:\.\s*)?{_NAME}(?:\s*\.\s*{_NAME}|\s*\[\s*(?:\d+|'[^'\\\]]*'|"[^"\\\]]*")\s*\])*)(?P<call>\s*\((?:\s*(?P<bound>{_NAME})\s*,)?)?""",
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(r"\[\s*['\"]?(.*?)['\"]?\s*\]|(\w+)")
_SYNTAX_ERROR = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.*?)(?: expecting .*)?$", re.MULTILINE)


TOO_LONG = {
    "fr": "l'évaluer prendrait trop de temps : il y a trop de lignes ou de boucles les unes dans les autres",
    "en": "evaluating it would take too long: there are too many rows, or loops within each other",
}


class InvalidCondition(ValueError):
    """A source that is not CEL; the message quotes it and says where it breaks."""


class NotEvaluated(Exception):
    """A condition that was not evaluated to its end: it would have taken too long."""


class _Program(Protocol):
    def execute(self, context: dict[str, Any]) -> Any: ...


# Given a source and its values, what it comes to: raises NotEvaluated, or what the evaluator raised.
Apart = Callable[[str, Mapping[str, Any]], Any]
_apart: list[Apart] = []


def evaluate_apart_by(apart: Apart) -> None:
    """Name who evaluates the conditions that could hold a process. A room that has processes does; without it they are not evaluated."""
    _apart[:] = [apart]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a condition holds. When it could not be evaluated it does not hold, and says why.

    `missing` names the values that are null or absent (`answers.included`; a list's items by position: `sites_of.stay.0.round`).
    `error` is set when nothing is missing and it failed all the same; `because` says it by locale where it is one of ours: a divisor
    that is zero, a result that is no number, an evaluation that would take too long. `undecided` marks the last: nobody knows whether it
    holds.
    """

    holds: bool
    missing: tuple[str, ...] = ()
    error: str = ""
    because: Mapping[str, str] = field(default_factory=dict, compare=False)
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """A condition ready to evaluate, with the names it reads.

    `names` are the top-level ones (`answers`, `steps`), `references` the dotted paths, `*` standing for each item of a list. `nulls`
    are the fields that it compares with null: their blank is null to it, that of any other list an empty list.
    """

    source: str
    names: frozenset[str] = frozenset()
    references: tuple[str, ...] = ()
    nulls: frozenset[str] = frozenset()
    _run: str = field(default="", repr=False, compare=False)
    _program: _Program | None = field(default=None, repr=False, compare=False)
    _tree: Node | None = field(default=None, repr=False, compare=False)
    _heavy: bool = field(default=False, repr=False, compare=False)

    def evaluate(self, context: Mapping[str, Any]) -> Verdict:
        """Say whether it holds on these values, which `cel_value` has made ready; never raises."""
        if self._program is None:
            return Verdict(CONSTANTS[self.source])
        values = {name: context[name] for name in self.names if name in context}
        try:
            result = self._apart(values) if self.could_hold(values) else self._program.execute(values)
        except NotEvaluated:
            return Verdict(False, (), TOO_LONG["en"], TOO_LONG, undecided=True)
        except Exception as error:  # noqa: BLE001 - the evaluator raises a dozen kinds; a condition that fails never holds
            return self._failed(context, str(error).partition("\n")[0])
        if isinstance(result, bool):
            return Verdict(result)
        return self._failed(context, f"it gives {result!r}, not true or false")

    @property
    def is_readable(self) -> bool:
        """Whether it can be evaluated at all: one that is nested so deeply that nobody can tell what it costs never is."""
        return self._program is None or self._tree is not None

    def could_hold(self, values: Mapping[str, Any]) -> bool:
        """Whether evaluating it on these values could hold the process, so that it is done apart."""
        if self._program is None or self._tree is None:
            return self._program is not None
        if not self._heavy and not any(map(_has_list, values.values())):
            return False
        return cost(self._tree, {name: size_of(value) for name, value in values.items()}) > LIMIT

    def _apart(self, values: Mapping[str, Any]) -> Any:
        if not _apart or not self.is_readable:
            raise NotEvaluated
        return _apart[0](self._run, values)

    def _failed(self, context: Mapping[str, Any], reason: str) -> Verdict:
        if because := named_by(reason):
            return Verdict(False, (), because["en"], because)
        missing = tuple(dict.fromkeys(name for reference in self.references for name in _missing(context, reference.split("."))))
        return Verdict(False, missing, "" if missing else reason)


def run(source: str, values: Mapping[str, Any]) -> Any:
    """What a source comes to, to its end, however long it takes: for the process that evaluates apart."""
    return _evaluator().compile(source).execute(dict(values))


@lru_cache(maxsize=4096)
def compile_condition(source: str) -> CompiledCondition:
    """The condition of a CEL source; the same source gives the same object. `true` and `false` cost nothing.

    Raises InvalidCondition, with the place, when the source is not CEL.
    """
    source = source.strip()
    if source in CONSTANTS:
        return CompiledCondition(source)
    try:
        program = _evaluator().compile(source)
    except ValueError as error:
        quoted = source if len(source) <= 80 else f"{source[:79]}…"
        raise InvalidCondition(f"`{quoted}` is not a condition: {_place(str(error))}.") from None
    references = tuple(dict.fromkeys(_references(source)))
    names = frozenset(path.partition(".")[0] for path in references)
    try:
        tree = read_tree(source)
        safe, nulls, heavy = guarded(source, tree), frozenset(_compared_with_null(tree)), is_heavy(tree)
        safe_program = program if safe == source else _evaluator().compile(safe)
    except (Unreadable, RecursionError, ValueError):  # nested too deeply, as it stands or as it is guarded
        return CompiledCondition(source, names, references, frozenset(), source, program)
    return CompiledCondition(source, names, references, nulls, safe, safe_program, tree, heavy)


def _compared_with_null(node: Node) -> Iterator[str]:
    """The last names of what is compared with null."""
    if node.op in ("==", "!="):
        for side, other in (node.args, node.args[::-1]):
            if other.op == "literal" and other.value is None:
                yield side.name or str(side.args[1].value if side.op == "[]" else "")
    for arg in node.args:
        yield from _compared_with_null(arg)


def _has_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, Mapping) and any(map(_has_list, value.values())))


@lru_cache(maxsize=1)
def _evaluator() -> Any:
    """The evaluator's package, imported at the first condition.

    It would import a command line of its own, which no condition needs and which takes 0.3 s of every process: an empty module
    stands in for it.
    """
    sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
    import cel

    return cel


def cel_value(value: Any) -> Any:
    """The value as CEL takes it: a date becomes midnight UTC of that day, a naive time is read as UTC, a decimal a double.

    ISO strings stay strings: only the form knows whether one is a date.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.min, UTC)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): cel_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [cel_value(item) for item in value]
    return value


def _references(source: str) -> Iterator[str]:
    bound: dict[str, str] = {}
    for token in _TOKEN.finditer(source):
        parts = [indexed or name for indexed, name in _PART.findall(token["path"] or "")]
        called = parts.pop() if token["call"] is not None else ""
        # What follows a bracket (`[1, 2].all(x, …)`) has no static path, nor has the variable bound over it.
        rooted = bool(parts) and not token["path"].startswith(".") and parts[0] not in _KEYWORDS and bound.get(parts[0]) != ""
        path = ".".join([bound.get(parts[0], parts[0]), *parts[1:]]) if rooted else ""
        if called in MACROS and token["bound"]:
            bound[token["bound"]] = path and f"{path}.*"
        if path and not path.endswith("*"):
            yield path


def _missing(value: Any, parts: list[str], walked: tuple[str, ...] = ()) -> Iterator[str]:
    if value is None:
        yield ".".join([*walked, *takewhile(lambda part: part != "*", parts)])
    elif parts and parts[0] == "*":
        items = value if isinstance(value, (list, tuple)) else ()
        for position, item in enumerate(items):
            yield from _missing(item, parts[1:], (*walked, str(position)))
    elif parts and isinstance(value, (list, tuple)):
        position = int(parts[0]) if parts[0].isdigit() else len(value)
        item = value[position] if position < len(value) else None
        yield from _missing(item, parts[1:], (*walked, parts[0]))
    elif parts:
        item = value.get(parts[0]) if isinstance(value, Mapping) else None
        yield from _missing(item, parts[1:], (*walked, parts[0]))


def _place(message: str) -> str:
    found = _SYNTAX_ERROR.search(message)
    if "Recursion limit" in message:
        return "it is nested too deeply"
    if found is None:
        return message.partition("\n")[0]
    what = (
        found[3]
        .replace("mismatched input", "unexpected")
        .replace("unexpected '<EOF>'", "something is missing")
        .replace("'<EOF>'", "the end")
    )
    line = f"line {found[1]}, " if found[1] != "1" else ""
    return f"{what} at {line}character {found[2]}"
