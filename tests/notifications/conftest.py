"""What the tests of this room share."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mail_server import Mailbox
from world import START, World, settle

from sites.clock import SetClock
from sites.database import Database


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


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the world's people in it, made once."""
    file = tmp_path_factory.mktemp("world") / "insitu.db"
    database = Database(f"sqlite:///{file}")
    settle(database)
    database.dispose()
    return file


@pytest.fixture
def world(settled: Path, tmp_path: Path, mailbox: Mailbox) -> Iterator[World]:
    file = tmp_path / "insitu.db"
    shutil.copy(settled, file)
    database = Database(f"sqlite:///{file}")
    yield World(database, mailbox, SetClock(START))
    database.dispose()


@pytest.fixture
def world_on_postgresql(postgresql_database: Database, mailbox: Mailbox) -> World:
    settle(postgresql_database)
    return World(postgresql_database, mailbox, SetClock(START))
