"""A database is made ready at first use, once, whoever comes first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from protocols.errors import DatabaseUnavailable
from sites import releases
from sites.clock import SystemClock
from sites.database import Database
from sites.readiness import make_ready, revisions


def test_the_revisions_are_those_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", "sites:migrations")
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert revisions() == sorted(found)


def test_a_fresh_database_gets_its_tables_and_the_library_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new' / 'insitu.db'}")
    assert [make_ready(database, SystemClock()) for _ in range(2)] == [True, False]
    assert "telerehab-hip" in [release["id"] for release in releases.releases(database)]
    database.dispose()


def test_a_database_of_a_later_release_is_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseUnavailable, match=r"9999.*later release"):
        make_ready(database, SystemClock())


READY = """
import sys
from sites.clock import SystemClock
from sites.database import Database
from sites.readiness import make_ready
make_ready(Database(sys.argv[1]), SystemClock())
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_programs_that_come_first_at_once_do_not_disturb_each_other(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{tmp_path / 'insitu.db'}"
    if kind == "postgresql":
        postgres = request.getfixturevalue("postgres")
        postgres._do("CREATE DATABASE brand_new")
        url = postgres.url("brand_new")
    started = [subprocess.Popen([sys.executable, "-c", READY, url], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [program.communicate()[1] for program in started]
    assert [program.returncode for program in started] == [0, 0], said
