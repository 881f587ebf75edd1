"""What whole journeys need: a mail server that is real, on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mail_server import Mailbox

from flows.server import free_port


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    box.start()
    yield box
    box.stop()
