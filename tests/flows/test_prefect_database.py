"""The database of insitu's own Prefect server: told when it cannot be read, and set aside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.prefect_database import damage, set_aside


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "prefect.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE run (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO run (name) VALUES (?)", [("x" * 500,)] * 200)
        connection.commit()
    return file


def test_a_sound_file_and_none_at_all_can_be_read(file: Path) -> None:
    assert damage(file) == ""
    assert damage(file.with_name("nowhere.db")) == ""


def test_a_file_that_is_no_database_cannot(file: Path) -> None:
    file.write_bytes(b"nothing of SQLite's" * 500)
    assert damage(file) == "file is not a database"


def test_nor_can_one_with_a_torn_page(file: Path) -> None:
    torn = bytearray(file.read_bytes())
    torn[8192:12288] = b"\xff" * 4096
    file.write_bytes(torn)
    assert damage(file)


def test_a_locked_file_is_not_taken_for_a_damaged_one(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert damage(file) == ""


def test_what_cannot_be_read_is_kept_under_a_dated_name(file: Path) -> None:
    file.with_name("prefect.db-wal").write_bytes(b"log")
    kept = set_aside(file, datetime(2026, 3, 2, 9, tzinfo=UTC))
    assert sorted(one.name for one in file.parent.iterdir()) == [kept.name, f"{kept.name}-wal"]
    assert kept.name == "prefect.db.unreadable-20260302T090000Z"
