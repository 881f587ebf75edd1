"""The types that conditions speak of, and the check of a condition against the names it may use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from protocols.conditions import InvalidCondition, compile_condition
from protocols.costs import LIMIT, MACROS, SCALAR, Size, cost, milliseconds
from protocols.errors import Adviser
from protocols.lint.expressions import read_expression
from protocols.trees import Node

Kind = Literal["text", "double", "int", "bool", "timestamp", "duration", "list", "map", "null", "any"]
Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Names:
    """The names a map has, and those it refuses here though they exist, with a code and a sentence."""

    noun: str
    known: Mapping[str, Type]
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Type:
    """What a value is. `words` are the only texts it can be; `written` says they stand in the condition itself.

    A map without `names` is open: anything may be read from it. An `optional` value may be null. `low` is the least a number can be;
    `size` how large the value can be, for what a condition costs.
    """

    kind: Kind
    item: Type | None = None
    names: Names | None = None
    words: tuple[str, ...] | None = None
    written: bool = False
    optional: bool = False
    low: float | None = None
    size: Size = SCALAR

    @property
    def sized(self) -> Size:
        """Its size, with those of its parts to be looked up."""
        return Size(self.size.weight, self.size.count, self.size.item, _Parts(self.names)) if self.names else self.size


@dataclass(frozen=True, slots=True)
class _Parts(Mapping[str, Size]):
    """The sizes of a map's parts, each found when it is asked for."""

    names: Names

    def __getitem__(self, name: str) -> Size:
        return self.names.known[name].sized

    def __iter__(self) -> Iterator[str]:
        return iter(self.names.known)

    def __len__(self) -> int:
        return len(self.names.known)


ANY, TEXT, DOUBLE, INT, BOOL = Type("any"), Type("text"), Type("double"), Type("int"), Type("bool")
TIMESTAMP, DURATION, NULL, OPEN = Type("timestamp"), Type("duration"), Type("null"), Type("map")

_SAID: dict[Kind, str] = {"text": "a text", "double": "a number", "int": "a whole number", "bool": "true or false", "any": "anything"}
_SAID |= {"timestamp": "a date", "duration": "a duration", "list": "a list", "map": "a map", "null": "null"}
_NUMBERS = frozenset({"int", "double"})
_FUNCTIONS: dict[str, tuple[frozenset[str], Type]] = {
    "size": (frozenset({"text", "list", "map"}), INT),
    "double": (frozenset({"text", "int", "double"}), DOUBLE),
    "int": (frozenset({"text", "int", "double"}), INT),
    "string": (frozenset({"text", "int", "double", "timestamp"}), TEXT),
    "timestamp": (frozenset({"text"}), TIMESTAMP),
    "duration": (frozenset({"text"}), DURATION),
}
_TEXT_METHODS = frozenset({"startsWith", "endsWith", "contains", "matches"})
_DATE_METHODS = frozenset({"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"})
_TIME_METHODS = frozenset({"getHours", "getMinutes", "getSeconds", "getMilliseconds"})
_METHODS = _TEXT_METHODS | _DATE_METHODS | _TIME_METHODS | MACROS | {"size"}
_WRITTEN = {
    "timestamp": (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "2026-01-31T00:00:00Z"),
    "duration": (re.compile(r"-?(\d+(\.\d+)?(h|m|s|ms|us|ns))+"), "48h, since days are not a unit of CEL"),
}


class Finding(NamedTuple):
    """What is wrong with a condition."""

    code: str
    message: str
    level: Level = "error"


@dataclass(frozen=True, slots=True)
class Checked:
    """A condition that was checked: what is wrong, its tree, and the values with few possible answers that it reads.

    `always` are the parts, as they are written, that are true whatever is answered.
    """

    findings: tuple[Finding, ...]
    node: Node | None = None
    choices: Mapping[str, Type] = field(default_factory=dict)
    always: frozenset[str] = frozenset()


def check(source: str, scope: Names, advice: Adviser) -> Checked:
    """Check that a condition is CEL, uses only names in scope, compares like with like, and is true or false."""
    checking = _Checking(scope, advice)
    try:
        node = read_expression(source)
        if not compile_condition(source).is_readable:
            raise RecursionError
        checking.want(node, {}, "bool", "not_boolean", "A condition is true or false")
        if not checking.findings:
            checking.weigh(node)
        checking.look_for_guards(node)
    except InvalidCondition as error:
        return Checked((Finding("not_cel", str(error)),))
    except RecursionError:
        return Checked((Finding("not_cel", "The condition is nested too deeply; split it over two steps."),))
    return Checked(tuple(dict.fromkeys(checking.findings)), node, checking.choices, frozenset(checking.always))


Bound = Mapping[str, Type]


class _Checking:
    """One walk over a condition."""

    def __init__(self, scope: Names, advice: Adviser) -> None:
        self.scope, self.advice = scope, advice
        self.findings: list[Finding] = []
        self.choices: dict[str, Type] = {}
        self.always: set[str] = set()
        self.divisors: list[tuple[Node, Type]] = []

    def weigh(self, node: Node) -> None:
        """Refuse what would take too long on the largest values that its names can have."""
        spent = cost(node, {name: kind.sized for name, kind in self.scope.known.items()})
        if spent > LIMIT:
            message = (
                f"This condition may take {milliseconds(spent)} on the largest lists it can meet, and the most is {milliseconds(LIMIT)}: "
                "each `all`, `exists`, `map` or `filter` within another multiplies, `map` and `filter` take the square of the list. Give "
                "its tables a `max`, or ask for the sum or the worst case in a field of its own."
            )
            self.say("costly", message)

    def look_for_guards(self, node: Node) -> None:
        """Warn of a divisor that may be zero where nothing in the condition asks whether it is."""
        asked = set(_compared(node))
        for divisor, kind in self.divisors:
            if divisor.op == "literal":
                if not divisor.value:
                    self.say("unguarded_division", f"`{divisor.text}` is zero: nothing can be divided by it.", "warning")
            elif not (kind.low is not None and kind.low > 0) and not asked & {divisor.text, *_paths(divisor)}:
                message = (
                    f"`{divisor.text}` may be zero, and then the condition does not hold, whatever it says. Ask first: "
                    f"`{divisor.text} > 0 && …`, or give its field a `min` above zero."
                )
                self.say("unguarded_division", message, "warning")

    def say(self, code: str, message: str, level: Level = "error") -> Type:
        self.findings.append(Finding(code, message, level))
        return ANY

    def want(self, node: Node, bound: Bound, kind: Kind, code: str, sentence: str) -> None:
        found = self.type_of(node, bound)
        if found.kind not in {kind, "any"}:
            self.say(code, f"{sentence}, but `{node.text}` is {_SAID[found.kind]}.")

    def type_of(self, node: Node, bound: Bound) -> Type:
        if node.op == "literal":
            return _type_of_literal(node.value)
        visit: Callable[[Node, Bound], Type] = _VISITS.get(node.op, _Checking._unsupported).__get__(self)
        found = visit(node, bound)
        if node.path and node.path.partition(".")[0] not in bound and (found.kind == "bool" or (found.words and not found.written)):
            self.choices[node.path] = found
        return found

    def _unsupported(self, node: Node, bound: Bound) -> Type:
        return self.say("not_cel", f"`{node.text}` cannot be used in a condition.")

    def _name(self, node: Node, bound: Bound) -> Type:
        return bound[node.name] if node.name in bound else self._named(node.name, self.scope, "")

    def _member(self, node: Node, bound: Bound) -> Type:
        owner = self.type_of(node.args[0], bound)
        if owner.kind == "map":
            return self._named(node.name, owner.names, node.args[0].text) if owner.names else owner.item or ANY
        if owner.kind == "list":
            return self.say("unlike_types", f"`{node.args[0].text}` is a list: read its items with `exists`, `all` or `[0]`.")
        return ANY if owner.kind == "any" else self._no_parts(node.args[0], owner)

    def _index(self, node: Node, bound: Bound) -> Type:
        owner, index = self.type_of(node.args[0], bound), self.type_of(node.args[1], bound)
        if owner.kind == "map" and owner.names and index.kind == "text" and index.written and index.words:
            return self._named(index.words[0], owner.names, node.args[0].text)
        wanted = {"list": "int", "map": "text"}.get(owner.kind)
        if wanted is None:
            return ANY if owner.kind == "any" else self._no_parts(node.args[0], owner)
        if index.kind not in {wanted, "any"}:
            self.say("unlike_types", f"`{node.args[1].text}` is {_SAID[index.kind]}, which `{node.args[0].text}` has no place for.")
        return owner.item or ANY

    def _no_parts(self, node: Node, owner: Type) -> Type:
        return self.say("unlike_types", f"`{node.text}` is {_SAID[owner.kind]} and has no parts.")

    def _named(self, name: str, names: Names | None, owner: str) -> Type:
        if names is None or name in names.known:
            return names.known[name] if names else ANY
        if name in names.refused:
            return self.say(*names.refused[name])
        dashed = next((known for known in names.known if known.startswith(f"{name}-")), None)
        hint = f" Write `{owner}['{dashed}']`." if dashed and owner else self.advice.did_you_mean(name, names.known)
        where = f" in `{owner}`" if owner else ""
        return self.say(f"unknown_{names.noun}", f"`{name}` is not a known {names.noun}{where}.{hint}")

    def _logic(self, node: Node, bound: Bound) -> Type:
        for arg in node.args:
            self.want(arg, bound, "bool", "not_boolean", f"`{node.op}` takes what is true or false")
        return BOOL

    def _ternary(self, node: Node, bound: Bound) -> Type:
        self.want(node.args[0], bound, "bool", "not_boolean", "What stands before `?` is true or false")
        return self._common(node, [self.type_of(arg, bound) for arg in node.args[1:]])

    def _negative(self, node: Node, bound: Bound) -> Type:
        found = self.type_of(node.args[0], bound)
        return found if found.kind in {*_NUMBERS, "any"} else self._unlike(node, "`-` takes a number", found)

    def _unlike(self, node: Node, sentence: str, *found: Type) -> Type:
        said = " and ".join(_SAID[each.kind] for each in found)
        return self.say("unlike_types", f"{sentence}; `{node.text}` has {said}.")

    def _equality(self, node: Node, bound: Bound) -> Type:
        left, right = (self.type_of(arg, bound) for arg in node.args)
        if not _alike(left, right):
            self._compared_unlike(node, left, right)
        self._offered(node.args[0], left, right)
        self._offered(node.args[1], right, left)
        return BOOL

    def _compared_unlike(self, node: Node, left: Type, right: Type) -> None:
        hint = " Write a date as `timestamp('2026-01-31T00:00:00Z')`." if {left.kind, right.kind} == {"text", "timestamp"} else ""
        message = f"`{node.args[0].text}` is {_SAID[left.kind]} and `{node.args[1].text}` is {_SAID[right.kind]}: they cannot be compared."
        self.say("unlike_types", message + hint)

    def _offered(self, node: Node, value: Type, other: Type) -> None:
        """A text that is written must be one that the other side can be."""
        if value.written and value.words and other.words is not None and not other.written:
            for word in value.words:
                if word not in other.words:
                    self.say("unknown_option", f"`{word}` is not among the options.{self.advice.did_you_mean(word, other.words)}")

    def _order(self, node: Node, bound: Bound) -> Type:
        left, right = (self.type_of(arg, bound) for arg in node.args)
        for arg, found in zip(node.args, (left, right), strict=True):
            if found.kind in {"bool", "null", "list", "map"} or (found.words is not None and not found.written):
                said = "one of its options" if found.words is not None else _SAID[found.kind]
                self.say("unordered", f"`{arg.text}` is {said} and has no order: compare it with `==` or `!=`.")
                return BOOL
        if not _alike(left, right):
            self._compared_unlike(node, left, right)
        return BOOL

    def _in(self, node: Node, bound: Bound) -> Type:
        value, owner = (self.type_of(arg, bound) for arg in node.args)
        if owner.kind not in {"list", "map", "any"}:
            self._unlike(node, "`in` looks into a list", owner)
        elif owner.kind == "list" and owner.item is not None:
            if not _alike(value, owner.item):
                self._compared_unlike(node, value, owner.item)
            self._offered(node.args[0], value, owner.item)
            self._offered(node.args[1], owner.item, value)
        return BOOL

    def _arithmetic(self, node: Node, bound: Bound) -> Type:
        left, right = (self.type_of(arg, bound) for arg in node.args)
        kinds = (left.kind, right.kind)
        if node.op in ("/", "%"):
            self.divisors.append((node.args[1], right))
        if "any" in kinds:
            return ANY
        if node.op == "/" and kinds == ("int", "int"):
            message = f"`{node.text}` divides two whole numbers and drops the fraction: write `double(…)` around both to keep it."
            self.say("integer_division", message, "warning")
        result = _SUMS.get((left.kind, node.op, right.kind))
        if result is None and set(kinds) == _NUMBERS:
            return self.say("unlike_types", f"`{node.text}` mixes a whole number with a number: write `double(…)` around the whole one.")
        return result or self._unlike(node, f"`{node.op}` does not take these", left, right)

    def _common(self, node: Node, found: list[Type]) -> Type:
        """The one type of several values."""
        certain = [each for each in found if each.kind not in {"any", "null"}]
        if not certain or len(certain) < len([each for each in found if each.kind != "null"]):
            return ANY
        if not all(_alike(certain[0], each) for each in certain):
            return self._unlike(node, "The values should be of one type", *certain)
        words = [each.words for each in certain if each.words is not None]
        known = tuple(dict.fromkeys(word for each in words for word in each)) if len(words) == len(certain) else None
        return replace(certain[0], words=known, written=all(each.written for each in certain))

    def _list(self, node: Node, bound: Bound) -> Type:
        return Type("list", self._common(node, [self.type_of(arg, bound) for arg in node.args]))

    def _map(self, node: Node, bound: Bound) -> Type:
        for arg in node.args:
            self.type_of(arg, bound)
        return OPEN

    def _call(self, node: Node, bound: Bound) -> Type:
        if node.name == "has":
            return self._has(node, bound)
        if node.name not in _FUNCTIONS:
            return self.say(
                "unknown_function", f"`{node.name}` is not a known function.{self.advice.did_you_mean(node.name, [*_FUNCTIONS, 'has'])}"
            )
        kinds, result = _FUNCTIONS[node.name]
        if len(node.args) != 1:
            return self.say("wrong_arguments", f"`{node.name}` takes one value, not {len(node.args)}.")
        found = self.type_of(node.args[0], bound)
        if found.kind not in {*kinds, "any"}:
            self._unlike(node, f"`{node.name}` does not take this", found)
        if node.name == "size":
            self._size_of_text(node.args[0], found)
        written, example = _WRITTEN.get(node.name, (None, ""))
        if written and found.written and found.words and not written.fullmatch(found.words[0]):
            self.say("wrong_arguments", f"`{found.words[0]}` cannot be read by `{node.name}`: write it as {example}.")
        return replace(result, low=found.low) if node.name in ("double", "int") else result

    def _size_of_text(self, node: Node, found: Type) -> None:
        if found.kind == "text":
            message = (
                f"`size` of a text counts bytes, not characters: é counts twice, and `{node.text}` is a text. Write `{node.text} != ''` "
                f"for one that is not empty, `{node.text}.matches('^.{{7}}$')` for one of seven characters."
            )
            self.say("size_of_text", message)

    def _has(self, node: Node, bound: Bound) -> Type:
        if len(node.args) != 1 or node.args[0].op != ".":
            return self.say("wrong_arguments", "`has` takes one name with a dot, such as `has(data.screened)`.")
        owner = self.type_of(node.args[0].args[0], bound)
        self.type_of(node.args[0], bound)
        if owner.names:
            message = f"`{node.text}` is always true: an unanswered field is null. Write `{node.args[0].text} != null`."
            self.say("has_is_always_true", message, "warning")
            self.always.add(node.text)
        return BOOL

    def _method(self, node: Node, bound: Bound) -> Type:
        owner = self.type_of(node.args[0], bound)
        if node.name in MACROS:
            return self._macro(node, owner, bound)
        if node.name not in _METHODS:
            return self.say("unknown_function", f"`{node.name}` is not a known function.{self.advice.did_you_mean(node.name, _METHODS)}")
        takes: set[str] = {"text", "list", "map"} if node.name == "size" else {"text"} if node.name in _TEXT_METHODS else {"timestamp"}
        takes |= {"duration"} if node.name in _TIME_METHODS else set()
        if owner.kind not in {*takes, "any"}:
            hint = f" Write `value in {node.args[0].text}`." if node.name == "contains" and owner.kind == "list" else ""
            return self.say("unlike_types", f"`{node.name}` does not apply to `{node.args[0].text}`, {_SAID[owner.kind]}.{hint}")
        if node.name == "size":
            self._size_of_text(node.args[0], owner)
        expected = 1 if node.name in _TEXT_METHODS else 0
        if len(node.args) - 1 != expected:
            return self.say("wrong_arguments", f"`{node.name}` takes {expected or 'no'} value, not {len(node.args) - 1}.")
        for arg in node.args[1:]:
            self.want(arg, bound, "text", "unlike_types", f"`{node.name}` takes a text")
        return BOOL if node.name in _TEXT_METHODS else INT

    def _macro(self, node: Node, owner: Type, bound: Bound) -> Type:
        if owner.kind not in {"list", "map", "any"}:
            return self.say("unlike_types", f"`{node.name}` goes over a list, but `{node.args[0].text}` is {_SAID[owner.kind]}.")
        if len(node.args) != 3 or node.args[1].op != "name":
            message = f"`{node.name}` takes a name and a condition, such as `{node.args[0].text}.{node.name}(row, …)`."
            return self.say("wrong_arguments", message)
        item = TEXT if owner.kind == "map" else owner.item or ANY
        inner = {**bound, node.args[1].name: replace(item, written=False)}
        if node.name == "map":
            return Type("list", self.type_of(node.args[2], inner))
        self.want(node.args[2], inner, "bool", "not_boolean", f"`{node.name}` takes what is true or false")
        return owner if node.name == "filter" else BOOL


_VISITS = {
    "name": _Checking._name,
    ".": _Checking._member,
    "[]": _Checking._index,
    "?:": _Checking._ternary,
    "neg": _Checking._negative,
    "in": _Checking._in,
    "list": _Checking._list,
    "map": _Checking._map,
    "call": _Checking._call,
    "method": _Checking._method,
}
_VISITS |= dict.fromkeys(("&&", "||", "!"), _Checking._logic) | dict.fromkeys(("==", "!="), _Checking._equality)
_VISITS |= dict.fromkeys(("<", "<=", ">", ">="), _Checking._order) | dict.fromkeys("+-*/%", _Checking._arithmetic)

_SUMS: dict[tuple[str, str, str], Type] = {("text", "+", "text"): TEXT, ("int", "%", "int"): INT, ("list", "+", "list"): Type("list")}
_SUMS |= {("int", operator, "int"): INT for operator in "+-*/"} | {("double", operator, "double"): DOUBLE for operator in "+-*/"}
_SUMS |= {("timestamp", "-", "timestamp"): DURATION} | {("duration", operator, "duration"): DURATION for operator in "+-"}
_SUMS |= {("timestamp", operator, "duration"): TIMESTAMP for operator in "+-"} | {("duration", "+", "timestamp"): TIMESTAMP}


def _alike(left: Type, right: Type) -> bool:
    kinds = {left.kind, right.kind}
    if len(kinds) == 1 and left.item and right.item:
        return _alike(left.item, right.item)
    return len(kinds) == 1 or kinds <= _NUMBERS or bool(kinds & {"any", "null"})


def _compared(node: Node) -> Iterator[str]:
    """The texts and paths of what is compared with something, anywhere in a condition."""
    if node.op in _COMPARISONS:
        for side in node.args:
            yield side.text
            yield from _paths(side)
    for arg in node.args:
        yield from _compared(arg)


def _paths(node: Node) -> Iterator[str]:
    """The paths that stand in a sum or a conversion such as `double(answers.included)`; not what is divided."""
    if node.path:
        yield node.path
    elif node.op in ("+", "-", "call", "neg"):
        for arg in node.args:
            yield from _paths(arg)


_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})


def _type_of_literal(value: object) -> Type:
    if isinstance(value, str):
        return Type("text", words=(value,), written=True)
    if isinstance(value, bool):
        return BOOL
    return {int: INT, float: DOUBLE, type(None): NULL}.get(type(value), ANY)
