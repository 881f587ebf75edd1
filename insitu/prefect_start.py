"""The Prefect that `insitu up` uses, its own or the one that is configured, with the worker and the projector that go with it."""

from __future__ import annotations

import importlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from flows.client import Prefect, PrefectUnavailable
from insitu.supervision import Parts, State, supervised
from insitu.words import terminal_locale, word
from protocols.errors import InsituError
from sites.settings import Settings

if TYPE_CHECKING:
    from flows.house import House
    from flows.keeper import Keeper, News

PREFECT_PORT = 4200
LOOK_EVERY_S = 2.0

log = logging.getLogger("insitu.up")

Say = Callable[[str], None]
Heard = Callable[[BaseException | None], None]


@contextmanager
def marching(house: House, parts: Parts, say: Say, moved: Callable[[Settings], None]) -> Iterator[None]:
    """Worker and projector on the Prefect that is configured, else on one of our own that is kept running and stops at the end.

    `moved` hears of the settings with its address, when it is first known and whenever it changes.
    """
    for part in ("prefect", "worker", "projector"):
        parts.say(part, State.STARTING)
    # It takes as long as the server's own start: both at once.
    threading.Thread(target=importlib.import_module, args=("flows.worker",), name="import", daemon=True).start()
    with ExitStack() as stack:
        if house.settings.prefect_api_url:
            stack.enter_context(watching(house.settings, parts))
            march = March(house, parts)
            stack.callback(march.end)
            _say_if_away(house.settings, say)
            march.go_on_at(house.settings)
        else:
            stack.enter_context(_keeping_our_own(house, parts, say, moved))
        yield


@contextmanager
def _keeping_our_own(house: House, parts: Parts, say: Say, moved: Callable[[Settings], None]) -> Iterator[None]:
    from flows.keeper import Keeper, Kept

    march = March(house, parts)

    def tell(news: News) -> None:
        parts.say("prefect", {Kept.UP: State.OK, Kept.STARTING: State.STARTING, Kept.AWAY: State.AWAY}[news.now])
        if news.now is Kept.STARTING:
            say(word("up_starting", terminal_locale(), url=news.api_url.removesuffix("/api")))
        elif news.now is Kept.UP:
            if news.set_aside:
                report_replaced(house, *news.set_aside)
            settings = replace(house.settings, prefect_api_url=news.api_url, prefect_ui_url=news.ui_url)
            moved(settings)
            march.go_on_at(settings)

    keeper = Keeper(prefect_home(house.settings.data), _prefect_port, tell, ui_url=house.settings.prefect_ui_url)
    march.keeper = keeper
    with supervised(parts, "prefect", keeper.run):
        try:
            yield
        finally:
            march.end()


def prefect_home(data: Path) -> Path:
    """Where a Prefect server of insitu's own keeps what it needs, its password among it."""
    return data / "prefect" / "server"


def _prefect_port() -> int:
    """Prefect's usual port when it is free, else 0: any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PREFECT_PORT))
        except OSError:
            return 0
    return PREFECT_PORT


def _say_if_away(settings: Settings, say: Say) -> None:
    prefect = Prefect(settings.prefect_api_url)
    if not prefect.is_up():
        say(word("up_prefect_away", terminal_locale(), url=settings.prefect_api_url))
    prefect.close()


class March:
    """The worker, and the projector that pokes it, on one Prefect server at a time."""

    def __init__(self, house: House, parts: Parts) -> None:
        self.keeper: Keeper | None = None
        self._house, self._parts = house, parts
        self._lock = threading.Lock()
        self._running = ExitStack()
        self._at, self._ended = "", False
        self._look_again: Callable[[], None] = lambda: None

    def go_on_at(self, settings: Settings) -> None:
        """Begin at this address, or move there; at the same one, look again at once: the server has come back."""
        with self._lock:
            if self._ended:
                return
            if settings.prefect_api_url == self._at:
                self._look_again()
                return
            self._running.close()
            self._at = settings.prefect_api_url
            self._begin(settings)

    def _begin(self, settings: Settings) -> None:
        from flows.projector import Projector
        from flows.worker import Worker

        worker = Worker(settings.prefect_api_url, heard=self._hearing("worker"))
        projector = Projector(self._house.database, self._house.ledger, settings, on_wake=worker.poke, heard=self._hearing("projector"))
        self._running.callback(projector.close)
        self._running.enter_context(supervised(self._parts, "worker", worker.run, worker.poke))
        self._running.enter_context(supervised(self._parts, "projector", projector.run, projector.nudge))

        def look_again() -> None:
            projector.redraw()
            worker.poke()

        self._look_again = look_again

    def _hearing(self, part: str) -> Heard:
        def heard(error: BaseException | None) -> None:
            if self.keeper and isinstance(error, PrefectUnavailable):
                self.keeper.suspect()
            self._parts.say(part, state_after(error))

        return heard

    def end(self) -> None:
        """Stop both, and begin no more."""
        with self._lock:
            self._ended = True
            self._running.close()


def state_after(error: BaseException | None) -> State:
    """How a part is that asked Prefect and got this error, or none."""
    if error is None:
        return State.OK
    refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
    return State.AWAY if isinstance(error, PrefectUnavailable | httpx.HTTPError) and not refused else State.FAILING


def report_replaced(house: House, kept: object, why: str) -> None:
    """An incident in each experiment that Prefect showed, until it is drawn again."""
    from flows.troubles import report_replaced

    message = (
        f"Prefect's database could not be read ({why}) and was replaced; it is kept as {kept}. The picture is drawn again from the ledger."
    )
    try:
        report_replaced(house.ledger, message)
    except InsituError as error:  # the log has said it; Prefect goes on without it
        log.warning("%s", error)


# ------------------------------------------------------------------ a Prefect that is somebody else's


@contextmanager
def watching(settings: Settings, parts: Parts) -> Iterator[None]:
    """A look every few seconds whether Prefect answers, and whether anybody works for the pool that the deployments are in."""
    prefect = Prefect(settings.prefect_api_url)

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            _look(prefect, parts)
            stop.wait(LOOK_EVERY_S)

    with supervised(parts, "prefect", run):
        yield
    prefect.close()


def _look(prefect: Prefect, parts: Parts) -> None:
    from flows.deployments import work_pool

    is_up = prefect.is_up()
    parts.say("prefect", State.OK if is_up else State.AWAY)
    if not is_up:
        parts.say("workers", State.AWAY)
        return
    try:
        parts.say("workers", State.OK if prefect.workers_online(work_pool()) else State.ABSENT)
    except InsituError as error:
        parts.say("workers", state_after(error))
