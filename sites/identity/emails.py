"""E-mail addresses as names: who has which."""

from __future__ import annotations

from sqlalchemy import Connection, func, or_, select

from sites.database import table
from sites.tables import Person

_PERSON = table(Person)


def is_same(one: str, other: str) -> bool:
    """Whether two e-mail addresses are one: alike to the letter, or but for the capitals of ASCII letters.

    Nothing else is folded: the Kelvin sign has `k` for its small letter, and is nobody's `k`. What holds a control character is no address.
    """
    if not (one.isprintable() and other.isprintable()):
        return False
    return one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())


def people_with(connection: Connection, email: str) -> list[str]:
    """The ids of the people who have an e-mail address, in order; none for what cannot be one."""
    if not email or not email.isprintable():
        return []
    # Each database has capitals of its own, so it only says who might have it.
    wanted = or_(_PERSON.c.email == email, func.lower(_PERSON.c.email) == email.lower())
    rows = connection.execute(select(_PERSON.c.id, _PERSON.c.email).where(wanted).order_by(_PERSON.c.id))
    return [str(row.id) for row in rows if is_same(row.email, email)]
