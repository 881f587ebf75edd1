"""Links: addresses that stand for one purpose of one person, signed, expiring, revocable, and for most purposes used once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, in_place_of, note
from sites.identity.keys import Key
from sites.tables import Link

_LINK = table(Link)

Purpose = Literal["invitation", "recovery", "checkpoint", "calendar", "unsubscribe"]
# Where a link of each purpose leads.
PATHS: dict[str, str] = {
    "invitation": "/invitation/{token}",
    "recovery": "/recovery/{token}",
    "checkpoint": "/l/{token}",
    "calendar": "/calendar/{token}.ics",
    "unsubscribe": "/unsubscribe/{token}",
}

_READ = select(_LINK).where(_LINK.c.id == bindparam("nonce"))


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link in force. `target` is what it is about (a checkpoint's name), "" for nothing in particular."""

    id: str
    purpose: str
    person: str
    target: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None


def create_link(
    connection: Connection,
    purpose: Purpose,
    person: str,
    now: datetime,
    *,
    by: str,
    of: str = "",
    target: str = "",
    lasts: timedelta | None,
) -> str:
    """A new link's nonce, which `token_of` makes an address of; it lasts so long, or with None until it is revoked. Journaled.

    `of` is whom `by` deputises for, "" for nobody.
    """
    nonce = secrets.token_urlsafe(24)
    expires_at = now + lasts if lasts else None
    row = {"id": nonce, "purpose": purpose, "person": person, "target": target, "created_by": by}
    connection.execute(insert(_LINK).values(row | {"created_at": now, "expires_at": expires_at}))
    note(connection, AccessKind.LINK_CREATED, now, person=person, by=by, purpose=purpose, target=target, **in_place_of(of))
    return nonce


def token_of(key: Key, purpose: Purpose, nonce: str) -> str:
    """The text that stands in the link's address; it lies nowhere in the database."""
    return key.sign(f"link.{purpose}", nonce)


def path_of(key: Key, purpose: Purpose, nonce: str) -> str:
    """The link's address on this installation, beginning with `/`."""
    return PATHS[purpose].format(token=token_of(key, purpose, nonce))


def open_link(database: Database, clock: Clock, key: Key, purpose: Purpose, token: str, *, address: str = "") -> LinkRow | None:
    """The link in force of a token; None, which is journaled, for one that is forged, expired, used or revoked. It stays unused."""
    now, nonce = clock.now(), key.opened(f"link.{purpose}", token)
    row: Any = None
    if nonce is not None:
        with database.read() as connection:
            row = connection.execute(_READ, {"nonce": nonce}).mappings().first()
    if why := _why_not(row, purpose, now):
        with database.write() as connection:
            data = {"what": "link", "purpose": purpose, "why": why}
            note(connection, AccessKind.REQUEST_REFUSED, now, person=row["person"] if row else "", address=address, **data)
        return None
    return LinkRow(*(row[name] for name in LinkRow.__dataclass_fields__))


def _why_not(row: Any, purpose: str, now: datetime) -> str:
    if row is None or row["purpose"] != purpose:
        return "forged"
    if row["revoked_at"]:
        return "revoked"
    if row["used_at"]:
        return "used"
    return "expired" if row["expires_at"] and row["expires_at"] <= now else ""


def use_link(connection: Connection, nonce: str, now: datetime, *, by: str = "") -> bool:
    """Use a link up; False when someone was first, or it is no longer in force. Journaled."""
    row = _change(connection, nonce, now, {"used_at": now}, or_(_LINK.c.expires_at.is_(None), _LINK.c.expires_at > now))
    if row:
        note(connection, AccessKind.LINK_USED, now, person=row.person, by=by or row.person, purpose=row.purpose, target=row.target)
    return row is not None


def revoke_link(connection: Connection, nonce: str, now: datetime, *, by: str, of: str = "") -> bool:
    """Take a link back; False when it was used or revoked already. Journaled."""
    row = _change(connection, nonce, now, {"revoked_at": now})
    if row:
        said = {"purpose": row.purpose, "target": row.target} | in_place_of(of)
        note(connection, AccessKind.LINK_REVOKED, now, person=row.person, by=by, **said)
    return row is not None


def _change(connection: Connection, nonce: str, now: datetime, values: dict[str, Any], *wanted: Any) -> Any:
    unused = (_LINK.c.id == nonce, _LINK.c.used_at.is_(None), _LINK.c.revoked_at.is_(None))
    changed = update(_LINK).where(*unused, *wanted).values(values)
    return connection.execute(changed.returning(_LINK.c.person, _LINK.c.purpose, _LINK.c.target)).first()


def revoke_links(
    connection: Connection, person: str, now: datetime, *, by: str, purposes: tuple[Purpose, ...] = (), since: datetime | None = None
) -> int:
    """Take back a person's links, those of some purposes or all, made at any time or `since` one; how many. Journaled one by one."""
    wanted = [_LINK.c.person == person, _LINK.c.used_at.is_(None), _LINK.c.revoked_at.is_(None)]
    wanted += [_LINK.c.purpose.in_(purposes)] if purposes else []
    wanted += [_LINK.c.created_at >= since] if since else []
    nonces = list(connection.execute(select(_LINK.c.id).where(*wanted)).scalars())
    return sum(revoke_link(connection, nonce, now, by=by) for nonce in nonces)


def links_of(database: Database, person: str) -> list[dict[str, Any]]:
    """Every link of a person, newest first, whatever became of it: its columns; `id` is the nonce."""
    query = select(_LINK).where(_LINK.c.person == person).order_by(_LINK.c.created_at.desc(), _LINK.c.id)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
