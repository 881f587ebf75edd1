"""A clock that jumps is noticed, noted, told and forgotten once it is right again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from small import SMALL, launch, to_ethics
from town import settle

from sites import inbox, releases
from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import entries
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.skew import ClockWatch, begin, keep_watch, tell

AHEAD = timedelta(days=700)


@pytest.fixture
def ledger(sqlite_database: Database, clock: SetClock) -> Ledger:
    settle(sqlite_database)
    releases.add(sqlite_database, SMALL, clock)
    return Ledger(sqlite_database, clock)


class Time:
    """What passes, whatever the clock says; and the clock with it."""

    def __init__(self, clock: SetClock) -> None:
        self.clock, self.seconds = clock, 1000.0

    def __call__(self) -> float:
        return self.seconds

    def passes(self, by: timedelta, drift: timedelta = timedelta(0)) -> None:
        self.seconds += by.total_seconds()
        self.clock.advance(by + drift)


def open_incidents(ledger: Ledger, code: str) -> list[str]:
    return [one["kind"] for one in inbox.status(ledger.database, code, ledger.clock.now(), access=EVERYTHING)["incidents"]]


def test_time_that_passes_and_a_clock_put_right_little_by_little_are_no_jump(clock: SetClock) -> None:
    time = Time(clock)
    watch = ClockWatch(clock, time)
    for _ in range(200):
        time.passes(timedelta(hours=9), drift=timedelta(seconds=40))
        assert watch.look() is None
    assert watch.state == "ok"


def test_a_jump_and_its_end_are_noticed_once_each(clock: SetClock) -> None:
    time = Time(clock)
    watch, right = ClockWatch(clock, time), clock.now()
    clock.advance(AHEAD)
    jump = watch.look()
    assert jump is not None
    assert (jump.expected, jump.read, jump.is_back, watch.state) == (right, right + AHEAD, False, "ahead")
    time.passes(timedelta(minutes=1))
    assert watch.look() is None
    clock.advance(-AHEAD)
    back = watch.look()
    assert back is not None
    assert (back.is_back, watch.state) == (True, "ok")
    clock.advance(-AHEAD)
    assert watch.look() is not None
    assert watch.state == "behind"


def test_a_jump_is_in_the_access_journal_and_an_incident_until_the_clock_is_right_again(ledger: Ledger, clock: SetClock) -> None:
    code, watch = launch(ledger), ClockWatch(clock, Time(clock))
    clock.advance(AHEAD)
    jump = watch.look()
    assert jump is not None
    tell(ledger, "en", jump)
    tell(ledger, "en", jump)  # another process notices it too
    assert open_incidents(ledger, code) == ["clock"]
    assert [fact["kind"] for fact in inbox.journal(ledger.database, code, EVERYTHING)].count("IncidentReported") == 1
    noted = entries(ledger.database, kind="ClockJumped")[0]["data"]
    assert (noted["expected"], noted["read"]) == (jump.expected.isoformat(), jump.read.isoformat())
    clock.advance(-AHEAD)
    back = watch.look()
    assert back is not None
    tell(ledger, "en", back)
    tell(ledger, "en", back)
    assert open_incidents(ledger, code) == []


def test_facts_that_a_start_finds_dated_ahead_are_an_incident_of_their_experiment(ledger: Ledger, clock: SetClock) -> None:
    ahead, other = launch(ledger), launch(ledger)
    clock.advance(AHEAD)
    to_ethics(ledger, ahead)
    clock.advance(-AHEAD)
    begin(ledger, "fr")
    assert (open_incidents(ledger, ahead), open_incidents(ledger, other)) == (["clock"], [])
    begin(ledger, "fr")
    assert open_incidents(ledger, ahead) == []


def test_a_server_whose_clock_says_otherwise_is_an_incident(postgresql_database: Database, clock: SetClock) -> None:
    settle(postgresql_database)
    releases.add(postgresql_database, SMALL, clock)
    ledger = Ledger(postgresql_database, clock)
    code = launch(ledger)
    begin(ledger, "en")  # the tests' clock stands still in another year than the server's
    assert open_incidents(ledger, code) == ["clock"]


def test_what_the_database_cannot_take_is_told_later(new_database: Callable[[str], Database], clock: SetClock, tmp_path: Path) -> None:
    database = new_database("sqlite")
    settle(database)
    releases.add(database, SMALL, clock)
    ledger = Ledger(database, clock)
    code, file = launch(ledger), database.file
    assert file
    database.dispose()
    shutil.move(file, tmp_path / "away.db")
    file.write_text("Not a database at all, but long enough to look like something. " * 20)
    stop, watch = threading.Event(), ClockWatch(clock, Time(clock))
    clock.advance(AHEAD)
    watching = threading.Thread(target=keep_watch, args=(watch, ledger, "en", stop, 0.05))
    watching.start()
    while watch.state == "ok":
        stop.wait(0.01)
    database.dispose()
    shutil.move(tmp_path / "away.db", file)
    for _ in range(600):
        if open_incidents(ledger, code):
            break
        stop.wait(0.05)
    stop.set()
    watching.join()
    assert open_incidents(ledger, code) == ["clock"]


LOOKS = """
import sys, threading
from sites.clock import SystemClock
from sites.skew import ClockWatch
watch = ClockWatch(SystemClock())
print("begun", flush=True)
sys.stdin.readline()
jump = watch.look()
print(watch.state, round((jump.read - jump.expected).total_seconds() / 86400), flush=True)
"""


@pytest.mark.skipif(not shutil.which("faketime"), reason="needs libfaketime")
def test_a_machines_clock_that_jumps_is_noticed(tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.write_text("+0d\n")
    library = next(Path("/usr/lib").rglob("libfaketime.so.1"))
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(moved),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = [sys.executable, "-c", LOOKS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ) | faked) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stdout.readline() == "begun\n"
        moved.write_text("+700d\n")
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "ahead 700\n"
