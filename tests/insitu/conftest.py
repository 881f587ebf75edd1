"""What the tests of the doors share: an installation with the library, the example's people, and a way to type commands at it."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from keyboard import Terminal
from town import settle

from sites import registry
from sites.clock import SystemClock
from sites.database import Database
from sites.readiness import make_ready


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the library, and the example's sites and people, made once."""
    folder = tmp_path_factory.mktemp("settled")
    database = Database(f"sqlite:///{folder / 'insitu.db'}")
    make_ready(database, SystemClock())
    registry.import_file(database, (files("insitu.demo") / "sites.yaml").read_text("utf-8"), "sites.yaml")
    database.dispose()
    return folder


@pytest.fixture(autouse=True)
def english_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INSITU_HOME", "INSITU_DATABASE_URL", "PREFECT_API_URL", "INSITU_MAIL_URL", "INSITU_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INSITU_LOCALE", "en")


@pytest.fixture
def terminal(settled: Path, tmp_path: Path) -> Terminal:
    shutil.copytree(settled, tmp_path / "home")
    return Terminal(tmp_path / "home")


@pytest.fixture
def registry_on_sqlite(sqlite_database: Database) -> None:
    """`registry` of the tests' own, for the pages: three sites and the holders of roles."""
    settle(sqlite_database)
