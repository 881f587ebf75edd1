"""Conditions as trees: a small reader of CEL for what runs them, which must know what a condition costs and where it divides.

It is not a second opinion on what CEL is: it reads only what the evaluator has compiled. Lint reads with cel-python's grammar, which
takes 0.3 s to build in every process; the tests hold the two to the same trees.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Part = TypeVar("Part")

_TOKEN = re.compile(
    r"""(?P<skipped>[ \t\r\n\f]+|//[^\n]*)
       |(?P<text>[rRbB]{0,2}(?:'''(?s:\\.|.)*?'''|\"\"\"(?s:\\.|.)*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
       |(?P<number>0x[0-9a-fA-F]+[uU]?|\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+[uU]?)
       |(?P<name>[A-Za-z_]\w*)
       |(?P<sign>\|\||&&|[=!<>]=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE,
)
_RANKS = {"||": 1, "&&": 2, **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3), "+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
_CONSTANTS = {"true": True, "false": False, "null": None}


class Unreadable(ValueError):
    """A condition that this reader does not know how to read."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a condition. `op` is a CEL operator, or `literal`, `name`, `.`, `[]`, `call`, `method`, `list`, `map`, `?:`.

    `text` is how it was written; `name` the identifier of a name, member, call or method; `value` that of a literal; `start` where
    in the source it begins.
    """

    op: str
    text: str
    args: tuple[Node, ...] = ()
    name: str = ""
    value: Any = None
    start: int = 0

    @property
    def path(self) -> str:
        """The dotted path of a name and its members, "" for anything else."""
        if self.op == "name":
            return self.name
        key = self.name if self.op == "." else self.args[1].value if self.op == "[]" and self.args[1].op == "literal" else None
        return f"{root}.{key}" if key is not None and (root := self.args[0].path) else ""


def read_tree(source: str) -> Node:
    """The tree of a source that the evaluator takes. Raises Unreadable for what this reader does not know, or nested too deeply."""
    try:
        reading = _Reading(source)
        node = reading.expression()
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    if reading.kind:
        raise Unreadable(f"unexpected `{reading.word}`")
    return node


def literal_value(text: str) -> Any:
    """The value of a literal as it is written."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    try:
        return ast.literal_eval(text.rstrip("uU") if text[0].isdigit() else text)
    except (ValueError, SyntaxError):
        return float(text) if text[0] in "-.0123456789" else text[1:-1]


class _Reading:
    """One walk over the words of a source, from left to right."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.kind, self.word, self.start, self.end, self.before = "", "", 0, 0, 0
        self.step()

    def step(self) -> str:
        """Go to the next word; gives the one that was left."""
        left, self.before = self.word, self.end
        while True:
            found = _TOKEN.match(self.source, self.end)
            if found is None and self.end < len(self.source):
                raise Unreadable(f"unexpected `{self.source[self.end]}`")
            self.kind, self.word = (str(found.lastgroup), found[0]) if found else ("", "")
            self.start, self.end = (found.start(), found.end()) if found else (self.end, self.end)
            if self.kind != "skipped":
                return left

    def take(self, word: str) -> None:
        if self.kind != "sign" or self.word != word:
            raise Unreadable(f"`{word}` is missing")
        self.step()

    def comes(self, word: str) -> bool:
        return self.kind == "sign" and self.word == word

    def node(self, op: str, start: int, *args: Node, name: str = "", value: Any = None) -> Node:
        return Node(op, self.source[start : self.before], args, name, value, start)

    def expression(self) -> Node:
        start = self.start
        asked = self.chain(1)
        if not self.comes("?"):
            return asked
        self.step()
        yes = self.chain(1)
        self.take(":")
        return self.node("?:", start, asked, yes, self.expression())

    def chain(self, rank: int) -> Node:
        """Operators of this rank and above, the left ones first."""
        start = self.start
        left = self.unary()
        while (found := _RANKS.get(self.word, 0) if self.kind in ("sign", "name") else 0) >= rank:
            operator = self.step()
            left = self.node(operator, start, left, self.chain(found + 1))
        return left

    def unary(self) -> Node:
        start = self.start
        if self.comes("!") or self.comes("-"):
            operator = self.step()
            return self.node("!" if operator == "!" else "neg", start, self.unary())
        return self.members(self.primary(), start)

    def members(self, owner: Node, start: int) -> Node:
        while self.kind == "sign" and self.word in (".", "["):
            if self.step() == "[":
                index = self.expression()
                self.take("]")
                owner = self.node("[]", start, owner, index)
                continue
            name = self.name()
            if self.comes("("):
                args = self.listed("(", ")", self.expression)
                owner = self.node("method", start, owner, *args, name=name)
            else:
                owner = self.node(".", start, owner, name=name)
        return owner

    def primary(self) -> Node:
        start = self.start
        if self.kind in ("text", "number") or (self.kind == "name" and self.word in _CONSTANTS):
            word = self.step()
            return self.node("literal", start, value=literal_value(word))
        if self.comes("("):
            self.step()
            inner = self.expression()
            self.take(")")
            return inner
        if self.comes("["):
            return self.node("list", start, *self.listed("[", "]", self.expression))
        if self.comes("{"):
            pairs = self.listed("{", "}", self.pair)
            return self.node("map", start, *(part for pair in pairs for part in pair))
        if self.comes("."):
            self.step()
        name = self.name()
        if self.comes("("):
            return self.node("call", start, *self.listed("(", ")", self.expression), name=name)
        return self.node("name", start, name=name)

    def pair(self) -> tuple[Node, Node]:
        key = self.expression()
        self.take(":")
        return key, self.expression()

    def name(self) -> str:
        if self.kind != "name":
            raise Unreadable(f"unexpected `{self.word}`")
        return self.step()

    def listed(self, opens: str, closes: str, read: Callable[[], Part]) -> list[Part]:
        """What stands between two brackets, with commas between; one may stand at the end."""
        self.take(opens)
        found: list[Part] = []
        while not self.comes(closes):
            found.append(read())
            if not self.comes(","):
                break
            self.step()
        self.take(closes)
        return found
