"""Anchors: a signed line a day outside the database, whoever writes it, whatever interrupts it; and what is done to them is seen."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
import stat
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from small import SMALL, launch, to_ethics
from town import settle

from protocols.errors import InsituError, UnknownThing
from sites import releases
from sites.anchors import tree
from sites.anchors.folder import Folder
from sites.anchors.keeper import Keeper, about, state_at
from sites.anchors.key import NAME, SigningKey, found_key, kept_key, new_key, read_key
from sites.anchors.line import Line
from sites.backup import backup
from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import entries
from sites.ledger import Ledger
from sites.settings import Settings
from sites.verification import verify

DAY = timedelta(days=1)


class House:
    """An installation on a clock that is set, with a keeper of its anchors."""

    def __init__(self, database: Database, folder: Path, mail_to: tuple[str, ...] = ()) -> None:
        self.database = database
        self.clock = SetClock(datetime(2026, 3, 2, 9, tzinfo=UTC))
        self.ledger = Ledger(database, self.clock)
        self.settings = Settings(folder, database.url, anchors=folder / "anchors", anchor_mail_to=mail_to)
        self.keeper = Keeper(database, self.clock, self.settings)
        self.folder = Folder(folder / "anchors")

    def days(self, count: int = 1) -> None:
        """Live for some days, each with an experiment launched and an anchor."""
        for _ in range(count):
            launch(self.ledger)
            assert self.keeper.anchor_today()
            self.clock.advance(DAY)

    @property
    def lines(self) -> list[Line]:
        return [line for line in self.folder.lines() if line]

    def findings(self) -> list[str]:
        found = verify(self.database, anchors=self.settings.anchors, data=self.settings.data)
        assert found["ok"] is not bool(found["findings"])
        return [one["why"] for one in found["findings"]]


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    settle(database)
    made = House(database, tmp_path / "data")
    releases.add(database, SMALL, made.clock)
    return made


@pytest.fixture
def lived(sqlite_database: Database, tmp_path: Path) -> House:
    """Four days and four anchors, on SQLite."""
    settle(sqlite_database)
    made = House(sqlite_database, tmp_path / "data")
    releases.add(sqlite_database, SMALL, made.clock)
    made.days(4)
    return made


# ------------------------------------------------------------------ the tree

# The leaves and roots of the test of Certificate Transparency's own reference implementation (RFC 6962).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", ROOTS)
def test_the_tree_is_the_one_of_the_standard(count: int) -> None:
    assert tree.root(tree.leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES[:count]) == ROOTS[count]


def test_nothing_has_the_hash_of_nothing() -> None:
    assert tree.root([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# ------------------------------------------------------------------ making them


def test_each_day_has_one_line_that_follows_the_one_before(house: House) -> None:
    house.days(3)
    assert [(line.number, line.date, line.count) for line in house.lines] == [
        (1, "2026-03-02", 2),
        (2, "2026-03-03", 4),
        (3, "2026-03-04", 5),
    ]  # the register and the experiments; from the first anchor on, the access journal too
    assert [line.previous for line in house.lines] == ["", *(line.hash for line in house.lines[:2])]
    assert all(line.is_signed and line.format == 1 for line in house.lines)
    house.clock.set(datetime(2026, 3, 4, 23, tzinfo=UTC))
    assert house.keeper.anchor_today() is None
    assert house.findings() == []


def test_however_many_try_at_once_the_day_has_one_line(house: House) -> None:
    launch(house.ledger)
    together, made = threading.Barrier(6), []

    def try_it() -> None:
        together.wait()
        keeper = Keeper(Database(house.database.url), house.clock, house.settings)
        keeper._attempt()
        made.append(keeper)

    threads = [threading.Thread(target=try_it) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for keeper in made:
        keeper.database.dispose()
    assert len(house.lines) == 1
    assert len(entries(house.database, kind="Anchored")) == 1
    assert house.findings() == []


def test_only_heads_that_changed_are_kept_and_all_of_them_once_a_month(lived: House) -> None:
    sizes = [len(lived.folder.leaves(line)) for line in lived.lines]
    assert sizes == [2, 3, 3, 3]  # each day the register, the day's experiment and, from the first anchor on, the access journal
    assert {head.name for head in state_at(lived.folder, lived.lines[-1]).values()} == {
        *("access", "register"),
        *(f"experiment/SMALL-{number}" for number in (1, 2, 3, 4)),
    }
    lived.days(27)
    assert [line.number for line in lived.lines if line.full] == [1, 31]
    assert len(lived.folder.leaves(lived.lines[30])) == 33
    assert lived.findings() == []


def test_the_private_key_is_its_owners_alone_and_in_no_database_and_no_backup(lived: House, tmp_path: Path) -> None:
    file = lived.settings.data / NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(lived.folder.path.stat().st_mode) == 0o700
    secret = file.read_bytes().splitlines()[1]
    backup(lived.database, tmp_path / "kept.zip", lived.clock)
    lived.database.dispose()
    with zipfile.ZipFile(tmp_path / "kept.zip") as kept:
        assert not any(secret in kept.read(name) for name in kept.namelist())
    raw = b"".join(one.read_bytes() for one in tmp_path.glob("insitu.db*"))
    assert secret not in raw
    assert base64.b64decode(secret) not in raw


def test_a_clock_set_back_neither_stops_anchors_nor_makes_them_doubtful(lived: House) -> None:
    """A clock that jumped ahead for a while must not put the next anchor off until then; numbers and hashes give the order."""
    lived.clock.set(datetime(2028, 3, 5, 12, tzinfo=UTC))
    lived.keeper.anchor_today()
    lived.clock.set(datetime(2026, 3, 6, 12, tzinfo=UTC))
    assert lived.keeper.anchor_today()
    assert lived.keeper.anchor_today() is None
    assert lived.findings() == []


def test_an_anchor_by_hand_is_one_more_line(lived: House) -> None:
    lived.clock.set(datetime(2026, 3, 5, 12, tzinfo=UTC))
    assert [lived.keeper.anchor().number for _ in range(2)] == [5, 6]
    assert lived.findings() == []


def test_another_key_is_announced_by_the_one_before_it(lived: House) -> None:
    before = kept_key(lived.settings.data)
    line = lived.keeper.anchor(new_key=True)
    after = kept_key(lived.settings.data)
    assert (line.signer, line.next_key) == (before.fingerprint, after.public)
    lived.clock.advance(DAY)
    lived.days()
    assert lived.lines[-1].signer == after.fingerprint
    assert lived.findings() == []
    found = verify(lived.database, anchors=lived.settings.anchors)["anchors"]["keys"]
    assert found == [
        {"fingerprint": before.fingerprint, "first": 1, "last": 5},
        {"fingerprint": after.fingerprint, "first": 6, "last": 6},
    ]


def test_a_key_announced_when_the_machine_stopped_takes_its_place(lived: House) -> None:
    """The line with the next key is on the disk; the key's file was not renamed any more."""
    before = (lived.settings.data / NAME).read_bytes()
    line = lived.keeper.anchor(new_key=True)
    (lived.settings.data / NAME).rename(lived.settings.data / f"{NAME}.next")
    (lived.settings.data / NAME).write_bytes(before)
    assert lived.keeper.anchor().key == line.next_key
    assert lived.findings() == []


def test_it_is_mailed_to_whom_the_setting_names_once(house: House) -> None:
    house.keeper = Keeper(house.database, house.clock, Settings(**_with(house.settings, anchor_mail_to=("sponsor", "nobody"))))
    house.days(2)
    house.clock.set(datetime(2026, 3, 3, 12, tzinfo=UTC))
    assert house.keeper.anchor_today() is None
    with house.database.read() as connection:
        letters = connection.exec_driver_sql("SELECT person, state FROM letter WHERE kind = 'anchor' ORDER BY id").all()
    assert sorted(tuple(one) for one in letters) == [("nobody", "owed"), ("nobody", "owed"), ("sponsor", "owed"), ("sponsor", "owed")]


def test_whoever_nobody_knows_is_named_and_the_others_are_told(house: House) -> None:
    house.keeper = Keeper(house.database, house.clock, Settings(**_with(house.settings, anchor_mail_to=("sponsor", "m.x"))))
    launch(house.ledger)
    with pytest.raises(UnknownThing, match=r"m\.x, whom nobody knows"):
        house.keeper.anchor_today()
    assert len(house.lines) == 1
    with house.database.read() as connection:
        assert connection.exec_driver_sql("SELECT person FROM letter").scalars().all() == ["sponsor"]


def _with(settings: Settings, **changes: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__} | changes


def test_a_machine_that_keeps_none_says_so(sqlite_database: Database, tmp_path: Path) -> None:
    assert Settings.load(tmp_path, {"INSITU_ANCHORS": "none"}).anchors is None
    assert Settings.load(tmp_path, {}).anchors == tmp_path / "anchors"
    assert Settings.load(tmp_path, {"INSITU_ANCHORS": str(tmp_path / "share")}).anchors == tmp_path / "share"
    with pytest.raises(InsituError, match="another machine keeps the anchors"):
        Keeper(sqlite_database, SetClock(datetime(2026, 3, 2, tzinfo=UTC)), Settings.load(tmp_path, {"INSITU_ANCHORS": "none"}))


def test_the_keeper_anchors_at_once_and_stops_when_told(lived: House) -> None:
    stop = threading.Event()
    running = threading.Thread(target=lived.keeper.run, args=(stop, 0.01))
    lived.clock.advance(DAY)
    running.start()
    try:
        hang_guard = threading.Event()
        while len(lived.lines) < 5 and not hang_guard.wait(0.01):
            assert running.is_alive()
    finally:
        stop.set()
        running.join(30)
    assert not running.is_alive()
    assert len(lived.lines) == 5


# ------------------------------------------------------------------ interrupted


def test_heads_written_for_a_line_that_never_came_mean_nothing(lived: House) -> None:
    lived.folder.put(5, [])
    assert lived.findings() == []
    lived.days()
    assert lived.findings() == []


def test_a_line_that_the_machine_did_not_finish_is_told_until_the_next(lived: House) -> None:
    whole = lived.folder.file.read_bytes()
    with lived.folder.file.open("ab") as writing:
        writing.write(b'{"at":"2026-03-06T')
    assert lived.findings() == [f"the last line of {lived.folder.file} cannot be read: it was altered, or cut while it was written"]
    lived.days()
    assert lived.findings() == []
    assert lived.folder.file.read_bytes().startswith(whole)


def test_a_line_that_nobody_was_told_of_is_told_at_the_next_look(lived: House) -> None:
    lived.clock.set(datetime(2026, 3, 6, 12, tzinfo=UTC))
    key, last = kept_key(lived.settings.data), lived.lines[-1]
    leaves = lived.folder.put(5, [])
    line = Line(5, "2026-03-06", "2026-03-06T12:00:00+00:00", last.count, last.root, leaves, False, last.hash, "").signed(key)
    lived.folder.append(line)
    assert lived.keeper.anchor_today() is None
    assert entries(lived.database, kind="Anchored", limit=1)[0]["data"]["number"] == 5


# ------------------------------------------------------------------ altered


def on_lines(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[House], None]:
    """Changes the lines of the file, as values."""

    def alter(house: House) -> None:
        lines = [json.loads(text) for text in house.folder.file.read_text().splitlines()]
        change(lines)
        house.folder.file.write_text("".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines))

    return alter


def resigned(house: House) -> None:
    """All lines signed anew by a stranger, so that they follow each other."""
    stranger, previous, lines = read_key(new_key(house.settings.data)), "", []
    for line in house.lines:
        lines.append(Line(**{name: getattr(line, name) for name in line.__slots__} | {"previous": previous}).signed(stranger))
        previous = lines[-1].hash
    house.folder.file.write_bytes(b"".join(line.text + b"\n" for line in lines))


def forged_heads(house: House) -> None:
    """A line that names other heads by their hash, and heads that are none."""
    house.folder.leaves_file(4).write_text("5\n")
    on_lines(lambda lines: lines[3].update(leaves=hashlib.sha256(b"5\n").hexdigest()))(house)


ALTERED: dict[str, tuple[Callable[[House], Any], str]] = {
    "another root": (
        on_lines(lambda lines: lines[1].update(root="0" * 64)),
        "anchor 2 of 2026-03-03 is not what the key",
    ),
    "another date": (
        on_lines(lambda lines: lines[1].update(date="2026-03-09")),
        "anchor 3 of 2026-03-04 does not follow the line before it",
    ),
    "a line taken out": (
        on_lines(lambda lines: lines.pop(1)),
        "anchor 3 of 2026-03-04 follows anchor 1: lines were lost",
    ),
    "the last lines cut": (
        on_lines(lambda lines: lines.pop()),
        "there are heads of anchor 4, and the file ends at anchor 3",
    ),
    "lines that changed places": (
        on_lines(lambda lines: lines.insert(1, lines.pop())),
        "anchor 4 of 2026-03-05 follows anchor 1",
    ),
    "a line made unreadable": (
        on_lines(lambda lines: lines[2].pop("root")),
        "anchor 4 of 2026-03-05 follows anchor 2",
    ),
    "the last made unreadable": (on_lines(lambda lines: lines[3].pop("root")), "cannot be read: it was altered"),
    "a text nested beyond reading": (lambda house: house.folder.file.write_text("[" * 200_000), "cannot be read: it was altered"),
    "a number without end": (on_lines(lambda lines: lines[3].update(number=10**30)), "cannot be read: it was altered"),
    "a text that is no text": (on_lines(lambda lines: lines[3].update(date="\ud800")), "cannot be read: it was altered"),
    "heads that are none": (forged_heads, "are not heads"),
    "signed anew by a stranger": (resigned, "the last anchor is signed by the key"),
    "the whole file gone": (lambda house: house.folder.file.unlink(), "there are heads of anchor 4, and the file ends at anchor 0"),
    "the whole folder gone": (lambda house: shutil.rmtree(house.folder.path), "the access journal tells of anchor 4 of 2026-03-05"),
    "other heads": (lambda house: house.folder.leaves_file(2).write_text('["access",1,"x"]\n'), "are not those that were signed"),
    "heads that are gone": (lambda house: house.folder.leaves_file(2).unlink(), "cannot be read: No such file"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_is_done_to_the_anchors_is_named(lived: House, name: str) -> None:
    alter, words = ALTERED[name]
    alter(lived)
    assert [why for why in lived.findings() if words in why], lived.findings()


def test_an_anchor_of_a_stranger_in_the_middle_is_named_by_its_key(lived: House) -> None:
    stranger: SigningKey = read_key(new_key(lived.settings.data))
    line = lived.lines[-1]
    forged = Line(**{name: getattr(line, name) for name in line.__slots__}).signed(stranger)
    lived.folder.file.write_bytes(b"".join(one.text + b"\n" for one in [*lived.lines[:-1], forged]))
    own = found_key(lived.settings.data)
    assert own is not None
    expected = (
        f"anchor 4 of 2026-03-05 is signed by the key {stranger.fingerprint}, which the key before it, {own.fingerprint}, does not announce"
    )
    assert expected in lived.findings()


def test_a_copy_kept_elsewhere_is_as_good(lived: House, tmp_path: Path) -> None:
    shutil.copytree(lived.folder.path, tmp_path / "share")
    shutil.rmtree(lived.folder.path)
    found = verify(lived.database, anchors=tmp_path / "share")
    assert (found["ok"], found["anchors"]["lines"]) == (True, 4)
    assert verify(lived.database, "SMALL-1", anchors=tmp_path / "share")["ok"]


def test_what_was_written_since_the_last_anchor_can_still_be_cut(lived: House) -> None:
    """The limit that docs/security.md tells of: a tail cut clean since the last anchor leaves nothing that contradicts."""
    to_ethics(lived.ledger, launch(lived.ledger))
    lived.database.dispose()
    assert lived.findings() == []
    with sqlite3.connect(str(lived.database.file)) as connection:
        for name in ("notice", "timer", "step", "fact", "tally", "experiment_site"):
            connection.execute(f"DELETE FROM {name} WHERE experiment_id = 5")
        connection.execute("DELETE FROM experiment WHERE id = 5")
        connection.execute("DELETE FROM register WHERE seq = 5")
    assert lived.findings() == []


def test_an_experiment_launched_in_the_place_of_one_that_is_gone_tells_of_both(lived: House) -> None:
    with lived.database.write() as connection:
        for name in ("notice", "timer", "step", "fact", "tally", "experiment_site"):
            connection.exec_driver_sql(f"DELETE FROM {name} WHERE experiment_id = 4")
        connection.exec_driver_sql("DELETE FROM experiment WHERE id = 4")
    assert launch(lived.ledger) == "SMALL-4"
    found = verify(lived.database)
    assert [(one["experiment"], one["why"]) for one in found["findings"]] == [
        ("SMALL-4", "entries 4 and 5 of the register of experiments tell of it: one is gone")
    ]


def test_what_is_kept_here_is_told_for_the_page(lived: House) -> None:
    told = about(lived.settings, last=2)
    key = found_key(lived.settings.data)
    assert key is not None
    assert (told["key"], told["fingerprint"]) == (key.public, key.fingerprint)
    assert [line["number"] for line in told["lines"]] == [4, 3]
