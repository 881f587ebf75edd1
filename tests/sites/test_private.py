"""What insitu keeps is closed to the machine's other accounts, and none of them can stop its writers."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from town import settle

from protocols.errors import DatabaseUnavailable
from sites.clock import SystemClock
from sites.database import Database, waiting_at_most
from sites.identity.keys import Key
from sites.private import close_folder
from sites.readiness import make_ready
from sites.settings import Settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
NOBODY = 65534

HOLD = f"""
import fcntl, os, sys
os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
held = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter and write to, as INSITU_DATABASE_URL can name one."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def modes(folder: Path) -> set[int]:
    return {mode(file) for file in folder.rglob("*") if file.is_file()}


def write_once(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("SELECT 1"))


def as_nobody(program: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


def test_a_new_installation_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: None) -> None:
    home = tmp_path / "home"
    settings = Settings.load(home, {})
    database = Database(settings.database_url)
    make_ready(database, SystemClock())
    Key.of(settings)
    with database.read():
        assert {file.name for file in home.iterdir()} == {"insitu.db", "insitu.db-wal", "insitu.db-shm", "insitu.db.queue", "key"}
        assert (mode(home), modes(home)) == (0o700, {0o600})
    database.dispose()


def test_an_installation_that_was_open_to_others_is_closed_at_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    database = Database(Settings.load(home, {}).database_url)
    make_ready(database, SystemClock())
    database.dispose()
    (home / "prefect" / "server").mkdir(parents=True)
    (home / "prefect" / "server" / "server.log").write_text("who did what")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    close_folder(home)
    again = Database(Settings.load(home, {}).database_url)
    write_once(again)
    again.dispose()
    assert (mode(home), mode(home / "prefect"), modes(home)) == (0o700, 0o700, {0o600})


def test_a_folder_that_is_not_insitus_alone_stays_as_it_is_and_a_word_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "insitu.db").write_bytes(b"")
    (tmp_path / "insitu.db").chmod(0o644)
    (tmp_path / "others").write_text("")
    (tmp_path / "others").chmod(0o644)
    close_folder(tmp_path)
    assert (mode(tmp_path), mode(tmp_path / "insitu.db"), mode(tmp_path / "others")) == (0o777, 0o600, 0o644)
    assert "Choose another with --data" in caplog.text


def test_whoever_waits_for_the_queue_waits_no_longer_than_they_may(sqlite_database: Database) -> None:
    write_once(sqlite_database)
    file = sqlite_database.file
    assert file
    held = os.open(file.with_name(file.name + ".queue"), os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    for _ in range(3):  # the second and third find the first still asking
        with pytest.raises(DatabaseUnavailable, match="locked"), waiting_at_most(0.05), sqlite_database.write():
            pass
    os.close(held)
    write_once(sqlite_database)
    write_once(sqlite_database)


def test_a_turn_that_nobody_wants_any_more_is_left_to_others(sqlite_database: Database) -> None:
    write_once(sqlite_database)
    file = sqlite_database.file
    assert file
    held, other = (os.open(file.with_name(file.name + ".queue"), os.O_RDWR) for _ in range(2))
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(DatabaseUnavailable, match="locked"), waiting_at_most(0.05), sqlite_database.write():
        pass
    os.close(held)
    fcntl.flock(other, fcntl.LOCK_EX)  # comes at once, or the test hangs
    os.close(other)


@as_root
def test_another_account_cannot_open_the_queue_even_in_a_folder_of_everybodys(open_folder: Path) -> None:
    database = Database(f"sqlite:///{open_folder / 'insitu.db'}")
    settle_ready(database)
    for name in ("insitu.db", "insitu.db-wal", "insitu.db-shm", "insitu.db.queue"):
        with as_nobody(HOLD, str(open_folder / name)) as other:
            assert "Permission denied" in other.communicate()[1], name
    database.dispose()


@as_root
def test_a_queue_that_another_account_put_there_first_is_not_waited_for(open_folder: Path) -> None:
    queue = open_folder / "insitu.db.queue"
    queue.write_text("")
    queue.chmod(0o666)
    os.chown(queue, NOBODY, NOBODY)
    with as_nobody(HOLD, str(queue)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        database = Database(f"sqlite:///{open_folder / 'insitu.db'}")
        settle_ready(database)
        database.dispose()
        other.kill()


@as_root
def test_a_queue_that_others_could_open_is_made_anew_and_whoever_holds_the_old_one_holds_nothing(open_folder: Path) -> None:
    database = Database(f"sqlite:///{open_folder / 'insitu.db'}")
    settle_ready(database)
    database.dispose()
    queue = open_folder / "insitu.db.queue"
    queue.chmod(0o644)
    with as_nobody(HOLD, str(queue)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        again = Database(database.url)
        write_once(again)
        again.dispose()
        other.kill()
    assert mode(queue) == 0o600


def settle_ready(database: Database) -> None:
    make_ready(database, SystemClock())
    settle(database)
