"""A disk that is full or read-only: what was written can be read, and what cannot be written says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from protocols.errors import DatabaseUnavailable
from sites import registry
from sites.database import Condition, Database, condition, table
from sites.tables import Person
from sites.trouble import Trouble
from sites.vacancies import everyone

HOUSE = "people:\n  - {id: a.martin, name: Zoé Martin, email: a.martin@example.org}\n"
LEFT_OPEN = """
import os, sys
from sites import registry
from sites.database import Database
registry.import_file(Database(sys.argv[1]), sys.argv[2], "house.yaml")
os._exit(0)  # without folding the log into the file
"""


class Disk:
    """A small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (64 * 1024, 1024, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    continue

    def free(self) -> None:
        (self.folder / "filler").unlink()

    def frozen(self) -> Path:
        """The same files where nobody can write them."""
        elsewhere = self.folder.with_name("frozen")
        elsewhere.mkdir()
        subprocess.run(["mount", "--bind", str(self.folder), str(elsewhere)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(elsewhere)], check=True)
        return elsewhere


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this system lets nobody mount a disk")
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder.with_name("frozen"))], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def there(disk: Disk, migrated_file: Path) -> Iterator[Database]:
    """A database with one person, on that disk."""
    shutil.copy(migrated_file, disk.folder / "insitu.db")
    database = Database(f"sqlite:///{disk.folder / 'insitu.db'}")
    registry.import_file(database, HOUSE, "house.yaml")
    yield database
    database.dispose()


def people(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table(Person))).scalar_one())


def write(database: Database, count: int = 2000) -> None:
    rows = "\n".join(f"  - {{id: p{number}, name: {'long ' * 40}, email: p{number}@example.org}}" for number in range(count))
    registry.import_file(database, f"people:\n{rows}\n", "house.yaml")


@pytest.mark.parametrize("begins", [False, True])
def test_a_full_disk_is_read_on_and_says_what_it_is(disk: Disk, there: Database, begins: bool) -> None:
    if begins:  # a program that starts only now finds no room for the file its readers share
        there.dispose()
    disk.fill()
    assert people(there) == len(everyone(there)) == 1
    with pytest.raises(DatabaseUnavailable, match="the disk is full"):
        write(there)
    assert people(there) == 1
    assert condition(there) == Condition(True, Trouble.FULL)
    disk.free()
    write(there, 3)
    assert (people(there), condition(there)) == (4, Condition(True))


@pytest.mark.parametrize("others_read_it", [False, True])
def test_a_read_only_disk_is_read_on_and_says_what_it_is(disk: Disk, there: Database, others_read_it: bool) -> None:
    if not others_read_it:  # then the file that readers share is not there
        there.dispose()
    here = Database(f"sqlite:///{disk.frozen() / 'insitu.db'}")
    assert people(here) == len(everyone(here)) == 1  # in the order of a dictionary, which SQLite does not know of itself
    with pytest.raises(DatabaseUnavailable, match="is read-only"):
        write(here)
    assert condition(here) == Condition(True, Trouble.READ_ONLY)
    here.dispose()


def test_what_a_program_that_died_had_written_is_read_on_a_full_disk_too(disk: Disk, there: Database) -> None:
    there.dispose()
    house = HOUSE.replace("a.martin", "b.durand")
    subprocess.run([sys.executable, "-c", LEFT_OPEN, there.url, house], check=True)
    (disk.folder / "insitu.db-shm").unlink()
    disk.fill()
    assert people(there) == 2
