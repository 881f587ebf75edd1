"""What a restored ledger must not bring back: ways in that were closed since; and what the replaced one's access journal knew.

A backup is of a day when sessions, tokens and links were in force that may have been ended since: all of them end. An account that the
replaced ledger had closed stays closed, and a link to the OpenID provider that it had taken back is not there again. The entries of the
replaced access journal that the backup does not hold go to a file beside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, or_, select, update

from protocols.errors import InsituError
from sites.database import table
from sites.identity.access import AccessKind, note
from sites.journal import compact
from sites.private import make_folder
from sites.tables import AccessRow, Account, Link, Session, Token

_ACCESS, _ACCOUNT, _LINK, _SESSION, _TOKEN = (table(one) for one in (AccessRow, Account, Link, Session, Token))


@dataclass(frozen=True, slots=True)
class Replaced:
    """What is known of the ledger that a restore replaces: who was shut out, whom each account was linked to at the OpenID provider (None
    once unlinked), and the file with what its access journal knew alone."""

    closed: frozenset[str] = frozenset()
    subjects: Mapping[str, str | None] = field(default_factory=dict)
    head: str = ""
    entries: int = 0
    file: Path | None = None


def remember_replaced(connection: Connection, backed_up: Iterable[Mapping[str, Any]], beside: Path, now: datetime) -> Replaced:
    """Look at a ledger that is about to be replaced; `backed_up` are the rows of the backup's access journal, in order.

    Raises InsituError when the file cannot be written.
    """
    rows = connection.execute(select(_ACCESS).order_by(_ACCESS.c.seq), execution_options={"yield_per": 500}).mappings()
    alone = _Alone(beside / f"replaced-{now:%Y%m%dT%H%M%SZ}.access.jsonl")
    head = ""
    try:
        for row in _after_what_both_know((dict(row) for row in rows), backed_up):
            head = row["hash"]
            alone.write(compact(row | {"at": row["at"].isoformat()}))
    finally:
        alone.close()
    closed = connection.execute(select(_ACCOUNT.c.person).where(_ACCOUNT.c.disabled_at.is_not(None))).scalars()
    linked = select(_ACCOUNT.c.person, _ACCOUNT.c.subject).where(or_(_ACCOUNT.c.subject.is_not(None), _ACCOUNT.c.unlinked_at.is_not(None)))
    subjects = {row.person: row.subject for row in connection.execute(linked)}
    return Replaced(frozenset(closed), subjects, head, alone.count, alone.file if alone.count else None)


def _after_what_both_know(rows: Iterator[dict[str, Any]], backed_up: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows from the first on that is not the backup's too."""
    shared = True
    for row, other in zip_longest(rows, backed_up):
        if row is None:
            return
        shared = shared and other is not None and other["hash"] == row["hash"]
        if not shared:
            yield row


class _Alone:
    """A file for its owner only, made when there is something to write."""

    def __init__(self, file: Path) -> None:
        self.file, self.count = file, 0
        self._opened: int | None = None

    def write(self, line: str) -> None:
        try:
            if self._opened is None:
                make_folder(self.file.parent)
                self._opened = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(self._opened, line.encode() + b"\n")
        except OSError as error:
            raise InsituError(
                f"What the access journal knew since the backup cannot be kept in {self.file}: {error.strerror}. Nothing was restored."
            ) from error
        self.count += 1

    def close(self) -> None:
        if self._opened is not None:
            with suppress(OSError):
                os.fsync(self._opened)
            os.close(self._opened)


def end_ways_in(connection: Connection, replaced: Replaced, now: datetime, about: Mapping[str, Any]) -> None:
    """End every session, token and link of a restored ledger, close who was closed, and journal all that with what is said `about` it."""
    sessions = connection.execute(update(_SESSION).where(_SESSION.c.ended_at.is_(None)).values(ended_at=now)).rowcount
    tokens = connection.execute(update(_TOKEN).where(_TOKEN.c.revoked_at.is_(None)).values(revoked_at=now)).rowcount
    unused = (_LINK.c.used_at.is_(None), _LINK.c.revoked_at.is_(None))
    links = connection.execute(update(_LINK).where(*unused).values(revoked_at=now)).rowcount
    still_open = select(_ACCOUNT.c.person).where(_ACCOUNT.c.disabled_at.is_(None)).order_by(_ACCOUNT.c.person)
    reopened = [person for person in connection.execute(still_open).scalars() if person in replaced.closed]
    for person in reopened:
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(disabled_at=now))
        note(connection, AccessKind.ACCOUNT_DISABLED, now, person=person, why="closed before the restore")
    unlinked = _unlink(connection, replaced, now)
    kept = {"entries": replaced.entries, "head": replaced.head, "file": replaced.file.name} if replaced.file else None
    ended: dict[str, Any] = {"sessions": sessions, "tokens": tokens, "links": links, "closed": reopened, "unlinked": unlinked}
    note(connection, AccessKind.LEDGER_RESTORED, now, **about, **ended, replaced=kept)


def _unlink(connection: Connection, replaced: Replaced, now: datetime) -> list[str]:
    """Take back every link that the replaced ledger no longer had, and let no e-mail make it anew; whose they were."""
    rows = connection.execute(select(_ACCOUNT.c.person, _ACCOUNT.c.subject, _ACCOUNT.c.unlinked_at).order_by(_ACCOUNT.c.person)).all()
    known = [row for row in rows if row.person in replaced.subjects]
    wrong = [
        row
        for row in known
        if row.subject not in (None, replaced.subjects[row.person])
        or (row.subject is None and row.unlinked_at is None and replaced.subjects[row.person] is None)
    ]
    for row in wrong:
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == row.person).values(subject=None, unlinked_at=now))
        note(connection, AccessKind.PROVIDER_UNLINKED, now, person=row.person, subject=row.subject or "", why="unlinked before the restore")
    return [row.person for row in wrong]
