"""People's names, for whoever may see them (`Access.names_people`)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from sites.database import table
from sites.tables import Person

_PERSON = table(Person)
_NAMES = select(_PERSON.c.id, _PERSON.c.name).where(_PERSON.c.id.in_(bindparam("ids", expanding=True)))


def names(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """The names of people by their ids, in one statement; an id that nobody has is left out, and so is ""."""
    wanted = sorted({one for one in ids if one})
    return {row.id: row.name for row in connection.execute(_NAMES, {"ids": wanted})} if wanted else {}
