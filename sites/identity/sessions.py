"""Sessions: a browser that has signed in, until it is left alone too long, grows too old, or is ended."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from protocols.errors import NotProven
from protocols.phrase import Phrase
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.identity.keys import fingerprint
from sites.tables import Account, Person, Session

_SESSION, _PERSON, _ACCOUNT = table(Session), table(Person), table(Account)

# A shared ward computer must not stay open over a coffee (OWASP ASVS 5.0 §7.3 asks for both limits).
IDLE = timedelta(minutes=30)
OLDEST = timedelta(hours=12)
PROVIDER = "oidc"  # the method of a session that an OpenID provider vouches for
SEEN_EVERY = timedelta(minutes=1)  # a look at a page is written down once a minute, not each time

_READ = (
    select(_SESSION, _PERSON.c.name, _PERSON.c.locale, _ACCOUNT.c.disabled_at)
    .join(_PERSON, _PERSON.c.id == _SESSION.c.person)
    .outerjoin(_ACCOUNT, _ACCOUNT.c.person == _SESSION.c.person)
    .where(_SESSION.c.id == bindparam("id"))
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as found: `is_live` is False once it has ended, `ran_out` True where only its limits ended it. Times are aware UTC."""

    id: str
    person: str
    name: str
    locale: str
    method: str
    created_at: datetime
    seen_at: datetime
    proven_at: datetime
    is_live: bool
    ran_out: bool


def open_session(
    connection: Connection,
    person: str,
    now: datetime,
    *,
    method: str,
    address: str = "",
    agent: str = "",
    proven_at: datetime | None = None,
    subject: str = "",
    leaving: str = "",
) -> str:
    """Begin a session in the caller's write transaction; gives the cookie's text, which is kept nowhere. The sign-in is journaled.

    `proven_at` is when the person proved who they are, where that was not now: an OpenID provider may remember them from this morning.
    Whoever comes by a `subject` there comes in only while their account is linked to it, else NotProven is raised; `leaving`, sealed by the
    caller, is kept for `leaving_of`.
    """
    if subject and not _is_linked(connection, person, subject):
        raise NotProven(Phrase("Your account was unlinked meanwhile. Nothing was done."))
    forget_old(connection, now)
    cookie = secrets.token_urlsafe(32)
    times = {"created_at": now, "seen_at": now, "proven_at": proven_at or now}
    row = {"id": fingerprint(cookie), "person": person, "method": method, "address": address, "agent": agent[:200], "leaving": leaving}
    connection.execute(insert(_SESSION).values(row | times))
    connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(seen_at=now))  # the session itself is forgotten
    note(connection, AccessKind.SIGNED_IN, now, person=person, by=person, address=address, method=method)
    return cookie


def _is_linked(connection: Connection, person: str, subject: str) -> bool:
    # Locked until the session is there: whoever unlinks the account meanwhile waits, and then ends it.
    its = select(_ACCOUNT.c.person).where(_ACCOUNT.c.person == person, _ACCOUNT.c.subject == subject)
    return connection.execute(its.with_for_update()).first() is not None


def read_session(database: Database, clock: Clock, cookie: str) -> SessionRow | None:
    """The session of a cookie, live or not; None for an unknown one. Being seen keeps it alive."""
    now = clock.now()
    with database.read() as connection:
        row = connection.execute(_READ, {"id": fingerprint(cookie)}).mappings().first()
    if row is None:
        return None
    is_live = _is_live(row, now)
    found = SessionRow(**{name: row[name] for name in _NAMES}, is_live=is_live, ran_out=not is_live and not _was_ended(row))
    if found.is_live and now - found.seen_at >= SEEN_EVERY:
        seen = update(_SESSION).where(_SESSION.c.id == found.id, _SESSION.c.ended_at.is_(None)).values(seen_at=now)
        database.write_in_passing(lambda connection: connection.execute(seen))
    return found


def person_of(database: Database, session: str) -> str | None:
    """Whose session that id was, live or not; None for an unknown one."""
    with database.read() as connection:
        return connection.execute(select(_SESSION.c.person).where(_SESSION.c.id == session)).scalar()


_NAMES = ("id", "person", "name", "locale", "method", "created_at", "seen_at", "proven_at")


def _is_live(row: Any, now: datetime) -> bool:
    return not _was_ended(row) and now - row["seen_at"] < IDLE and now - row["created_at"] < OLDEST


def _was_ended(row: Any) -> bool:
    """Whether somebody ended it: its person, a manager, a new sign-in in its place, or the closing of the account."""
    return row["ended_at"] is not None or row["disabled_at"] is not None


def proven(connection: Connection, session: str, now: datetime, *, address: str = "", proven_at: datetime | None = None) -> None:
    """Note that the session's person has proved again who they are; `proven_at` where that was not now."""
    row = connection.execute(
        update(_SESSION)
        .where(_SESSION.c.id == session, _SESSION.c.ended_at.is_(None))
        .values(proven_at=proven_at or now, seen_at=now)
        .returning(_SESSION.c.person)
    ).first()
    if row:
        note(connection, AccessKind.PROVEN_AGAIN, now, person=row.person, by=row.person, address=address)


def leaving_of(database: Database, session: str) -> str:
    """What was kept of a session for its end, sealed; "" for nothing."""
    with database.read() as connection:
        return connection.execute(select(_SESSION.c.leaving).where(_SESSION.c.id == session)).scalar() or ""


def end_sessions(
    connection: Connection,
    person: str,
    now: datetime,
    *,
    by: str,
    only: str | None = None,
    but: str | None = None,
    method: str | None = None,
) -> int:
    """End a person's sessions: all of them, `only` one, all `but` one, or those of one `method`; how many ended.

    Those that had ended stay as they were.
    """
    wanted = [_SESSION.c.person == person, _SESSION.c.ended_at.is_(None)]
    wanted += [_SESSION.c.id == only] if only else []
    wanted += [_SESSION.c.id != but] if but else []
    wanted += [_SESSION.c.method == method] if method else []
    ended = connection.execute(update(_SESSION).where(*wanted).values(ended_at=now, leaving="")).rowcount
    if ended:
        note(connection, AccessKind.SIGNED_OUT, now, person=person, by=by, sessions=ended)
    return int(ended)


def sessions_of(database: Database, person: str, now: datetime) -> list[dict[str, Any]]:
    """A person's live sessions, the latest first: `id, method, created_at, seen_at, address, agent`."""
    live = (_SESSION.c.ended_at.is_(None), _SESSION.c.seen_at > now - IDLE, _SESSION.c.created_at > now - OLDEST)
    names = ("id", "method", "created_at", "seen_at", "address", "agent")
    query = select(*(_SESSION.c[name] for name in names)).where(_SESSION.c.person == person, *live).order_by(_SESSION.c.seen_at.desc())
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def forget_old(connection: Connection, now: datetime) -> int:
    """Delete the sessions that ended more than a day ago; what matters of them is in the access journal."""
    old = or_(_SESSION.c.created_at < now - OLDEST - timedelta(days=1), _SESSION.c.ended_at < now - timedelta(days=1))
    return int(connection.execute(_SESSION.delete().where(old)).rowcount)
