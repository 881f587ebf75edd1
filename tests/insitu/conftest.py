"""What the tests of the doors share: an installation with the library, the example's people, and a way to type commands at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from keyboard import Terminal
from office import OPENED, Office, settle_office
from town import settle
from visit import doors_on

from sites import registry
from sites.clock import SetClock, SystemClock
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


@pytest.fixture(scope="session")
def office_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Office]:
    """The database of `office`, made once, with what its experiments are called."""
    file = tmp_path_factory.mktemp("office") / "insitu.db"
    shutil.copy(migrated_file, file)
    database = Database(f"sqlite:///{file}")
    settle(database)
    made = settle_office(doors_on(database, SetClock(OPENED)))
    database.dispose()
    return file, made


@pytest.fixture
def office(office_file: tuple[Path, Office], tmp_path: Path) -> Iterator[Office]:
    """An office of project managers of the test's own."""
    file, made = office_file
    shutil.copy(file, tmp_path / "office.db")
    database = Database(f"sqlite:///{tmp_path / 'office.db'}")
    yield Office(doors_on(database, SetClock(OPENED)), made.ours, made.theirs)
    database.dispose()


@pytest.fixture
def registry_on_sqlite(sqlite_database: Database) -> None:
    """`registry` of the tests' own, for the pages: three sites and the holders of roles."""
    settle(sqlite_database)
