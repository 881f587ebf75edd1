"""When people last came, whichever way they did: by a session, a token of the API, or a link that they used."""

from __future__ import annotations

from sqlalchemy import Subquery, func, select, union_all

from sites.database import table
from sites.tables import Account, Link, Session, Token

_ACCOUNT, _SESSION, _TOKEN, _LINK = table(Account), table(Session), table(Token), table(Link)

# A calendar or a mailing list is read by programs, day and night, also when its person has long left.
_BY_HAND = ("invitation", "recovery", "checkpoint")


def last_seen() -> Subquery:
    """A table `person, seen_at` (aware UTC) of those who ever came; to be joined from the left."""
    ways = union_all(
        select(_ACCOUNT.c.person, _ACCOUNT.c.seen_at),
        select(_SESSION.c.person, _SESSION.c.seen_at),
        select(_TOKEN.c.person, _TOKEN.c.used_at),
        select(_LINK.c.person, _LINK.c.used_at).where(_LINK.c.purpose.in_(_BY_HAND)),
    ).subquery("ways")
    came = select(ways.c.person, func.max(ways.c.seen_at).label("seen_at")).where(ways.c.seen_at.is_not(None))
    return came.group_by(ways.c.person).subquery("seen")
