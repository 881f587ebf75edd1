"""What every room's tests share: a fresh database on SQLite and on a real PostgreSQL, a clock that is set, and a small registry."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from postgres import Postgres
from town import settle

from flows.server import PrefectServer
from sites import releases
from sites.clock import SetClock
from sites.database import Database
from sites.ledger import Ledger

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
# Before Prefect is imported and reads it: the lock of every Prefect server that a test starts in this process.
os.environ["PREFECT_API_AUTH_STRING"] = "insitu:of the tests"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not in pytest's own folder: another session may tidy that up, and a server whose folder goes stops at once.
    with tempfile.TemporaryDirectory(prefix="insitu-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        yield server
        server.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with empty tables, made once."""
    file = tmp_path_factory.mktemp("sqlite") / "insitu.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.dispose()
    return file


@pytest.fixture
def sqlite_database(migrated_file: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(migrated_file, tmp_path / "insitu.db")
    database = Database(f"sqlite:///{tmp_path / 'insitu.db'}")
    yield database
    database.dispose()


@pytest.fixture
def postgresql_database(postgres: Postgres) -> Iterator[Database]:
    name = postgres.fresh()
    database = Database(postgres.url(name))
    yield database
    database.dispose()
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """A fresh, migrated database, once on each of the two kinds."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


@pytest.fixture
def clock() -> SetClock:
    return SetClock(MONDAY)


@pytest.fixture
def ledger(database: Database, clock: SetClock) -> Ledger:
    return Ledger(database, clock)


@pytest.fixture
def registry(database: Database) -> None:
    """Three sites, the holders of `ROLES`, two nurses and somebody without any role."""
    settle(database)


@pytest.fixture
def release(database: Database, clock: SetClock) -> Callable[[str], str]:
    """Release a protocol's text; its id is returned."""
    return lambda text: str(releases.add(database, text, clock, "protocol.yaml")["id"])


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server that lives as long as the session: its first start alone takes longer than most tests."""
    home = tmp_path_factory.mktemp("prefect")
    os.environ["PREFECT_HOME"] = str(home / "client")
    with PrefectServer(home / "server") as server:
        with sqlite3.connect(home / "server" / "prefect.db") as tables:
            tables.execute("VACUUM INTO ?", (str(home / "server" / "empty.db"),))
        yield server
