"""Keys of people and sites in the database: which one is there already under other letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Column, Connection, func, or_, select

from protocols.errors import InvalidInput
from protocols.keys import are_alike, are_same, folded
from protocols.phrase import Phrase
from sites.database import table
from sites.tables import Person, Site

_PERSON, _SITE = table(Person), table(Site)
KEYS = (_PERSON.c.id, _SITE.c.code)


def taken(connection: Connection, column: Column[str], key: str) -> str | None:
    """The key that is there for the same thing, however it is written; None for none. Kept keys are ASCII, so `lower` folds them.

    One that differs by zeros in front alone is taken too: whoever types or imports it most likely means the one that is there.
    """
    same = func.lower(column) == folded(key)
    near = func.ltrim(column, "0") == folded(key).lstrip("0")
    found = connection.execute(select(column).where(or_(same, near)).order_by(column != key, ~same, column)).scalars()
    return next((one for one in found if are_alike(one, key)), None)


def written(key: str, known: Iterable[str]) -> str | None:
    """How a key is written among those known, when it is there in other letters or with other zeros in front; None when it is there as
    given, or not at all."""
    alike = [one for one in known if are_alike(one, key)]
    return None if not alike or key in alike else min(alike, key=lambda one: (not are_same(one, key), one))


class KeyTaken(InvalidInput):
    """What was to be new is there already under other letters."""


def said(key: str, known: str) -> Phrase:
    """That a key is there already, written otherwise."""
    if not are_same(key, known):
        return Phrase(
            "{key!r} is there already, written {known!r}: zeros in front make no other, and a spreadsheet drops them. Write it so, or "
            "choose another.",
            key=key,
            known=known,
        )
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
