"""Who is at work on a ledger: each program that runs holds it for as long as it lives, and to replace it one must have it alone.

On SQLite by the kernel's lock on a file beside the database, on PostgreSQL by an advisory lock of a connection that is kept, so that
programs on other machines are seen too. Both end with their program, whatever ended it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from protocols.errors import DatabaseUnavailable, Refused
from protocols.phrase import Phrase
from sites.database import Database
from sites.private import opened_alone

try:
    import fcntl
except ImportError:  # not on this system: nothing is seen there
    fcntl = None  # type: ignore[assignment]

KEY = 20261128  # the advisory lock of PostgreSQL
AFTER_RESTORE_S = 60.0  # a program that starts meanwhile waits for it to end
LOOK_EVERY_S = 2.0
_HOLDERS = text(
    "SELECT activity.application_name FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid) "
    "WHERE held.locktype = 'advisory' AND held.classid = 0 AND held.objid = :key AND held.objsubid = 1 AND held.granted "
    "AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
)

log = logging.getLogger("insitu.store")


@contextmanager
def occupying(database: Database, what: str) -> Iterator[None]:
    """Be at work on a ledger while the block runs; `what` tells whoever looks, such as `insitu serve`.

    Waits a minute for a restore under way. Raises Refused when that has not ended then, DatabaseUnavailable.
    """
    if database.file is None:
        with _on_server(database, f"{what} on {socket.gethostname()}, process {os.getpid()}"):
            yield
        return
    opened = _lock_file(database)
    try:
        if opened is not None:
            _wait_for(lambda: _locked(opened, exclusive=False))
        yield
    finally:
        if opened is not None:
            os.close(opened)


@contextmanager
def alone_on(database: Database) -> Iterator[None]:
    """Have a ledger for oneself while the block runs: nothing starts on it meanwhile. Raises Refused, which names what runs there."""
    if database.file is None:
        with _alone_on_server(database):
            yield
        return
    opened = _lock_file(database)
    try:
        if opened is not None and not _locked(opened, exclusive=True):
            raise _occupied(", ".join(_processes(opened)) or "insitu up, serve, dispatch or worker")
        yield
    finally:
        if opened is not None:
            os.close(opened)


def _occupied(by: str) -> Refused:
    return Refused(
        Phrase("This ledger is at work: {by}. Stop what runs on it, on every machine, then restore. Nothing was restored.", by=by)
    )


def _wait_for(taken: Callable[[], bool]) -> None:
    until = monotonic() + AFTER_RESTORE_S
    while not taken():
        if monotonic() > until:
            raise Refused(Phrase("A backup is being restored into this ledger. Wait for it to end, then start again."))
        threading.Event().wait(0.2)


# ------------------------------------------------------------------ SQLite


def _lock_file(database: Database) -> int | None:
    """The descriptor of the file to lock; None where none can be locked, on a disk that is read-only."""
    assert database.file is not None, "a server keeps its own locks"
    database.engine  # noqa: B018 -- it makes the folder
    whole = database.file.resolve()
    try:
        return opened_alone(whole.with_name(whole.name + ".running"), whole) if fcntl else None
    except OSError as error:
        log.warning("It is not noted that insitu runs on %s (%s): a restore would not be refused.", whole, error.strerror or error)
        return None


def _locked(opened: int, *, exclusive: bool) -> bool:
    try:
        fcntl.flock(opened, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _processes(opened: int) -> list[str]:
    """Which processes hold the file, as far as this system tells."""
    inode = os.fstat(opened).st_ino
    with suppress(OSError, IndexError, ValueError):
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return [f"process {one[4]}" for one in lines if one[1] == "FLOCK" and one[5].rpartition(":")[2] == str(inode)]
    return []


# ------------------------------------------------------------------ PostgreSQL


@contextmanager
def _on_server(database: Database, name: str) -> Iterator[None]:
    over = threading.Event()
    held = _Held(database, name)
    _wait_for(held.take)
    keeper = threading.Thread(target=held.keep, args=(over,), name="occupying", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join(5)
        held.close()


class _Held:
    """The lock of one program, taken again as soon as may be after the server was away."""

    def __init__(self, database: Database, name: str) -> None:
        self._database, self._name = database, name
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Whether the lock is ours now. Raises DatabaseUnavailable."""
        try:
            self._connection = self._connection or _own_connection(self._database, self._name)
            return bool(self._connection.execute(text("SELECT pg_try_advisory_lock_shared(:key)"), {"key": KEY}).scalar())
        except DBAPIError as error:
            self.close()
            raise DatabaseUnavailable(f"The database server cannot be used: {error.orig}.") from error

    def keep(self, over: threading.Event) -> None:
        is_ours = True
        while not over.wait(LOOK_EVERY_S):
            try:
                if self._connection is None or not is_ours:
                    is_ours = self.take()
                else:
                    self._connection.execute(text("SELECT 1"))
            except (DBAPIError, DatabaseUnavailable):
                self.close()

    def close(self) -> None:
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None


def _own_connection(database: Database, name: str) -> Connection:
    """A connection that belongs to no transaction, and that the server drops within a minute when its machine is gone."""
    connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    settings: dict[str, Any] = {
        "application_name": name[:63],
        "tcp_keepalives_idle": "20",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }
    for setting, value in settings.items():
        connection.execute(text("SELECT set_config(:name, :value, false)"), {"name": setting, "value": value})
    return connection


@contextmanager
def _alone_on_server(database: Database) -> Iterator[None]:
    try:
        connection = _own_connection(database, "insitu restore")
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": KEY}).scalar()
        others = [] if taken else list(connection.execute(_HOLDERS, {"key": KEY}).scalars())
    except DBAPIError as error:
        raise DatabaseUnavailable(f"The database server cannot be used: {error.orig}. Nothing was restored.") from error
    try:
        if not taken:
            raise _occupied("; ".join(others) or "insitu up, serve, dispatch or worker")
        yield
    finally:
        with suppress(DBAPIError):  # at once: the server may take a while to see that the connection is gone
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": KEY})
        connection.invalidate()
        connection.close()
