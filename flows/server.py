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
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from flows.client import Prefect, PrefectRefused, PrefectUnavailable
from flows.lifeline import command as lifeline_command
from flows.lifeline import lifeline
from flows.lock import VARIABLE, lock_of
from flows.orphan import end_orphan, forget, remember
from flows.prefect_app import Names, more_hosts
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
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}

log = logging.getLogger("insitu.prefect")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at this moment, below those the system gives to outgoing connections, which come and go."""
    for port in random.sample(range(20_000, 32_000), 100):  # a rival's choice at the same moment is unlikely to be ours
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise PrefectUnavailable(f"No free port was found on {host} between 20000 and 32000.")


def seat(host: str, port: int) -> socket.socket:
    """A socket that keeps a port for a server of ours, which listens on one of its own beside it. Raises OSError when it is taken.

    While it is open no other account can listen there, even while our server is down, and hear the password that our clients send.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as alone, ExitStack() as unless_kept:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections of a server that was there may linger
        alone.bind((host, port))  # fails beside any other, one of ours too
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept = unless_kept.enter_context(socket.socket(family, socket.SOCK_STREAM))
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # shares with sockets of this account alone
        kept.bind((host, port))
        unless_kept.pop_all()
    return kept


class PrefectServer:
    """A Prefect server with its own home in `home`; `port` 0 picks a free one. Use it as a context manager, or start and stop it.

    It ends with this process, however this ends. One that an earlier process left on the same home all the same is ended first.
    `ui_url` is where people open its pages, when that is not where it listens: a proxy's address. `lock` is what opens its API.
    """

    def __init__(self, home: Path, port: int = 0, host: str = "127.0.0.1", ui_url: str = "") -> None:
        self.home, self.host = home, host
        self.port = port or free_port(host)
        self.set_aside: tuple[Path, str] | None = None  # a database that could not be read: where it is now, and why
        self._ui_url = ui_url.rstrip("/")
        self._seat: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._log_begins = 0

    @property
    def address(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def ui_url(self) -> str:
        return self._ui_url or self.address

    @property
    def api_url(self) -> str:
        return f"{self.address}/api"

    @property
    def lock(self) -> str:
        return lock_of(self.home)

    @property
    def log_file(self) -> Path:
        return self.home / "server.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Start it and wait until it answers. Raises PrefectUnavailable with the end of its log when it does not."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)
        end_orphan(self._pid_file)  # it holds the port
        self._take_seat()
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
            command = lifeline_command(reading, "flows.prefect_app", ["--host", self.host, "--port", str(self.port)])
            # A group of its own: Ctrl-C reaches us alone, and we stop it once nothing needs it any more.
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter
                command,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(reading,),
                umask=0o077,
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

    def _take_seat(self) -> None:
        if self._seat is None:
            try:
                self._seat = seat(self.host, self.port)
            except OSError as error:
                raise PrefectUnavailable(f"The Prefect server did not start on {self.address}: {error.strerror}.") from None

    def _leave_seat(self) -> None:
        if self._seat is not None:
            self._seat.close()
            self._seat = None

    def _wait(self, should_stop: Callable[[], bool]) -> None:
        prefect, limit = Prefect(self.api_url, lock=self.lock), time.monotonic() + START_LIMIT_S
        try:
            while not (self.is_running and prefect.is_up() and self._answers(prefect)):
                if not self.is_running or time.monotonic() > limit:
                    self.end()
                    raise PrefectUnavailable(
                        f"The Prefect server did not start on {self.address}; the end of {self.log_file}:\n{self._tail()}"
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

    @property
    def has_port(self) -> bool:
        """Whether it keeps its port, running or not."""
        return self._seat is not None

    def stop(self) -> None:
        """End it, and give its port up; nothing happens when it has ended."""
        self.end()
        self._leave_seat()

    def end(self) -> None:
        """End the process, politely first, and keep the port for a later start."""
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
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        """Ours, without any Prefect setting of the user's own, which could point it at another database."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        own = {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": self.api_url, "PREFECT_UI_API_URL": f"{self.ui_url}/api"}
        # Kept from other accounts: they see a process's arguments, not its environment.
        own |= {"PREFECT_SERVER_API_AUTH_STRING": self.lock, VARIABLE: self.lock}
        own["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(sorted(Names.of(self.ui_url, self.port, more_hosts()).origins))
        database = {name: os.environ[name] for name in ("PREFECT_API_DATABASE_CONNECTION_URL",) if name in os.environ}
        return inherited | bypassing(os.environ) | SETTINGS | own | database

    def _tail(self, lines: int = 20) -> str:
        """The end of what the present process has written to its log."""
        if not self.log_file.exists():
            return "(empty)"
        with self.log_file.open(errors="replace") as log:
            log.seek(self._log_begins)
            return "\n".join(log.read().splitlines()[-lines:])
