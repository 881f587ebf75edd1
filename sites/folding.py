"""Text compared as people read it: without accents, in small letters, alike on both databases."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from sqlalchemy import ColumnElement, String, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_MARKS = re.compile("[\u0300-\u036f]")
# What Unicode does not take apart, and a French dictionary does; the capitals for a PostgreSQL whose locale, C, knows none but ASCII's.
_LIGATURES = {"œ": "oe", "æ": "ae", "Œ": "oe", "Æ": "ae"}


def fold(text: str) -> str:
    """A text as it is compared: `Étienne` and `etienne` are one."""
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text)).lower()
    for ligature, letters in _LIGATURES.items():
        plain = plain.replace(ligature, letters)
    return plain


class folded(FunctionElement[str]):
    """A column's text as `fold` gives it."""

    type = String()
    inherit_cache = True


@compiles(folded, "sqlite")
def _on_sqlite(element: folded, compiler: Any, **options: Any) -> str:
    return f"folded({compiler.process(element.clauses, **options)})"


@compiles(folded, "postgresql")
def _on_postgresql(element: folded, compiler: Any, **options: Any) -> str:
    plain = f"lower(regexp_replace(normalize({compiler.process(element.clauses, **options)}, NFKD), '[\u0300-\u036f]', '', 'g'))"
    for ligature, letters in _LIGATURES.items():
        plain = f"replace({plain}, '{ligature}', '{letters}')"
    return f'({plain} COLLATE "C")'


def teach_sqlite(connection: Any) -> None:
    """Let a connection of SQLite's driver fold."""
    connection.create_function("folded", 1, lambda text: None if text is None else fold(str(text)), deterministic=True)


def mentions(q: str, *columns: ColumnElement[str]) -> list[ColumnElement[bool]]:
    """The condition that one of the columns holds a text as people read it; none for a blank text."""
    wanted = fold(q.replace("\x00", "").strip())
    return [or_(*(folded(column).contains(wanted, autoescape=True) for column in columns))] if wanted else []
