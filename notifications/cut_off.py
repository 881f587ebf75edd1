"""A bound on how long the servers one sends through may take in all.

A socket's own time-out begins anew with every byte: a server that sends one now and then holds whoever listens to it for hours.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# A connection as it was begun: its descriptor, which TLS keeps, and the address it leads to.
Connection = tuple[int, Any]


class _Opened(threading.local):
    """The connections this thread began within `cut_off_after`; None outside it."""

    connections: list[Connection] | None = None


_opened = _Opened()


def _notice(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _opened.connections is not None:
        _opened.connections.append((arguments[0].fileno(), arguments[1]))


# Python tells its auditors of each connection, whichever library makes it; Apprise hands none of its own out.
sys.addaudithook(_notice)


@contextmanager
def cut_off_after(seconds: float) -> Iterator[threading.Event]:
    """Shut what this thread connects to within the block once the block has lasted `seconds`: whoever waits there gets an OSError.

    The event tells whether it came to that.
    """
    is_cut = threading.Event()
    connections: list[Connection] = []
    _opened.connections = connections

    def cut() -> None:
        is_cut.set()
        for descriptor, address in connections:
            _shut(descriptor, address)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield is_cut
    finally:
        timer.cancel()
        _opened.connections = None


def _shut(descriptor: int, address: Any) -> None:
    """Shut a connection, unless its descriptor has become another's by now."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as same:
        if same.getpeername()[:2] == address[:2]:
            same.shutdown(socket.SHUT_RDWR)
