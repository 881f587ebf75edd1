"""What is the matter with a database, found from its error and its disk, and said in plain words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TypeGuard
from urllib.parse import quote

from protocols.errors import DatabaseUnavailable
from protocols.phrase import Phrase

UNCERTAIN = Phrase(
    "The database server went away while it was writing: whether it wrote is not known. Look whether it was done before you do it again."
)
FULL_BELOW = 64 * 1024  # bytes: SQLite's readers alone share a file of 32 kB


class Trouble(StrEnum):
    """What keeps a database from being written, or from being used at all."""

    LOCKED = "locked"
    FULL = "full"
    READ_ONLY = "read-only"
    DAMAGED = "damaged"
    BUSY = "busy"
    UNPREPARED = "unprepared"
    CLOSED = "closed"
    AWAY = "away"


PASSING = (Trouble.AWAY, Trouble.BUSY, Trouble.LOCKED)
# By what the error says of itself; the first that fits.
SIGNS: tuple[tuple[str, Trouble], ...] = (
    ("database or disk is full", Trouble.FULL),
    ("No space left", Trouble.FULL),
    ("readonly", Trouble.READ_ONLY),
    ("read-only", Trouble.READ_ONLY),
    ("locked", Trouble.LOCKED),
    ("lock timeout", Trouble.LOCKED),
    ("not a database", Trouble.DAMAGED),
    ("malformed", Trouble.DAMAGED),
    ("QueuePool", Trouble.BUSY),
    ("no such table", Trouble.UNPREPARED),
    ("unable to open", Trouble.CLOSED),
)


def cause_of(error: BaseException) -> BaseException:
    found: BaseException = getattr(error, "orig", None) or error
    return found


def trouble_of(error: BaseException, file: Path | None) -> Trouble:
    """What is the matter. SQLite says "disk I/O error" of a full or read-only disk alike: the disk itself tells which."""
    said = str(cause_of(error))
    found = next((trouble for sign, trouble in SIGNS if sign in said), Trouble.AWAY)
    if file and found in (Trouble.AWAY, Trouble.CLOSED, Trouble.READ_ONLY) and file.exists():
        return disk_trouble(file) or found
    return found


def passes(error: object) -> TypeGuard[DatabaseUnavailable]:
    """Whether an error is an outage of the database that is likely to heal by itself; a full disk or missing tables are not."""
    return isinstance(error, DatabaseUnavailable) and error.__cause__ is not None and trouble_of(error.__cause__, None) in PASSING


def disk_trouble(file: Path) -> Trouble | None:
    """Whether the disk that a file lies on is full, or it cannot be written; None where neither."""
    with suppress(OSError):
        disk = os.statvfs(file.parent)
        if disk.f_flag & os.ST_RDONLY or not os.access(file, os.W_OK):
            return Trouble.READ_ONLY
        if disk.f_bavail * disk.f_frsize < FULL_BELOW or (disk.f_files and not disk.f_favail):
            return Trouble.FULL
    return None


def explained(error: BaseException, file: Path | None, patience_s: float, so: str) -> Phrase:
    """The error as a sentence: what happened, what to do; `so` says what became of the work."""
    where, seconds = where_is(file), f"{patience_s:g}"
    why = str(cause_of(error)).strip().partition("\n")[0].rstrip(".")
    match trouble_of(error, file):
        case Trouble.LOCKED:
            what = Phrase(
                "{where} stayed locked for {seconds} s by another program. Try again; if it lasts, find what holds it.",
                where=where,
                seconds=seconds,
            )
        case Trouble.FULL:
            what = Phrase("{where} cannot grow: the disk is full. Free some space and try again.", where=where)
        case Trouble.READ_ONLY:
            what = Phrase("{where} is read-only. Make it, its folder and its disk writable and try again.", where=where)
        case Trouble.DAMAGED if "malformed" in why:
            what = Phrase("{where} is damaged. Restore a backup with `insitu restore`.", where=where)
        case Trouble.DAMAGED:
            what = Phrase("{where} is not one of insitu's, or it is damaged. Check the address, or restore a backup.", where=where)
        case Trouble.BUSY:
            what = Phrase("{where} is busy: no connection came free in time. Try again.", where=where)
        case Trouble.UNPREPARED:
            what = Phrase("{where} has no tables yet. Run `insitu up`, or any command that writes, once.", where=where)
        case Trouble.CLOSED:
            what = Phrase("{where} cannot be opened. Check that its folder exists and is yours to write.", where=where)
        case _:
            what = Phrase("{where} cannot be used: {why}.", where=where, why=why)
    return Phrase("{what} {so}", what=what, so=so)


def where_is(file: Path | None) -> Phrase:
    return Phrase("The database {file}", file=str(file)) if file else Phrase("The database server")


def on_this_disk(file: Path) -> sqlite3.Connection:
    """A connection that reads a database on a full or read-only disk, where the file that readers share cannot be made.

    With nothing in its log the file alone says all, and nobody can be writing. Else it is locked for as long as it is read, which needs a
    disk that can be written. Raises sqlite3.OperationalError where neither does.
    """
    log = file.with_name(file.name + "-wal")
    alone = "immutable=1&mode=ro" if not log.exists() or not log.stat().st_size else "vfs=unix-excl"
    connection = sqlite3.connect(f"file:{quote(str(file.absolute()))}?{alone}", uri=True, check_same_thread=False)
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA busy_timeout=500")
    return connection
