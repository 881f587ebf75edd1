"""Three hundred kills on each database, over every process there is, in rounds that go on where an earlier run stopped: `make soak`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from figures import keep, skip_if_done
from mail_server import Mailbox
from postgres import Postgres
from test_crash import house_on, live_through

from flows.server import PrefectServer
from sites.database import Database

ROUNDS = 4
KILLS = {
    "client-a": 15,
    "client-b": 15,
    "dispatcher-a": 9,
    "dispatcher-b": 9,
    "timer": 4,
    "projector": 8,
    "worker-a": 5,
    "worker-b": 5,
    "server": 5,
}
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture
def mortal_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of one's own, to kill."""
    with TemporaryDirectory(prefix="insitu-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        yield server
        server.close()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_round_of_kills_on_sqlite(sqlite_database: Database, tmp_path: Path, mailbox: Mailbox, prefect: PrefectServer, seed: int) -> None:
    skip_if_done(name := f"kills sqlite {seed}")
    begun = time.monotonic()
    house = house_on(sqlite_database, tmp_path, mailbox, prefect, sum(KILLS.values()))
    figures = live_through(house, KILLS, seed)
    keep(name, **figures, lost=0, doubled=0, seconds=round(time.monotonic() - begun))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_round_of_kills_on_postgresql(
    mortal_postgres: Postgres, tmp_path: Path, mailbox: Mailbox, prefect: PrefectServer, seed: int
) -> None:
    skip_if_done(name := f"kills postgresql {seed}")
    begun = time.monotonic()
    database = Database(mortal_postgres.url(mortal_postgres.fresh()))
    house = house_on(database, tmp_path, mailbox, prefect, sum(KILLS.values()), mortal_postgres.server)
    figures = live_through(house, KILLS | {"postgres": 5, "client-a": 12, "client-b": 13}, seed)
    database.dispose()
    keep(name, **figures, lost=0, doubled=0, seconds=round(time.monotonic() - begun))
