"""What a condition can come to, over every answer to its yes-or-no and multiple-choice questions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Any, Final, Literal

from protocols.lint.types import Checked, Type
from protocols.trees import Node

Outcome = Literal["stop", "return", "pass"]

MAX_COMBINATIONS = 4096


class _Sign:
    """A result that is not a value."""


UNDECIDED: Final = _Sign()  # depends on a number, a text, a list: may be anything
FAILS: Final = _Sign()  # cannot be evaluated, so that the condition does not hold


def can_hold(condition: Checked) -> bool:
    """Whether some answers make the condition true."""
    node = condition.node
    return node is None or any(_may_hold(truth(node, answers)) for answers in _combinations([condition]))


def outcomes(stop: Checked | None, back: Checked | None, go_on: Checked) -> set[Outcome]:
    """Where a gate can lead, its conditions being read in the order stop, return, pass."""
    ordered: list[tuple[Outcome, Checked | None]] = [("stop", stop), ("return", back), ("pass", go_on)]
    present = [(outcome, condition) for outcome, condition in ordered if condition is not None]
    found: set[Outcome] = set()
    for answers in _combinations([condition for _, condition in present]):
        for outcome, condition in present:
            result = truth(condition.node, answers) if condition.node else UNDECIDED
            if _may_hold(result):
                found.add(outcome)
            if result is True:
                break
    return found


def truth(node: Node, answers: Mapping[str, Any]) -> Any:
    """What the expression comes to on these answers: a value, UNDECIDED or FAILS."""
    if node.op == "literal":
        return node.value
    if node.path in answers:
        return answers[node.path]
    if node.op == "call" and node.text in answers:
        return answers[node.text]
    if node.op in {"&&", "||"}:
        return _logic(node, answers)
    if node.op == "?:":
        chosen = truth(node.args[0], answers)
        return truth(node.args[1 if chosen else 2], answers) if isinstance(chosen, bool) else chosen if isinstance(chosen, _Sign) else FAILS
    if node.op not in _OPERATIONS:
        return UNDECIDED
    parts = [truth(arg, answers) for arg in node.args]
    if any(isinstance(part, _Sign) for part in parts):
        return FAILS if FAILS in parts else UNDECIDED
    try:
        return _OPERATIONS[node.op](*parts)
    except TypeError:
        return FAILS


def _opposite(value: Any) -> Any:
    return not value if isinstance(value, bool) else FAILS


# As CEL has them: null equals only null, and orders, negates or contains nothing.
_OPERATIONS: dict[str, Callable[..., Any]] = {"!": _opposite, "==": operator.eq, "!=": operator.ne, "list": lambda *items: list(items)}
_OPERATIONS |= {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "in": lambda item, items: item in items}


def _logic(node: Node, answers: Mapping[str, Any]) -> Any:
    settles = node.op == "||"
    parts = [truth(arg, answers) for arg in node.args]
    if settles in parts:
        return settles
    if UNDECIDED in parts:
        return UNDECIDED
    return not settles if all(part is not settles and isinstance(part, bool) for part in parts) else FAILS


def _may_hold(result: Any) -> bool:
    return result is True or result is UNDECIDED


def _combinations(conditions: list[Checked]) -> Iterator[dict[str, Any]]:
    """Every set of answers to the questions with few answers; one empty set, which leaves all undecided, when they are too many."""
    choices = {path: _values(kind) for condition in conditions for path, kind in condition.choices.items()}
    if prod(map(len, choices.values())) > MAX_COMBINATIONS:
        choices = {}
    always = {text: True for condition in conditions for text in condition.always}
    for values in product(*choices.values()):
        yield always | dict(zip(choices, values, strict=True))


def _values(kind: Type) -> tuple[Any, ...]:
    values: tuple[Any, ...] = kind.words or (True, False)
    return (*values, None) if kind.optional else values
