"""Sources rewritten so that they fail where CEL would go on with infinity or with what is no number.

`a / b` becomes `a / [b].map(v, v == 0.0 ? FAILS : v)[0]`: a list of one is how CEL gives a value a name, so that `b` is read once. What is
multiplied, divided or read from a text (`double('inf')`) must come to a finite number. The rest of the condition is left as it is, so
that `b > 0.0 && a / b > 0.1` still holds or not without dividing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from protocols.trees import Node

_BOUND = "insitu_value"
_FAILED = re.compile(r"insitu: (zero|infinite): (.*?)['\"]?$", re.DOTALL)
_SAID: Mapping[str, Mapping[str, str]] = {
    "zero": {"fr": "division par zéro : `{what}` vaut zéro", "en": "division by zero: `{what}` is zero"},
    "infinite": {"fr": "`{what}` ne donne pas un nombre fini", "en": "`{what}` comes to no finite number"},
}


def guarded(source: str, tree: Node) -> str:
    """The source, failing where a divisor is zero or a number is not finite; itself where nothing can be."""
    put = sorted(_insertions(tree), key=lambda one: (one[0], one[1]))
    pieces, place = [], 0
    for at, _, text in put:
        pieces += [source[place:at], text]
        place = at
    return "".join([*pieces, source[place:]])


def named_by(error: str) -> Mapping[str, str] | None:
    """What one of these failures says, by locale; None for any other error."""
    found = _FAILED.search(error)
    if found is None:
        return None
    what = found[2].replace("\\'", "'").replace("\\\\", "\\")
    return {locale: said.format(what=what) for locale, said in _SAID[found[1]].items()}


# Where in the source, in which order among those at one place, and what is put there.
Insertion = tuple[int, tuple[int, int], str]


def _insertions(node: Node, within: bool = False) -> Iterator[Insertion]:
    """`within` a chain of products and quotients what is not finite shows at the chain's end: only that is looked at."""
    multiplies = node.op in ("/", "*")
    if node.op in ("/", "%"):
        yield from _around(node.args[1], f"{_BOUND} == 0.0", "zero")
    if (multiplies and not within) or (node.op == "call" and node.name == "double"):
        yield from _around(node, f"{_BOUND} - {_BOUND} != 0.0", "infinite")
    for number, arg in enumerate(node.args):
        yield from _insertions(arg, multiplies and number == 0)


def _around(node: Node, fails: str, kind: str) -> Iterator[Insertion]:
    """Of two that begin at one place the outer begins first, and of two that end at one place it ends last."""
    width = len(node.text)
    key = _quoted(f"insitu: {kind}: {' '.join(node.text.split())}")
    yield node.start, (1, -width), "["
    yield node.start + width, (0, width), f"].map({_BOUND}, {fails} ? {{'': {_BOUND}}}[{key}] : {_BOUND})[0]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
