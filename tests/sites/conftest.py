"""What the tests of this room share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from sites.database import Database


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    """Makes as many empty, migrated databases as a test asks, by the name of their kind: `sqlite` or `postgresql`."""
    made: list[Database] = []
    numbers = count(1)

    def make(kind: str) -> Database:
        if kind == "postgresql":
            postgres = request.getfixturevalue("postgres")
            url = postgres.url(postgres.fresh())
        else:
            file = tmp_path / f"insitu-{next(numbers)}.db"
            shutil.copy(request.getfixturevalue("migrated_file"), file)
            url = f"sqlite:///{file}"
        made.append(Database(url))
        return made[-1]

    yield make
    for database in made:
        database.dispose()
