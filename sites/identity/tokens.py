"""Personal tokens of the REST API: shown once, with a scope and an end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, insert, select, update

from protocols.errors import InvalidInput
from protocols.forms import says_nothing
from protocols.phrase import Phrase
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.identity.keys import fingerprint
from sites.tables import Account, Person, Token

_TOKEN, _PERSON, _ACCOUNT = table(Token), table(Person), table(Account)

PREFIX = "insitu_"  # so that whoever finds one knows what it is
LONGEST_DAYS = 366
USED_EVERY = timedelta(minutes=1)
Scope = Literal["read", "write"]

_READ = (
    select(_TOKEN, _PERSON.c.name.label("person_name"), _PERSON.c.locale, _ACCOUNT.c.disabled_at)
    .join(_PERSON, _PERSON.c.id == _TOKEN.c.person)
    .outerjoin(_ACCOUNT, _ACCOUNT.c.person == _TOKEN.c.person)
    .where(_TOKEN.c.id == bindparam("id"))
)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token in force: whose, and what it may do."""

    id: str
    person: str
    name: str
    locale: str
    scope: Scope


def create_token(database: Database, clock: Clock, person: str, name: str, scope: Scope, days: int) -> str:
    """A new token of a person, its text told only now; it ends after `days` (1 to 366). Raises InvalidInput."""
    if says_nothing(name) or not 1 <= days <= LONGEST_DAYS or scope not in ("read", "write"):
        raise InvalidInput(Phrase("A token needs a name, a scope (read or write) and between 1 and {longest} days.", longest=LONGEST_DAYS))
    now, token = clock.now(), PREFIX + secrets.token_urlsafe(32)
    row = {"id": fingerprint(token), "person": person, "name": name.strip()[:100], "scope": scope}
    with database.write() as connection:
        connection.execute(insert(_TOKEN).values(row | {"created_at": now, "expires_at": now + timedelta(days=days)}))
        note(connection, AccessKind.TOKEN_CREATED, now, person=person, by=person, name=row["name"], scope=scope, days=days)
    return token


def read_token(database: Database, clock: Clock, token: str) -> TokenRow | None:
    """The token in force of that text; None for an unknown, expired or revoked one, or when its person's account is closed."""
    now = clock.now()
    with database.read() as connection:
        row = connection.execute(_READ, {"id": fingerprint(token)}).mappings().first()
    if row is None or row["revoked_at"] or row["disabled_at"] or row["expires_at"] <= now:
        return None
    if row["used_at"] is None or now - row["used_at"] >= USED_EVERY:
        used = update(_TOKEN).where(_TOKEN.c.id == row["id"]).values(used_at=now)
        database.write_in_passing(lambda connection: connection.execute(used))
    return TokenRow(row["id"], row["person"], row["person_name"], row["locale"], row["scope"])


def revoke_token(database: Database, clock: Clock, person: str, token: str, *, by: str) -> bool:
    """Revoke one of a person's tokens by its id; False when there is none in force."""
    now = clock.now()
    its = (_TOKEN.c.id == token, _TOKEN.c.person == person, _TOKEN.c.revoked_at.is_(None))
    with database.write() as connection:
        row = connection.execute(update(_TOKEN).where(*its).values(revoked_at=now).returning(_TOKEN.c.name)).first()
        if row:
            note(connection, AccessKind.TOKEN_REVOKED, now, person=person, by=by, name=row.name)
    return row is not None


def revoke_tokens(connection: Connection, person: str, now: datetime, *, by: str, since: datetime) -> int:
    """Revoke a person's tokens that were made since a moment, in the caller's write transaction; how many. Journaled one by one."""
    its = (_TOKEN.c.person == person, _TOKEN.c.revoked_at.is_(None), _TOKEN.c.created_at >= since)
    names = list(connection.execute(update(_TOKEN).where(*its).values(revoked_at=now).returning(_TOKEN.c.name)).scalars())
    for name in names:
        note(connection, AccessKind.TOKEN_REVOKED, now, person=person, by=by, name=name)
    return len(names)


def tokens_of(database: Database, person: str, now: datetime) -> list[dict[str, Any]]:
    """A person's tokens in force, newest first: `id, name, scope, created_at, expires_at, used_at`."""
    names = ("id", "name", "scope", "created_at", "expires_at", "used_at")
    wanted = (_TOKEN.c.person == person, _TOKEN.c.revoked_at.is_(None), _TOKEN.c.expires_at > now)
    query = select(*(_TOKEN.c[name] for name in names)).where(*wanted).order_by(_TOKEN.c.created_at.desc())
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
