"""The access journal: who came in, was let in, or was turned away; append-only and chained by hashes (ICH E6(R3) §4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from sites.database import Database, queue_up, table
from sites.journal import compact
from sites.tables import AccessRow

_ACCESS = table(AccessRow)
_LAST = select(_ACCESS.c.seq, _ACCESS.c.hash).order_by(_ACCESS.c.seq.desc()).limit(1)


class AccessKind(StrEnum):
    """Every kind of entry, with one meaning each."""

    ACCOUNT_CREATED = "AccountCreated"  # a person can prove who they are from now on
    ACCOUNT_DISABLED = "AccountDisabled"  # a manager closed it, and with it every session and token
    ACCOUNT_ENABLED = "AccountEnabled"  # a manager opened it again
    ACCOUNT_LOCKED = "AccountLocked"  # too many failures in a row
    PASSWORD_CHANGED = "PasswordChanged"  # noqa: S105 - a kind
    SECOND_FACTOR_SET = "SecondFactorSet"  # codes of an authenticator are asked from now on
    SECOND_FACTOR_REMOVED = "SecondFactorRemoved"
    PROVIDER_LINKED = "ProviderLinked"  # an OpenID provider's word is taken for a person from now on
    PROVIDER_UNLINKED = "ProviderUnlinked"
    SIGNED_IN = "SignedIn"  # a session began
    SIGNED_OUT = "SignedOut"  # its person, or a manager, ended it
    PROVEN_AGAIN = "ProvenAgain"  # a person proved who they are within a session, to sign
    SIGN_IN_FAILED = "SignInFailed"  # the proof did not do
    TOKEN_CREATED = "TokenCreated"  # noqa: S105 - a kind
    TOKEN_REVOKED = "TokenRevoked"  # noqa: S105 - a kind
    LINK_CREATED = "LinkCreated"  # an invitation, a recovery, a checkpoint's or a calendar's address
    LINK_USED = "LinkUsed"
    LINK_REVOKED = "LinkRevoked"
    REQUEST_REFUSED = "RequestRefused"  # a forged, expired or replayed link, token or form
    GLASS_BROKEN = "GlassBroken"  # an emergency look, with its reason
    REGISTRY_IMPORTED = "RegistryImported"  # sites, people or assignments from a file
    ROLE_ASSIGNED = "RoleAssigned"
    ROLE_ENDED = "RoleEnded"
    DEPUTY_NAMED = "DeputyNamed"
    DEPUTY_ENDED = "DeputyEnded"
    CONFLICT_DECLARED = "ConflictDeclared"
    CONFLICT_WITHDRAWN = "ConflictWithdrawn"
    DELEGATION_RECORDED = "DelegationRecorded"
    DELEGATION_SIGNED = "DelegationSigned"
    DELEGATION_ENDED = "DelegationEnded"
    TRAINING_RECORDED = "TrainingRecorded"
    TRAINING_SIGNED = "TrainingSigned"
    TRAINING_ENDED = "TrainingEnded"
    CONTACT_CHANGED = "ContactChanged"  # an address, a channel or the hours someone wants to be told in
    PERSON_CHANGED = "PersonChanged"
    SITE_CHANGED = "SiteChanged"
    ANCHORED = "Anchored"  # the heads of all journals were signed outside the database
    CLOCK_JUMPED = "ClockJumped"  # a machine's clock went off, or came right again: dates in between are wrong
    LEDGER_RESTORED = "LedgerRestored"  # a backup took the ledger's place; what it replaced, and what ended with it
    EXPORTED = "Exported"  # a journal, a manifest or a list left the house as a file
    ACCESS_REVIEWED = "AccessReviewed"  # a manager went through who may do what


def note(connection: Connection, kind: AccessKind, at: datetime, *, person: str = "", by: str = "", address: str = "", **data: Any) -> None:
    """Add an entry about `person`, done by `by` ("" for nobody known) from a network address, in the caller's write transaction.

    `at` is aware UTC; `data` holds JSON values, never a secret nor a typed answer.
    """
    queue_up(connection)
    last = connection.execute(_LAST).first()
    row = {
        "seq": last.seq + 1 if last else 1,
        "kind": kind.value,
        "at": at,
        "person": person,
        "by": by,
        "address": address,
        "data": compact(data),
        "previous": last.hash if last else "",
    }
    connection.execute(insert(_ACCESS).values(row | {"hash": row_hash(row)}))


def in_place_of(*persons: str) -> dict[str, Any]:
    """What an entry says of whom its `by` stood in for as a deputy; nothing for nobody."""
    named = ", ".join(filter(None, persons))
    return {"of": named} if named else {}


def entries(
    database: Database, *, person: str | None = None, kind: str | None = None, before: int | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Entries, newest first: `seq, kind, at, person, by, address, data`; about or by one person, of one kind, older than `before`."""
    query = select(_ACCESS).order_by(_ACCESS.c.seq.desc()).limit(limit)
    query = query.where((_ACCESS.c.person == person) | (_ACCESS.c.by == person)) if person else query
    query = query.where(_ACCESS.c.kind == kind) if kind else query
    query = query.where(_ACCESS.c.seq < before) if before else query
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [
        {name: row[name] for name in ("seq", "kind", "at", "person", "by", "address")} | {"data": json.loads(row["data"])} for row in rows
    ]


def verify(database: Database) -> dict[str, Any]:
    """Recompute the chain: `{"ok", "entries", "first_bad"}`, the number of the first row that does not fit or None."""
    count, head = 0, ""
    with database.read() as connection:
        for row in rows(connection):
            count += 1
            if (row["seq"], row["previous"]) != (count, head) or row["hash"] != row_hash(row):
                return {"ok": False, "entries": count, "first_bad": row["seq"]}
            head = row["hash"]
    return {"ok": True, "entries": count, "first_bad": None}


def rows(connection: Connection) -> Iterator[dict[str, Any]]:
    """Every row, oldest first."""
    query = select(_ACCESS).order_by(_ACCESS.c.seq)
    with connection.execute(query, execution_options={"yield_per": 500}) as found:
        yield from (dict(row) for row in found.mappings())


def row_hash(row: dict[str, Any]) -> str:
    at: datetime = row["at"]
    content = [at.astimezone(UTC).isoformat(), *(row[name] for name in ("seq", "kind", "person", "by", "address", "data", "previous"))]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()
