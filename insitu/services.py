"""What `insitu up` starts on one machine: a Prefect server where there is none, worker, projector, dispatcher, API; and stops again."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from flows.lock import VARIABLE, lock_of
from flows.proxies import this_machine_called_directly
from insitu.prefect_start import Say, marching, prefect_home, watching
from insitu.supervision import Condition, Parts, State, supervised
from protocols.errors import InsituError, InvalidInput
from sites.clock import Clock, SystemClock
from sites.database import Database
from sites.ledger import Ledger
from sites.occupied import occupying
from sites.private import make_folder
from sites.settings import Settings
from sites.skew import ClockWatch, keep_watch

if TYPE_CHECKING:
    from fastapi import FastAPI

    from flows.house import House
    from insitu.entrance.doors import Doors

READY_WITHIN_S = 180  # twice Prefect's own limit for its start


class Running:
    """What runs: its database, its ledger, how its parts are, and its settings with the addresses as they came to be."""

    def __init__(self, settings: Settings, database: Database, ledger: Ledger, parts: Parts) -> None:
        self.settings, self.database, self.ledger, self.parts = settings, database, ledger, parts

    def until_ready(self, should_stop: Callable[[], bool] = lambda: False, within_s: float = READY_WITHIN_S) -> bool:
        """Wait until everything runs; whether it does. Prefect alone may take a minute, and is not waited for once it has failed to start.

        Pages, API, messages and deadlines do not wait for it.
        """
        limit = time.monotonic() + within_s
        while not should_stop() and time.monotonic() < limit:
            if self.parts.wait(_are_well, 0.5):
                return True
            if self.parts.all()["prefect"].state not in (State.OK, State.STARTING):
                return False
        return False


def _are_well(parts: Mapping[str, Condition]) -> bool:
    return all(part.state is State.OK for part in parts.values())


@contextmanager
def up(settings: Settings, host: str, port: int, say: Say, clock: Clock | None = None, dispatch_every_s: float = 1) -> Iterator[Running]:
    """Everything on one machine, running while the block runs; what is configured (PREFECT_API_URL) is used, not started.

    Pages, API and dispatcher run at once, the rest as soon as Prefect answers: `Running.until_ready` waits for it. Each part starts
    over when it ends by itself. Raises InsituError when the port is taken or the data folder is already up.
    """
    with ExitStack() as stack:
        door = stack.enter_context(listening(host, port))
        stack.enter_context(alone_in(settings.data))
        chosen = at_door(settings, door)
        stack.enter_context(_prefect_environment(settings))
        from insitu.entrance.doors import Doors

        house, parts = _move_in(stack, chosen, clock or SystemClock(), "insitu up"), Parts()
        running = Running(chosen, house.database, house.ledger, parts)
        doors = Doors.of(chosen, house.database, house.ledger, loopback=is_loopback(door), parts=parts)
        app = create_app(doors)
        stack.enter_context(serving(app, door, parts))
        stack.enter_context(looking_at_the_clock(doors.watch, house.ledger, chosen, parts))
        stack.enter_context(dispatching(house.database, house.ledger.clock, chosen, parts, "up", dispatch_every_s))
        stack.enter_context(anchoring(house.database, house.ledger.clock, chosen, parts))

        def moved(to: Settings) -> None:
            running.settings = to
            app.state.doors = replace(app.state.doors, settings=to)

        stack.enter_context(marching(house, parts, say, moved))
        yield running


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket; port 0 takes a free one. Raises InsituError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, not 0: asyncio sends at once (TCP_NODELAY) only where it reads TCP, and else each answer waits 40 ms for the one before.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host, port))
            door.listen()
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "is taken by another program" if taken else f"cannot be used ({error})"
            raise InsituError(f"Port {port} on {host} {why}. Choose another with --port, or --port 0 for a free one.") from None
        yield door


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the data folder's lock, so that it is up once. Raises InsituError when it is up already."""
    import fcntl

    make_folder(folder)
    with os.fdopen(os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InsituError(f"insitu is already up on {folder}. Stop it first (Ctrl-C where it runs), or use another --data.") from None
        yield


def at_door(settings: Settings, door: socket.socket) -> Settings:
    """The settings with links that lead to this door, unless INSITU_PUBLIC_URL says otherwise; later commands then print the same."""
    if os.environ.get("INSITU_PUBLIC_URL"):
        return settings
    served = replace(settings, public_url=address(door))
    served.remember_public_url()
    return served


def address(door: socket.socket) -> str:
    """The address a browser on this machine reaches the socket by."""
    host, port = door.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def is_loopback(door: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ip_address(door.getsockname()[0]).is_loopback


# ------------------------------------------------------------------ Prefect and the march


@contextmanager
def _prefect_environment(settings: Settings) -> Iterator[None]:
    """Prefect as this process is to use it, set before it is imported; the user's own Prefect profile plays no part."""
    defaults = {
        "PREFECT_HOME": str(settings.data / "prefect" / "client"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if not settings.prefect_api_url:
        defaults |= {VARIABLE: lock_of(prefect_home(settings.data))}
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with this_machine_called_directly(settings.prefect_api_url):
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _move_in(stack: ExitStack, settings: Settings, clock: Clock, what: str) -> House:
    from flows.house import House, move_into

    house = House.open(settings, clock)
    stack.callback(house.database.dispose)
    stack.enter_context(occupying(house.database, what))
    move_into(house)
    return house


@contextmanager
def dispatching(
    database: Database, clock: Clock, settings: Settings, parts: Parts, name: str, every_s: float | None = None
) -> Iterator[None]:
    """A dispatcher in a thread of its own."""
    from notifications.dispatch import POLL_SECONDS, Dispatcher

    def run(stop: threading.Event) -> None:
        parts.say("dispatcher", State.OK)
        Dispatcher(database, clock, settings, name).run(stop, poll_s=POLL_SECONDS if every_s is None else every_s)

    with supervised(parts, "dispatcher", run):
        yield


@contextmanager
def anchoring(database: Database, clock: Clock, settings: Settings, parts: Parts) -> Iterator[None]:
    """Anchors in a thread of their own: a share that hangs holds up nothing else. None on a clock that is not the real one."""
    from sites.anchors.keeper import Keeper

    if settings.anchors is None or not clock.is_real:
        yield
        return

    def run(stop: threading.Event) -> None:
        parts.say("anchors", State.OK)
        Keeper(database, clock, settings).run(stop)

    with supervised(parts, "anchors", run):
        yield


# ------------------------------------------------------------------ pages and API


@contextmanager
def serving(app: FastAPI, door: socket.socket, parts: Parts) -> Iterator[None]:
    """The pages and the API behind a listening socket, in a thread."""
    import uvicorn

    servers: list[uvicorn.Server] = []

    def run(_: threading.Event) -> None:
        # It closes the socket it is given: should it end by itself, the next one has its own.
        with door.dup() as own:
            # Its own reading of a proxy's headers believes whatever runs on this machine; ours believes those that are named.
            config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, proxy_headers=False)
            server = uvicorn.Server(config)
            servers[:] = [server]
            parts.say("pages", State.OK)
            server.run(sockets=[own])

    def wake() -> None:
        for server in servers:
            server.should_exit = True

    with supervised(parts, "pages", run, wake):
        yield


@contextmanager
def looking_at_the_clock(watch: ClockWatch | None, ledger: Ledger, settings: Settings, parts: Parts) -> Iterator[None]:
    """Look at the machine's clock, in a thread, and tell when it jumps; a clock that is set is nobody's concern."""
    if watch is None:
        yield
        return

    def run(stop: threading.Event) -> None:
        keep_watch(watch, ledger, settings.locale, stop)

    with supervised(parts, "clock", run):
        yield


def create_app(doors: Doors) -> FastAPI:
    """The application, imported only now: a command that serves nothing starts without it."""
    from insitu import app

    return app.create_app(doors)


# ------------------------------------------------------------------ one part each


@contextmanager
def served(settings: Settings, database: Database, ledger: Ledger, door: socket.socket) -> Iterator[Doors]:
    """The pages and the API alone, behind a listening socket; with PREFECT_API_URL set, their health tells of Prefect and its workers."""
    from insitu.entrance.doors import Doors

    with ExitStack() as stack:
        stack.enter_context(this_machine_called_directly())
        stack.enter_context(occupying(database, "insitu serve"))
        parts = Parts()
        doors = Doors.of(settings, database, ledger, loopback=is_loopback(door), parts=parts)
        if settings.prefect_api_url:
            stack.enter_context(watching(settings, parts))
        stack.enter_context(serving(create_app(doors), door, parts))
        stack.enter_context(looking_at_the_clock(doors.watch, ledger, settings, parts))
        yield doors


def dispatch(settings: Settings, database: Database, stop: threading.Event) -> None:
    """Send what the outbox owes and, with PREFECT_API_URL set, keep Prefect showing the ledger, until `stop`."""
    clock, parts = SystemClock(), Parts()
    with ExitStack() as stack:
        stack.enter_context(occupying(database, "insitu dispatch"))
        stack.enter_context(looking_at_the_clock(ClockWatch(clock), Ledger(database, clock), settings, parts))
        stack.enter_context(this_machine_called_directly(settings.prefect_api_url))
        stack.enter_context(dispatching(database, clock, settings, parts, "dispatch"))
        stack.enter_context(anchoring(database, clock, settings, parts))
        if settings.prefect_api_url:
            from flows.projector import Projector

            projector = Projector(database, Ledger(database, clock), settings)
            stack.callback(projector.close)
            stack.enter_context(supervised(parts, "projector", projector.run, projector.nudge))
        stop.wait()


def work(settings: Settings, stop: threading.Event, begun: Callable[[], None]) -> None:
    """Do the automated actions that Prefect schedules, until `stop`. Raises InvalidInput without PREFECT_API_URL."""
    if not settings.prefect_api_url:
        raise InvalidInput("A worker needs a Prefect server: set PREFECT_API_URL, or run `insitu up`, which brings its own.")
    with ExitStack() as stack, _prefect_environment(settings):
        from flows.worker import Worker

        _move_in(stack, settings, SystemClock(), "insitu worker")
        worker = Worker(settings.prefect_api_url)
        stack.enter_context(supervised(Parts(), "worker", worker.run, worker.poke))
        begun()
        stop.wait()


@contextmanager
def until_told_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or the end of the terminal (SIGHUP) sets; a second Ctrl-C interrupts as usual."""
    stop = threading.Event()

    def told(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, told) for number in stop_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_signals() -> list[signal.Signals]:
    """The signals that ask for a clean stop. A SIGHUP that is ignored, as under `nohup`, stays so."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


def log_to_terminal() -> None:
    """Warnings of insitu's own rooms, one line each, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("insitu")
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    log.propagate = False
    # It warns of every drawing property it leaves to others, hundreds a document.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
