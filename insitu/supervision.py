"""The parts of a program that run side by side: how each is, and a thread that starts over when it ends by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

STOP_WITHIN_S = 15
LONGEST_PAUSE_S = 30.0
LONG_LIFE_S = 60.0  # a part that lived so long starts over without a growing pause

log = logging.getLogger("insitu.up")


class State(StrEnum):
    """How a part is. Only `OK` is well."""

    OK = "ok"
    STARTING = "starting"  # not there yet, and nothing says that it will not be
    AWAY = "away"  # does not answer, or cannot do its work because Prefect does not
    FAILING = "failing"  # answers, and what is tried goes wrong
    RESTARTING = "restarting"  # ended by itself; it starts over
    BEHIND = "behind"  # what is owed waits for longer than it should
    ABSENT = "absent"  # nobody does this work anywhere


@dataclass(frozen=True, slots=True)
class Condition:
    """How a part is, and since when (aware UTC), where that is known."""

    state: State
    since: datetime | None = None


class Parts:
    """How the parts of this process are. From any thread."""

    def __init__(self) -> None:
        self._conditions: dict[str, Condition] = {}
        self._changed = threading.Condition()

    def say(self, part: str, state: State) -> None:
        """Note how a part is now."""
        with self._changed:
            known = self._conditions.get(part)
            if known is None or known.state is not state:
                self._conditions[part] = Condition(state, datetime.now(UTC))
                self._changed.notify_all()

    def all(self) -> Mapping[str, Condition]:
        """How each is."""
        with self._changed:
            return dict(self._conditions)

    def wait(self, holds: Callable[[Mapping[str, Condition]], bool], within_s: float) -> bool:
        """Wait until the parts are so, and no longer than that; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: holds(self._conditions), within_s)


@contextmanager
def supervised(parts: Parts, part: str, run: Callable[[threading.Event], None], wake: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A thread that does `run(stop)` until the block ends. Should it end before, however it does, it starts over after a growing pause.

    `wake` lets it see at once that it should stop.
    """
    stop = threading.Event()
    running = threading.Thread(target=_keep_running, args=(parts, part, run, stop), name=part, daemon=True)
    running.start()
    try:
        yield
    finally:
        stop.set()
        wake()
        running.join(STOP_WITHIN_S)


def _keep_running(parts: Parts, part: str, run: Callable[[threading.Event], None], stop: threading.Event) -> None:
    pause_s = 1.0
    while not stop.is_set():
        began, why = time.monotonic(), "it returned"
        try:
            run(stop)
        except BaseException as error:  # a signal of Prefect's or SystemExit ends a thread as well, and nobody would be told
            why = f"{type(error).__name__}: {error}"
            log.debug("%s", part, exc_info=True)
        if stop.is_set():
            return
        parts.say(part, State.RESTARTING)
        pause_s = 1.0 if time.monotonic() - began > LONG_LIFE_S else pause_s
        log.error("The %s ended by itself (%s); it starts over in %.0f s", part, why, pause_s)
        stop.wait(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
