"""Each test has a ledger of its own; the Prefect server is the session's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flows.server import PrefectServer


@pytest.fixture(scope="session")
def prefect_server(prefect: PrefectServer) -> str:
    """The address of the server's API."""
    return prefect.api_url


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stage import settle

    from sites.database import Database

    file = tmp_path_factory.mktemp("stage") / "insitu.db"
    database = Database(f"sqlite:///{file}")
    settle(database)
    database.dispose()
    return file


@pytest.fixture
def stage(prefect_server: str, settled: Path, tmp_path: Path) -> Iterator[object]:
    """A ledger with people and a protocol, its projector, and a worker that runs."""
    from stage import Stage

    from sites.settings import Settings

    shutil.copy(settled, tmp_path / "insitu.db")
    environment = {"INSITU_HOME": str(tmp_path), "PREFECT_API_URL": prefect_server, "INSITU_LOCALE": "en"}
    built = Stage.build(Settings.load(environment=environment))
    built.worker.start()
    yield built
    built.worker.stop()
    built.prefect.close()
    built.projector.close()
    built.database.dispose()
