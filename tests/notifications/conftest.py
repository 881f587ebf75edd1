"""What the tests of this room share."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from mail_server import Mailbox


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def mailbox(free_port: int) -> Iterator[Mailbox]:
    box = Mailbox(free_port)
    box.start()
    yield box
    box.stop()
