"""Keys: when two ids or codes name the same thing."""

from __future__ import annotations

import unicodedata


def folded(key: str) -> str:
    """A key as it is compared: without capitals, and in the one form of letters that look alike (Unicode TR15, NFKC; TR44, case folding).

    `c.dupont` and `C.DUPONT` are one person, CAEN and Caen one site: who types, or reads aloud, hears no difference.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())


def are_same(one: str, other: str) -> bool:
    """Whether two keys name the same thing."""
    return folded(one) == folded(other)


def are_alike(one: str, other: str) -> bool:
    """Whether two keys are the same, or numbers that differ by zeros in front alone: a spreadsheet saves 0075 as 75."""
    return _number(folded(one)) == _number(folded(other))


def _number(key: str) -> str:
    return key.lstrip("0") or "0" if key.isascii() and key.isdigit() else key
