"""Conditions as trees, read with cel-python's grammar, for lint."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from protocols.conditions import InvalidCondition, compile_condition
from protocols.trees import Node, literal_value

if TYPE_CHECKING:
    from celpy.celparser import CELParser
    from lark import Token, Tree

_OPERATORS = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
_PASSED_THROUGH = frozenset({"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary"})
_PASSED_THROUGH |= {"member", "primary", "paren_expr"}


def read_expression(source: str) -> Node:
    """The tree of a condition. Raises InvalidCondition when it is not CEL, or is nested too deeply."""
    compile_condition(source)
    from celpy.celparser import CELParseError

    try:
        return _node(_parser().parse(source), source)
    except CELParseError as error:
        raise InvalidCondition(f"`{source}` is not a condition: unexpected text at character {error.column}.") from None
    except RecursionError:
        raise InvalidCondition("The condition is nested too deeply; split it over two steps.") from None


@lru_cache(maxsize=1)
def _parser() -> CELParser:
    # Imported at the first condition checked: building the grammar takes 0.4 s, and only lint needs trees.
    from celpy.celparser import CELParser

    return CELParser()


def _node(tree: Tree[Token], source: str) -> Node:
    while tree.data in _PASSED_THROUGH and len(tree.children) == 1:
        tree = _tree(tree.children[0])
    text = "" if tree.meta.empty else source[tree.meta.start_pos : tree.meta.end_pos]
    kind, children = str(tree.data), tree.children
    if kind in {"relation", "addition", "multiplication"}:
        operator = _tree(children[0])
        return Node(_OPERATORS[str(operator.data)], text, (_node(_tree(operator.children[0]), source), _node(_tree(children[1]), source)))
    if kind == "unary":
        return Node({"unary_not": "!", "unary_neg": "neg"}[str(_tree(children[0]).data)], text, (_node(_tree(children[1]), source),))
    if kind == "literal":
        return Node("literal", text, value=literal_value(str(children[0])))
    words = [str(child) for child in children if isinstance(child, str)]
    args = tuple(_node(part, source) for child in children if not isinstance(child, str) for part in _parts(child))
    return Node(_KINDS.get(kind, kind), text, args, words[0] if words else "")


_KINDS = {"expr": "?:", "conditionalor": "||", "conditionaland": "&&", "ident": "name", "dot_ident": "name", "ident_arg": "call"}
_KINDS |= {"dot_ident_arg": "call", "member_dot": ".", "member_dot_arg": "method", "member_index": "[]"}
_KINDS |= {"list_lit": "list", "map_lit": "map"}


def _parts(tree: Tree[Token]) -> list[Tree[Token]]:
    """The arguments, when the tree only lists them."""
    return [_tree(child) for child in tree.children] if tree.data in {"exprlist", "mapinits"} else [tree]


def _tree(child: Any) -> Tree[Token]:
    tree: Tree[Token] = child
    return tree
