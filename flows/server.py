"""A Prefect server as a child process, with the settings insitu needs."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from flows.client import Prefect, PrefectRefused, PrefectUnavailable
from flows.lifeline import command as lifeline_command
from flows.lifeline import lifeline
from flows.orphan import end_orphan, forget, remember
from flows.prefect_database import LATER_PREFECT, damage, set_aside
from flows.proxies import bypassing

START_LIMIT_S = 90  # the first start creates Prefect's database
STOP_LIMIT_S = 10

SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # It reads every waiting run every 5 s; deadlines are the ledger's own.
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "PREFECT_CLI_PROMPT": "false",
}

log = logging.getLogger("insitu.prefect")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at this moment, below those the system gives to outgoing connections, which come and go."""
    for port in random.sample(range(20_000, 32_000), 100):  # a rival's choice at the same moment is unlikely to be ours
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise PrefectUnavailable(f"No free port was found on {host} between 20000 and 32000.")


class PrefectServer:
    """A Prefect server with its own home in `home`; `port` 0 picks a free one. Use it as a context manager, or start and stop it.

    It ends with this process, however this ends. One that an earlier process left on the same home all the same is ended first.
    """

    def __init__(self, home: Path, port: int = 0, host: str = "127.0.0.1") -> None:
        self.home, self.host = home, host
        self.port = port or free_port(host)
        self.set_aside: tuple[Path, str] | None = None  # a database that could not be read: where it is now, and why
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._log_begins = 0

    @property
    def ui_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.ui_url}/api"

    @property
    def log_file(self) -> Path:
        return self.home / "server.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Start it and wait until it answers. Raises PrefectUnavailable with the end of its log when it does not."""
        self.home.mkdir(parents=True, exist_ok=True)
        end_orphan(self._pid_file)
        if self._database and (why := damage(self._database)):
            self._set_aside(why)
        try:
            self._launch()
            self._wait(should_stop)
        except PrefectUnavailable:
            if not (self._database and self._database.exists() and LATER_PREFECT in self._tail(500)):
                raise
            self._set_aside("a later release of Prefect has changed its tables")
            self._launch()
            self._wait(should_stop)

    def _launch(self) -> None:
        self._cut()
        with lifeline() as (reading, writing), self.log_file.open("ab") as log:
            self._log_begins = log.tell()
            command = lifeline_command(reading, "prefect", ["server", "start", "--host", self.host, "--port", str(self.port)])
            # A group of its own: Ctrl-C reaches us alone, and we stop it once nothing needs it any more.
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter
                command, env=self._environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(reading,)
            )
            self._lifeline = writing
        remember(self._pid_file, self._process.pid)

    def _set_aside(self, why: str) -> None:
        assert self._database is not None
        kept = set_aside(self._database, datetime.now(UTC))
        self.set_aside = kept, why
        log.error(
            "Prefect's database could not be read (%s). It is kept as %s; a new one is made, and the picture is drawn again.", why, kept
        )

    @property
    def _database(self) -> Path | None:
        """Its SQLite file; None where PREFECT_API_DATABASE_CONNECTION_URL names another database, which is not ours to replace."""
        return None if "PREFECT_API_DATABASE_CONNECTION_URL" in os.environ else self.home / "prefect.db"

    @property
    def _pid_file(self) -> Path:
        return self.home / "insitu-server.pid"

    def is_damaged(self) -> bool:
        """Whether its database can no longer be read; looking reads all of it."""
        return bool(self._database and damage(self._database))

    def _wait(self, should_stop: Callable[[], bool]) -> None:
        prefect, limit = Prefect(self.api_url), time.monotonic() + START_LIMIT_S
        try:
            while not (self.is_running and prefect.is_up() and self._answers(prefect)):
                if not self.is_running or time.monotonic() > limit:
                    self.stop()
                    raise PrefectUnavailable(
                        f"The Prefect server did not start on {self.ui_url}; the end of {self.log_file}:\n{self._tail()}"
                    )
                if should_stop():
                    return
                time.sleep(0.2)
        finally:
            prefect.close()

    def _answers(self, prefect: Prefect) -> bool:
        """Whether what answers is ours: two that start at once choose the same port, and one of them makes way only seconds later."""
        try:
            said = prefect.request("GET", "admin/settings")
        except PrefectRefused:
            return False
        return said is not None and Path(said["home"]) == self.home

    def stop(self) -> None:
        """End it, politely first; nothing happens when it has ended."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None
        forget(self._pid_file)
        self._cut()

    def _cut(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def __enter__(self) -> PrefectServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        """Ours, without any Prefect setting of the user's own, which could point it at another database."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        own = {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": self.api_url, "PREFECT_UI_API_URL": self.api_url}
        database = {name: os.environ[name] for name in ("PREFECT_API_DATABASE_CONNECTION_URL",) if name in os.environ}
        return inherited | bypassing(os.environ) | SETTINGS | own | database

    def _tail(self, lines: int = 20) -> str:
        """The end of what the present process has written to its log."""
        if not self.log_file.exists():
            return "(empty)"
        with self.log_file.open(errors="replace") as log:
            log.seek(self._log_begins)
            return "\n".join(log.read().splitlines()[-lines:])
