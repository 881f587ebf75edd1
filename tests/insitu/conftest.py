"""What the tests of the doors share: an installation with the library, the example's people, and a way to type commands at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from issuer import CLIENT, PEOPLE, VERIFIED, Liar, listening, real_provider
from keyboard import Terminal
from office import OPENED, Office, settle_office
from passage import Open
from town import settle
from visit import HOST, doors_on

from insitu.entrance.doors import Doors
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


# ------------------------------------------------------------------ OpenID providers


@pytest.fixture(scope="session")
def issuer() -> Iterator[str]:
    """A real provider's process, with `PEOPLE`."""
    with real_provider(*PEOPLE) as found:
        yield found


@pytest.fixture
def liar() -> Iterator[Liar]:
    """A provider that can be told to lie, and vouches for the nurse of Caen as long as it is not."""
    with listening(Liar(claims=dict(VERIFIED))) as found:
        yield found


@pytest.fixture
def open_doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Open:
    """Makes doors whose people may come by the provider of an issuer."""

    def with_issuer(issuer: str, **settings: object) -> Doors:
        known = {"oidc_issuer": issuer, "oidc_client_id": CLIENT, "oidc_client_secret": "a secret", "oidc_name": "Pro Santé Connect"}
        return doors_on(sqlite_database, clock, **({"public_url": HOST} | known | settings))

    return with_issuer
