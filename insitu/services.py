"""What `insitu up` starts on one machine: a Prefect server where there is none, worker, projector, dispatcher, API; and stops again."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.words import terminal_locale, word
from protocols.errors import InsituError, InvalidInput
from sites.clock import Clock, SystemClock
from sites.database import Database
from sites.ledger import Ledger
from sites.occupied import occupying
from sites.private import make_folder
from sites.settings import Settings, without_password
from sites.skew import ClockWatch, keep_watch

if TYPE_CHECKING:
    from flows.house import House
    from flows.server import PrefectServer
    from insitu.entrance.doors import Doors

PREFECT_PORT = 4200
STOP_WITHIN_S = 15

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Running:
    """What runs: its settings with the addresses as they came to be, its database, and its ledger."""

    settings: Settings
    database: Database
    ledger: Ledger


@contextmanager
def up(settings: Settings, host: str, port: int, say: Say, clock: Clock | None = None, dispatch_every_s: float = 1) -> Iterator[Running]:
    """Everything on one machine, running while the block runs; what is configured (PREFECT_API_URL) is used, not started.

    Raises InsituError when the port is taken, the data folder is already up, or Prefect does not start; whatever had started is stopped.
    """
    with ExitStack() as stack:
        door = stack.enter_context(listening(host, port))
        stack.enter_context(alone_in(settings.data))
        chosen = _with_public_url(settings, door)
        with _prefect_environment(settings):
            chosen = stack.enter_context(_prefect(chosen, say))
            from insitu.entrance.doors import Doors

            house = _move_in(stack, chosen, clock or SystemClock(), "insitu up")
            _start_marching(stack, house)
            sending = partial(_dispatcher(house).run, poll_s=dispatch_every_s)
            stack.enter_context(thread("dispatcher", sending))
            stack.enter_context(serving(Doors.of(chosen, house.database, house.ledger, loopback=is_loopback(door)), door))
            yield Running(chosen, house.database, house.ledger)


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


def _with_public_url(settings: Settings, door: socket.socket) -> Settings:
    """The links in messages lead here, unless INSITU_PUBLIC_URL says otherwise."""
    return settings if os.environ.get("INSITU_PUBLIC_URL") else replace(settings, public_url=address(door))


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
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _prefect(settings: Settings, say: Say) -> Iterator[Settings]:
    """The settings with a Prefect server's address: the configured one, else one of our own that stops at the end."""
    if settings.prefect_api_url:
        _say_if_away(settings, say)
        yield settings
        return
    with ThreadPoolExecutor(1) as beside, ExitStack() as stack:
        starting = beside.submit(_started, stack, settings, say)
        import flows.worker  # noqa: F401 -- takes as long as the server's own start: both at once

        server = starting.result()
        yield replace(settings, prefect_api_url=server.api_url, prefect_ui_url=server.ui_url)


def _started(stack: ExitStack, settings: Settings, say: Say) -> PrefectServer:
    """A Prefect server on its usual port, or on another when somebody took that one while ours was starting; the stack stops it."""
    from flows.client import PrefectUnavailable
    from flows.server import PrefectServer

    over = threading.Event()
    stack.callback(over.set)

    def start(port: int) -> PrefectServer:
        server = PrefectServer(settings.data / "prefect" / "server", port)
        stack.callback(server.stop)
        say(word("up_starting", terminal_locale(), url=server.ui_url))
        server.start()
        return server

    port = _prefect_port()
    try:
        return start(port)
    except PrefectUnavailable:
        if over.is_set() or not port or _prefect_port() == port:
            raise
        return start(0)


def _say_if_away(settings: Settings, say: Say) -> None:
    from flows.client import Prefect

    prefect = Prefect(settings.prefect_api_url)
    if not prefect.is_up():
        say(word("up_prefect_away", terminal_locale(), url=without_password(settings.prefect_api_url)))
    prefect.close()


def _prefect_port() -> int:
    """Prefect's usual port when it is free, else 0: any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PREFECT_PORT))
        except OSError:
            return 0
    return PREFECT_PORT


def _move_in(stack: ExitStack, settings: Settings, clock: Clock, what: str) -> House:
    from flows.house import House, move_into

    house = House.open(settings, clock)
    stack.callback(house.database.dispose)
    stack.enter_context(occupying(house.database, what))
    move_into(house)
    return house


def _start_marching(stack: ExitStack, house: House) -> None:
    """The worker, and the projector that pokes it when it wakes a run."""
    from flows.projector import Projector
    from flows.worker import Worker

    worker = Worker(house.settings.prefect_api_url)
    worker.start()
    stack.callback(worker.stop)
    stack.enter_context(projecting(house.database, house.ledger, house.settings, Projector, worker.poke))


@contextmanager
def projecting(database: Database, ledger: Ledger, settings: Settings, kind: Any, poke: Callable[[], None]) -> Iterator[None]:
    """A projector in a thread of its own."""
    projector = kind(database, ledger, settings, on_wake=poke)
    with thread("projector", projector.run, wake=projector.nudge):
        yield


def _dispatcher(house: House) -> Any:
    from notifications.dispatch import Dispatcher

    return Dispatcher(house.database, house.ledger.clock, house.settings, "up")


@contextmanager
def thread(name: str, run: Callable[[threading.Event], None], wake: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A thread that runs until the block ends; `wake` lets it see at once that it should stop."""
    stop = threading.Event()
    running = threading.Thread(target=run, args=(stop,), name=name, daemon=True)
    running.start()
    try:
        yield
    finally:
        stop.set()
        wake()
        running.join(STOP_WITHIN_S)


# ------------------------------------------------------------------ pages and API


@contextmanager
def serving(doors: Doors, door: socket.socket) -> Iterator[None]:
    """The pages and the API behind a listening socket, in a thread."""
    server = _server(doors)
    running = threading.Thread(target=server.run, kwargs={"sockets": [door]}, name="doors", daemon=True)
    running.start()
    try:
        with watching(doors.watch, doors.ledger, doors.settings):
            yield
    finally:
        server.should_exit = True
        running.join(STOP_WITHIN_S)


@contextmanager
def watching(watch: ClockWatch | None, ledger: Ledger, settings: Settings) -> Iterator[None]:
    """Look at the machine's clock, in a thread, and tell when it jumps; a clock that is set is nobody's concern."""
    if watch is None:
        yield
        return
    with thread("clock", partial(keep_watch, watch, ledger, settings.locale)):
        yield


def _server(doors: Doors) -> Any:
    import uvicorn

    from insitu.app import create_app

    return uvicorn.Server(uvicorn.Config(create_app(doors), log_level="warning", access_log=False, timeout_graceful_shutdown=5))


# ------------------------------------------------------------------ one part each


def dispatch(settings: Settings, database: Database, stop: threading.Event) -> None:
    """Send what the outbox owes and, with PREFECT_API_URL set, keep Prefect showing the ledger, until `stop`."""
    from notifications.dispatch import Dispatcher

    clock = SystemClock()
    with ExitStack() as stack:
        stack.enter_context(occupying(database, "insitu dispatch"))
        stack.enter_context(watching(ClockWatch(clock), Ledger(database, clock), settings))
        stack.enter_context(thread("dispatcher", Dispatcher(database, clock, settings, "dispatch").run))
        if settings.prefect_api_url:
            from flows.projector import Projector

            stack.enter_context(projecting(database, Ledger(database, clock), settings, Projector, lambda: None))
        stop.wait()


def work(settings: Settings, stop: threading.Event, begun: Callable[[], None]) -> None:
    """Do the automated actions that Prefect schedules, until `stop`. Raises InvalidInput without PREFECT_API_URL."""
    if not settings.prefect_api_url:
        raise InvalidInput("A worker needs a Prefect server: set PREFECT_API_URL, or run `insitu up`, which brings its own.")
    with ExitStack() as stack, _prefect_environment(settings):
        from flows.worker import Worker

        _move_in(stack, settings, SystemClock(), "insitu worker")
        worker = Worker(settings.prefect_api_url)
        worker.start()
        stack.callback(worker.stop)
        begun()
        stop.wait()


@contextmanager
def until_told_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts as usual."""
    stop = threading.Event()

    def told(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
