"""What a slow mail server may hold up: its own lane, for a while, and nothing else."""

from __future__ import annotations

import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from world import World

from notifications.channels import Recipient, send
from notifications.cut_off import cut_off_after
from notifications.dispatch import Dispatcher
from notifications.render import Occasion, render
from sites.letters import owe_letter

HANG_GUARD_S = 60


class MuteServer:
    """Takes connections and says nothing, or with `drip` a byte of a greeting without an end each tenth of a second."""

    def __init__(self, drip: bytes = b"") -> None:
        self.drip = drip
        self.called = threading.Event()
        self.is_over = threading.Event()
        self._door = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._take)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._door.getsockname()[1]
        return port

    def _take(self) -> None:
        with suppress(OSError):
            while not self.is_over.is_set():
                caller, _ = self._door.accept()
                self._held.append(caller)
                self.called.set()
                if self.drip:
                    self._threads.append(threading.Thread(target=self._trickle, args=(caller,)))
                    self._threads[-1].start()

    def _trickle(self, caller: socket.socket) -> None:
        with suppress(OSError):
            while not self.is_over.wait(0.1):
                caller.sendall(self.drip)

    def close(self) -> None:
        self.is_over.set()
        for one in (self._door, *self._held):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def mute() -> Iterator[MuteServer]:
    server = MuteServer()
    yield server
    server.close()


@contextmanager
def dispatching(world: World) -> Iterator[None]:
    stop = threading.Event()
    dispatcher = Dispatcher(world.database, world.clock, replace(world.settings, channels=frozenset({"json://*"})))
    running = threading.Thread(target=dispatcher.run, args=(stop, 0.01))
    running.start()
    try:
        yield
    finally:
        stop.set()
        running.join(HANG_GUARD_S)
        assert not running.is_alive()


def fired(world: World, missed: int) -> bool:
    """Whether so many steps are told to be late."""
    return len(world.notices("overdue")) == missed


def comes_true(world: World, missed: int) -> bool:
    idle = threading.Event()
    return any(fired(world, missed) or idle.wait(0.01) for _ in range(100 * HANG_GUARD_S))


def test_deadlines_do_not_wait_for_a_silent_mail_server(world: World, mute: MuteServer) -> None:
    for _ in range(5):
        world.launch()
    world.mail_url = f"mailto://127.0.0.1:{mute.port}?from=insitu@example.org"
    with dispatching(world):
        assert mute.called.wait(HANG_GUARD_S)
        world.at("2026-03-20T09:00")
        assert comes_true(world, missed=5)
        assert ("sending",) in world.log("state")  # the first mail is still in the server's hands
        mute.close()


def test_a_letter_does_not_wait_behind_notices_that_a_server_holds(world: World, mute: MuteServer) -> None:
    for person in ("alice", "bob"):
        world.change(person, channels=[f"json://127.0.0.1:{mute.port}/"])
    world.launch()
    with dispatching(world):
        assert mute.called.wait(HANG_GUARD_S)
        with world.database.write() as connection:
            owe_letter(connection, "test:caen", "channel_test", "caen", world.clock.now())
        assert world.mailbox.arrived.acquire(timeout=HANG_GUARD_S)
        assert world.mailbox.recipients == ["caen@example.org"]
        mute.close()


def test_a_server_that_drips_is_cut_off() -> None:
    server = MuteServer(drip=b"2")
    try:
        with cut_off_after(0.5) as is_cut, pytest.raises(OSError):
            smtplib.SMTP("127.0.0.1", server.port, timeout=HANG_GUARD_S)
        assert is_cut.is_set()
    finally:
        server.close()


def test_what_ends_in_time_is_not_cut_and_neither_is_what_comes_after(mute: MuteServer) -> None:
    with cut_off_after(HANG_GUARD_S) as is_cut, socket.create_connection(("127.0.0.1", mute.port)) as inside:
        assert inside.getpeername()
    with socket.create_connection(("127.0.0.1", mute.port)) as outside:
        assert outside.getpeername()
    assert not is_cut.is_set()


def test_an_automatic_mail_says_so(world: World) -> None:
    message = render(Occasion("opened", "TELE-1", "https://insitu.example.org/", step="Consent"), "en")
    send(message, Recipient("Alice", "alice@example.org"), world.mailbox.url)
    [mail] = world.mailbox.mails
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"


def test_a_lane_outlives_what_would_end_a_thread(world: World) -> None:
    stop, tried = threading.Event(), [0]

    def work() -> int:
        tried[0] += 1
        if tried[0] == 1:
            raise SystemExit("a library gave up")
        stop.set()
        return 0

    Dispatcher(world.database, world.clock, world.settings)._keep_doing(work, stop, 0)
    assert tried == [2]
