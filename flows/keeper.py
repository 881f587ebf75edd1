"""Keeps a Prefect server of insitu's own running: started, watched, and started again when it ends or no longer answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from flows.client import Prefect, PrefectUnavailable
from flows.server import PrefectServer

LOOK_EVERY_S = 0.5  # at the process
ASK_EVERY_S = 2.0  # the server
AWAY_AFTER_S = 4.0  # without an answer it counts as away
HUNG_AFTER_S = 45.0  # and is started again: a server that is only busy answers long before
CHECK_EVERY_S = 60.0  # its database, while something does not get through to it
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # before it is started again
LONG_LIFE_S = 120.0  # longer than a start that fails takes; after such a life the pauses begin anew

log = logging.getLogger("insitu.prefect")


class Kept(StrEnum):
    """How the server is."""

    STARTING = "starting"
    UP = "up"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class News:
    """What became of the server. `set_aside` is a database that could not be read: where it is now, and why."""

    now: Kept
    api_url: str
    ui_url: str
    why: str = ""
    set_aside: tuple[Path, str] | None = None


class Keeper:
    """One Prefect server with its home in `home`. `choose_port` gives the port to try first, 0 for any; `tell` hears what becomes of it.

    It keeps its port while it is down, lest another account listen there for the password that our clients send. `ui_url` is where people
    open its pages, when that is not where it listens.
    """

    def __init__(self, home: Path, choose_port: Callable[[], int], tell: Callable[[News], None], ui_url: str = "") -> None:
        self._home, self._choose_port, self._tell, self._ui_url = home, choose_port, tell, ui_url
        self._suspected = threading.Event()
        self._set_aside: tuple[Path, str] | None = None

    def suspect(self) -> None:
        """Something does not get through although the server runs: look whether its database is still sound. From any thread."""
        self._suspected.set()

    def run(self, stop: threading.Event) -> None:
        """Keep it running until `stop`, then stop it."""
        server, pause_s = self._server(), SHORTEST_PAUSE_S
        try:
            while not stop.is_set():
                began, has_begun = time.monotonic(), True
                try:
                    why = self._live(server, stop)
                except PrefectUnavailable as error:
                    why, has_begun = str(error), False
                finally:
                    server.end()
                self._set_aside = self._set_aside or (None if has_begun else server.set_aside)
                if stop.is_set():
                    return
                if not server.has_port:
                    log.info("Port %d is taken; Prefect starts on another", server.port)
                    server = self._server()
                    stop.wait(SHORTEST_PAUSE_S)  # where none can be kept at all, the log is not filled in a blink
                    continue
                pause_s = SHORTEST_PAUSE_S if time.monotonic() - began > LONG_LIFE_S else pause_s
                self._say(Kept.AWAY, server, why)
                log.error("%s It is started again in %.1f s.", why, pause_s)
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            server.stop()

    def _server(self) -> PrefectServer:
        return PrefectServer(self._home, self._choose_port(), ui_url=self._ui_url)

    def _live(self, server: PrefectServer, stop: threading.Event) -> str:
        """One life of the server; returns why it ended. Raises PrefectUnavailable when it does not begin."""
        self._say(Kept.STARTING, server)
        server.start(stop.is_set)
        if stop.is_set():
            return ""
        self._tell(News(Kept.UP, server.api_url, server.ui_url, set_aside=server.set_aside or self._set_aside))
        self._set_aside = None
        prefect = Prefect(server.api_url, lock=server.lock)
        try:
            return self._watch(server, prefect, stop)
        finally:
            prefect.close()

    def _watch(self, server: PrefectServer, prefect: Prefect, stop: threading.Event) -> str:
        answered_at = asked_at = checked_at = time.monotonic()
        told = Kept.UP
        while not stop.wait(LOOK_EVERY_S):
            now = time.monotonic()
            if not server.is_running:
                return "Prefect's server ended by itself."
            if now - asked_at >= ASK_EVERY_S:
                asked_at = now
                answered_at = time.monotonic() if prefect.is_up() else answered_at
            silent_s = time.monotonic() - answered_at
            if silent_s > HUNG_AFTER_S:
                return f"Prefect's server has not answered for {silent_s:.0f} s."
            present = Kept.AWAY if silent_s > AWAY_AFTER_S else Kept.UP
            if present is not told:
                told = present
                self._say(present, server, f"Prefect's server has not answered for {silent_s:.0f} s." if present is Kept.AWAY else "")
            if self._suspected.is_set() and now - checked_at > CHECK_EVERY_S:
                self._suspected.clear()
                checked_at = now
                if server.is_damaged():
                    return "Prefect's database can no longer be read."
        return ""

    def _say(self, now: Kept, server: PrefectServer, why: str = "") -> None:
        self._tell(News(now, server.api_url, server.ui_url, why))
