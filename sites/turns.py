"""Writers of one SQLite file take turns: one at a time, the next woken at once, and nobody waits without end."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from time import monotonic

from sites.private import opened_alone

try:
    import fcntl
except ImportError:  # not on this system: SQLite's own waiting does
    fcntl = None  # type: ignore[assignment]

IS_LOCKED = "database is locked"  # SQLite's own words for it

log = logging.getLogger("insitu.store")


class WriterQueue:
    """Lets one writer of an SQLite file in at a time, and wakes the next at once.

    SQLite itself makes writers sleep and try again: with 8 of them the unlucky waited for seconds (docs/performance.md). The lock is the
    kernel's and dies with its process. SQLite's own locks still guard the file: without this queue writing is slower, never wrong.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._threads = threading.Lock()
        self._gate: Gate | None = None
        self._has_none = False

    @contextmanager
    def turn(self, patience_s: float) -> Iterator[float]:
        """One's turn, once it came; gives how many seconds of the patience are left. Raises sqlite3.OperationalError when it does not."""
        if self._process != os.getpid():  # a fork shares our lock without knowing
            self._begin_anew()
        until = monotonic() + patience_s
        if not self._threads.acquire(timeout=patience_s):
            raise sqlite3.OperationalError(IS_LOCKED)
        try:
            gate = self._opened()
            if gate and not gate.enter(max(until - monotonic(), 0)):
                raise sqlite3.OperationalError(IS_LOCKED)
            try:
                yield max(until - monotonic(), 0.01)
            finally:
                if gate:
                    gate.leave()
        finally:
            self._threads.release()

    def _opened(self) -> Gate | None:
        if self._gate is None and not self._has_none and fcntl:
            file = self._database.with_name(self._database.name + ".queue")
            try:
                self._gate = Gate(opened_alone(file, self._database))
            except OSError as error:  # no room or no right for the queue's file: writing is slower without
                self._has_none = True
                log.warning("Writers go without the queue %s (%s): they wait longer for each other.", file, error.strerror or error)
        return self._gate


class State(Enum):
    """Whether the kernel's lock is ours."""

    FREE = "free"
    ASKED = "asked"
    OURS = "ours"


class Gate:
    """The kernel's lock on a file, waited for with a limit.

    `flock` itself waits without one. Trying again and again would let newcomers overtake whoever has waited long; so a thread of its own
    waits in the kernel's queue, in turn, and gives the lock up at once when nobody wants it any more.
    """

    def __init__(self, file: int) -> None:
        self._file, self._state, self._is_wanted = file, State.FREE, False
        self._changed = threading.Condition()
        self._waiter: threading.Thread | None = None

    def enter(self, patience_s: float) -> bool:
        """Whether the lock came to be ours in time. Not for two threads at once."""
        with self._changed:
            if self._state is State.FREE and not self._try():
                self._state = State.ASKED
                self._ask()
            self._is_wanted = True
            self._is_wanted = self._changed.wait_for(lambda: self._state is State.OURS, patience_s)
            return self._is_wanted

    def leave(self) -> None:
        with self._changed:
            self._free()

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._state = State.OURS
        return True

    def _free(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._state, self._is_wanted = State.FREE, False

    def _ask(self) -> None:
        if self._waiter is None:
            self._waiter = threading.Thread(target=self._wait, name="turn", daemon=True)
            self._waiter.start()
        self._changed.notify_all()

    def _wait(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._state is State.ASKED)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            with self._changed:
                if self._is_wanted:
                    self._state = State.OURS
                    self._changed.notify_all()
                else:
                    self._free()
