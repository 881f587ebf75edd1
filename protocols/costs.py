"""What a condition costs to evaluate, worked out from its tree and from how large the values are that it reads.

Costs are nanoseconds of the evaluator on one ordinary core. Its own habits decide them, and were measured (ADR 26): a value that is
read is copied whole; `map` and `filter` copy all they have gathered at each item, so that they cost the square of the list; a pattern
is compiled at each use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from protocols.trees import Node, Unreadable

# Above this a new protocol is refused, and a condition is not evaluated in the process that asks.
LIMIT = 40e6

MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "filter", "map"})
_HEAVY = MACROS | {"matches"}
_GATHER = frozenset({"filter", "map"})

_PART, _WRITTEN, _TURN, _ENTRY, _LIST, _TEXT, _VALUE = 25.0, 10.0, 150.0, 60.0, 40.0, 30.0, 20.0
_CHARACTER, _COMPARED, _SEARCHED = 0.1, 1.0, 25.0
_DIVISION = 400.0  # the guard of a divisor
_PATTERN, _STATE, _WIDE = 20_000.0, 250.0, 250
_MOST_STATES = 600_000.0  # of a pattern, where its library gives up
_REPEATED = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MANY = re.compile(r"\\[dDwWsSpPbB]|\.|\[\^")


@dataclass(frozen=True, slots=True)
class Size:
    """How large a value is: what copying it costs, how many items or characters it has, and the sizes of what is in it."""

    weight: float = _VALUE
    count: float = 0
    item: Size | None = None
    parts: Mapping[str, Size] = field(default_factory=dict)


SCALAR = Size()


def size_of_text(characters: float) -> Size:
    return Size(_TEXT + characters * _CHARACTER, characters)


def size_of_list(item: Size, count: float) -> Size:
    return Size(_LIST + count * item.weight, count, item)


def size_of_map(parts: Mapping[str, Size]) -> Size:
    return Size(_LIST + sum(_ENTRY + part.weight for part in parts.values()), len(parts), size_of_text(20), parts)


def size_of(value: Any) -> Size:
    """The size of a value as conditions take it; the items of a list count as its largest in each part."""
    if isinstance(value, str):
        return size_of_text(len(value))
    if isinstance(value, Mapping):
        return size_of_map({str(name): size_of(part) for name, part in value.items()})
    if isinstance(value, (list, tuple)):
        return size_of_list(_largest(map(size_of, value)), len(value))
    return SCALAR


def cost(node: Node, sizes: Mapping[str, Size]) -> float:
    """What evaluating the tree costs when the names it reads have these sizes; infinite where that cannot be told."""
    try:
        return _Costing().of(node, sizes)[0]
    except (RecursionError, Unreadable):
        return math.inf


def is_heavy(node: Node) -> bool:
    """Whether it may cost much even where it reads nothing large: it goes over a list, or compiles a pattern."""
    return (node.op == "method" and node.name in _HEAVY) or any(map(is_heavy, node.args))


def milliseconds(nanoseconds: float) -> str:
    """A cost in words: `12 ms`, `3 s`."""
    if nanoseconds > 86_400e9:
        return "more than a day"
    return f"{nanoseconds / 1e9:,.0f} s" if nanoseconds >= 2e9 else f"{math.ceil(nanoseconds / 1e6):,} ms"


Found = tuple[float, Size]


def _largest(sizes: Iterable[Size]) -> Size:
    found = SCALAR
    for size in sizes:
        found = size if found is SCALAR else _larger(found, size)
    return found


def _larger(left: Size, right: Size) -> Size:
    if left is right or (not right.parts and right.item is None and right.weight <= left.weight and right.count <= left.count):
        return left
    item = _larger(left.item, right.item) if left.item and right.item else left.item or right.item
    parts = left.parts or right.parts
    if left.parts and right.parts:
        parts = {name: _larger(left.parts.get(name, SCALAR), right.parts.get(name, SCALAR)) for name in {**left.parts, **right.parts}}
    return Size(max(left.weight, right.weight), max(left.count, right.count), item, parts)


class _Costing:
    def of(self, node: Node, sizes: Mapping[str, Size]) -> Found:
        """The cost of a part, and the size of what it gives."""
        if node.op == "literal":
            return _WRITTEN, size_of(node.value)
        if node.path:
            return self._read(node, sizes)
        if node.op == "method" and node.name in MACROS:
            return self._loop(node, sizes)
        found = [self.of(arg, sizes) for arg in node.args]
        spent, given = _PART + sum(spent for spent, _ in found), [size for _, size in found]
        match node.op:
            case "." | "[]":
                part = given[0].parts.get(node.name) if node.op == "." else None
                return spent, part or given[0].item or SCALAR
            case "==" | "!=":
                return spent + min(size.weight for size in given) * _COMPARED, SCALAR
            case "in":
                return spent + given[1].weight * _COMPARED, SCALAR
            case "+":
                return spent + sum(size.weight for size in given), _joined(*given)
            case "/" | "%" | "*":
                return spent + _DIVISION, SCALAR
            case "?:":
                return spent, _larger(given[1], given[2])
            case "list":
                return spent + sum(size.weight for size in given), size_of_list(_largest(given), len(given))
            case "map":
                return spent + sum(size.weight for size in given), self._map(node, given)
            case "call" | "method":
                return spent + self._called(node, given), given[0] if node.name == "string" and given else SCALAR
            case _:
                return spent, SCALAR

    def _read(self, node: Node, sizes: Mapping[str, Size]) -> Found:
        """A name with its members is looked up, and what stands at its end is copied; with an index, so is what the index looks into."""
        if node.op == "name":
            size = sizes.get(node.name, SCALAR)
            return _PART + size.weight, size
        spent, owner = self._read(node.args[0], sizes)
        key = node.name if node.op == "." else str(node.args[1].value)
        size = owner.parts.get(key) or owner.item or SCALAR
        spent += _PART + size.weight
        return spent if node.op == "[]" else spent - owner.weight, size

    def _loop(self, node: Node, sizes: Mapping[str, Size]) -> Found:
        spent, owner = self.of(node.args[0], sizes)
        item = owner.item or SCALAR
        bound = {**sizes, node.args[1].name: item}
        bodies = [self.of(body, bound) for body in node.args[2:]]
        if not bodies:
            raise Unreadable("nothing is asked of the items")
        turn = _TURN + item.weight + sum(spent for spent, _ in bodies)
        spent += owner.count * turn
        if node.name not in _GATHER:
            return spent, SCALAR
        kept = item if node.name == "filter" else bodies[-1][1]
        return spent + owner.count**2 * kept.weight, size_of_list(kept, owner.count)

    def _map(self, node: Node, given: list[Size]) -> Size:
        keys = [str(key.value) if key.op == "literal" else f"{number}" for number, key in enumerate(node.args[::2])]
        size = size_of_map(dict(zip(keys, given[1::2], strict=False)))
        return replace(size, item=_largest(given[::2])) if given else size

    def _called(self, node: Node, given: list[Size]) -> float:
        if node.name == "matches":
            return _pattern(node.args[-1]) + given[0].count * _SEARCHED
        return sum(size.count for size in given) if node.name in ("contains", "startsWith", "endsWith") else 0.0


def _joined(left: Size, right: Size) -> Size:
    larger = _larger(left, right)
    return Size(left.weight + right.weight, left.count + right.count, larger.item, larger.parts)


def _pattern(node: Node) -> float:
    """What compiling a pattern costs: its length, times every count of repetitions in it; one that is not written may cost the most."""
    if node.op != "literal" or not isinstance(node.value, str):
        return _MOST_STATES * _STATE
    repeated = math.prod(max(1, int(most or least or 1)) for least, most in _REPEATED.findall(node.value))
    states = len(node.value) * repeated * (_WIDE if repeated > 1 and _MANY.search(node.value) else 1)
    return _PATTERN + min(states, _MOST_STATES) * _STATE
