"""One real Prefect server for the session; each test has its own ledger."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's address of a Prefect server that lives as long as the session."""
    from flows.server import PrefectServer

    home = tmp_path_factory.mktemp("prefect")
    os.environ["PREFECT_HOME"] = str(home / "client")
    with PrefectServer(home / "server") as server:
        yield server.api_url


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
