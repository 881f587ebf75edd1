"""Keys of people and sites in the database: which one is there already under other letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Column, Connection, func, select

from protocols.errors import InvalidInput
from protocols.keys import folded
from protocols.phrase import Phrase
from sites.database import table
from sites.tables import Person, Site

_PERSON, _SITE = table(Person), table(Site)
KEYS = (_PERSON.c.id, _SITE.c.code)


def taken(connection: Connection, column: Column[str], key: str) -> str | None:
    """The key that is there for the same thing, however it is written; None for none. Kept keys are ASCII, so `lower` folds them."""
    found = connection.execute(select(column).where(func.lower(column) == folded(key)).order_by(column != key, column)).scalars()
    return next(iter(found), None)


def written(key: str, known: Iterable[str]) -> str | None:
    """How a key is written among those known, when it is there in other letters only; None when it is there as given, or not at all."""
    same = [one for one in known if folded(one) == folded(key)]
    return None if not same or key in same else min(same)


class KeyTaken(InvalidInput):
    """What was to be new is there already under other letters."""


def said(key: str, known: str) -> Phrase:
    """That a key is there already, written otherwise."""
    return Phrase(
        "{key!r} is there already, written {known!r}: capitals make no other. Write it so, or choose another.", key=key, known=known
    )


def twins(connection: Connection) -> list[Sequence[str]]:
    """The ids of people, then the codes of sites, that differ by capitals alone, in groups: kept from before they were refused."""
    found: list[Sequence[str]] = []
    for column in KEYS:
        several = select(func.lower(column)).group_by(func.lower(column)).having(func.count() > 1)
        groups: dict[str, list[str]] = {}
        for key in connection.execute(select(column).where(func.lower(column).in_(several)).order_by(column)).scalars():
            groups.setdefault(folded(key), []).append(key)
        found += [sorted(group) for _, group in sorted(groups.items())]
    return found
