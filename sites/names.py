"""People's names, for whoever may see them (`Access.names_people`)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from sites.database import table
from sites.tables import Assignment, Person

_PERSON, _ASSIGNMENT = table(Person), table(Assignment)
_NAMES = select(_PERSON.c.id, _PERSON.c.name).where(_PERSON.c.id.in_(bindparam("ids", expanding=True)))


def names(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """The names of people by their ids, in one statement; an id that nobody has is left out, and so is ""."""
    wanted = sorted({one for one in ids if one})
    return {row.id: row.name for row in connection.execute(_NAMES, {"ids": wanted})} if wanted else {}


def of_those_there(connection: Connection, ids: Iterable[str], experiment: str, sites: Iterable[str] | None) -> list[str]:
    """Those of these ids whose people have or had a role in an experiment, at one of the sites or everywhere; None for any site.

    An id that was typed names nobody else: whoever types the id of a person of another site must not read their name.
    """
    wanted = sorted({one for one in ids if one})
    there = [_ASSIGNMENT.c.site.in_(["", *sites])] if sites is not None else []
    query = select(_ASSIGNMENT.c.person).where(_ASSIGNMENT.c.person.in_(wanted), _ASSIGNMENT.c.experiment.in_(["", experiment]), *there)
    return sorted(set(connection.execute(query).scalars())) if wanted else []
