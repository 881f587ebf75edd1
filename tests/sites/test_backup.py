"""A backup is one file that either kind of database gives and takes, whole, checked, or not at all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest
from sqlalchemy import update

from protocols.errors import InsituError, InvalidInput, Refused
from sites import inbox, registry, releases
from sites.backup import Digest, backup, restore
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.access import entries
from sites.identity.access import verify as verify_access
from sites.identity.accounts import account_of, accounts, create_account, disable
from sites.identity.links import create_link, links_of
from sites.identity.sessions import end_sessions, open_session, read_session
from sites.identity.subjects import link_subject, unlink_subject
from sites.identity.tokens import create_token, read_token
from sites.journal import verify
from sites.ledger import Ledger
from sites.occupied import alone_on, occupying
from sites.policy import EVERYTHING
from sites.tables import Experiment, FactRow

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
PROTOCOL = (resources.files("protocols") / "library" / "telerehab-hip.yaml").read_text("utf-8")
HOUSE = """\
sites:
  - {code: CAEN, name: CHU Caen Normandie, kind: public_hospital, territory: FR, timezone: Europe/Paris}
people:
  - {id: a.martin, name: Zoé Martin, email: a.martin@example.org, channels: ["tgram://1:secret/2"]}
  - {id: b.durand, name: Luc Durand, email: b.durand@example.org}
assignments:
  - {person: a.martin, role: project_manager, from: 2026-01-01}
  - {person: a.martin, role: methodologist}
"""
LAUNCH = {"planned_start": "2026-05-01", "target_participants": 120}


def lived_in(database: Database, experiments: int = 1) -> Ledger:
    """A ledger where things have happened: a release, people, experiments, answers, a draft, a document, timers, notices."""
    clock = SetClock(START)
    ledger = Ledger(database, clock)
    releases.add(database, PROTOCOL, clock)
    registry.import_file(database, HOUSE, "house.yaml")
    for _ in range(experiments):
        code = ledger.launch("telerehab-hip", ["CAEN"], LAUNCH, "a.martin")["code"]
        clock.advance(timedelta(microseconds=1))
        ledger.save_draft(f"{code}:protocol_review::1", "a.martin", {"comments": "à relire « demain »"})
        ledger.complete(f"{code}:protocol_review::1", {"synopsis_version": "1", "sample_size_justified": True}, "a.martin")
    ledger.store_document("plan.pdf", "application/pdf", b"\x00\xff binary")
    return ledger


@pytest.mark.parametrize(
    ("there", "here"), [("sqlite", "sqlite"), ("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "postgresql")]
)
def test_a_ledger_moves_to_another_database_and_lives_on(
    new_database: Callable[[str], Database], tmp_path: Path, there: str, here: str
) -> None:
    old, new = new_database(there), new_database(here)
    ledger = lived_in(old)
    made = backup(old, tmp_path / "insitu.zip", ledger.clock)
    taken = restore(new, tmp_path / "insitu.zip")
    assert taken == made
    assert made["tables"]["fact"] == verify(new)["facts"] > 5
    (experiment,) = inbox.experiments(old)
    code = experiment["code"]
    assert inbox.experiments(new) == [experiment]
    assert inbox.journal(new, code, EVERYTHING) == inbox.journal(old, code, EVERYTHING)
    assert inbox.checkpoint(new, f"{code}:ethics::1", START, access=EVERYTHING) == inbox.checkpoint(
        old, f"{code}:ethics::1", START, access=EVERYTHING
    )
    assert registry.people(new) == registry.people(old)
    second = Ledger(new, ledger.clock).launch("telerehab-hip", ["CAEN"], LAUNCH, "a.martin")
    assert second["code"] != code
    assert verify(new)["ok"]


def test_a_backup_is_of_one_moment_while_others_write(database: Database, new_database: Callable[[str], Database], tmp_path: Path) -> None:
    ledger = lived_in(database)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            ledger.launch("telerehab-hip", ["CAEN"], LAUNCH, "a.martin")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup(database, tmp_path / f"{number}.zip", ledger.clock) for number in range(3)]
    finally:
        stop.set()
        writer.join()
    assert all(one["journal"]["ok"] for one in made)
    assert made[0]["tables"]["experiment"] < made[2]["tables"]["experiment"]
    assert restore(new_database("sqlite"), tmp_path / "2.zip")["tables"]["experiment"] == made[2]["tables"]["experiment"]


def test_a_ledger_that_is_not_empty_is_kept_unless_told_to_replace_it(
    database: Database, new_database: Callable[[str], Database], tmp_path: Path
) -> None:
    ledger = lived_in(new_database("sqlite"))
    backup(ledger.database, tmp_path / "one.zip", ledger.clock)
    lived_in(database, experiments=2)
    with pytest.raises(Refused, match="--replace"):
        restore(database, tmp_path / "one.zip")
    assert len(inbox.experiments(database)) == 2
    restore(database, tmp_path / "one.zip", replace=True)
    assert len(inbox.experiments(database)) == 1


def test_a_fresh_ledger_with_the_library_in_it_counts_as_empty(new_database: Callable[[str], Database], tmp_path: Path) -> None:
    ledger = lived_in(new_database("sqlite"))
    backup(ledger.database, tmp_path / "one.zip", ledger.clock)
    fresh = new_database("sqlite")
    releases.add(fresh, PROTOCOL, SetClock(START + timedelta(days=1)))
    assert restore(fresh, tmp_path / "one.zip")["journal"]["ok"]


def rewritten(file: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of the archive with one member changed."""
    copy = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == member else old.read(name))
    return copy


TAMPERED: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("person.jsonl", lambda rows: rows.replace(b"Martin", b"Durand"), "table 'person'"),
    ("fact.jsonl", lambda rows: rows.split(b"\n", 1)[1], "table 'fact'"),
    ("delivery.jsonl", lambda rows: rows + b'{"id": 1}\n', "table 'delivery'"),
    ("manifest.json", lambda _: b"{}", "no manifest"),
    ("manifest.json", lambda manifest: manifest.replace(b'"insitu_backup": 1', b'"insitu_backup": 2'), "later release"),
    ("manifest.json", lambda manifest: re.sub(rb'"revision": "\d+"', b'"revision": "0999"', manifest), "revision 0999"),
]


@pytest.mark.parametrize(("member", "change", "said"), TAMPERED)
def test_a_changed_file_is_refused_before_anything_is_written(
    new_database: Callable[[str], Database], tmp_path: Path, member: str, change: Callable[[bytes], bytes], said: str
) -> None:
    ledger = lived_in(new_database("sqlite"))
    backup(ledger.database, tmp_path / "one.zip", ledger.clock)
    other = new_database("sqlite")
    lived_in(other, experiments=2)
    with pytest.raises(InvalidInput, match=said):
        restore(other, rewritten(tmp_path / "one.zip", member, change), replace=True)
    assert len(inbox.experiments(other)) == 2


def test_a_forged_journal_is_refused_even_with_a_forged_manifest(
    database: Database, new_database: Callable[[str], Database], tmp_path: Path
) -> None:
    ledger = lived_in(new_database("sqlite"))
    backup(ledger.database, tmp_path / "true.zip", ledger.clock)
    with ledger.database.write() as connection:
        connection.execute(update(table(FactRow)).where(table(FactRow).c.seq == 2).values(by="x"))
    backup(ledger.database, tmp_path / "forged.zip", ledger.clock)
    with zipfile.ZipFile(tmp_path / "true.zip") as true:
        said = json.loads(true.read("manifest.json"))["journal"]
    hidden = rewritten(tmp_path / "forged.zip", "manifest.json", lambda text: json.dumps(json.loads(text) | {"journal": said}).encode())
    with pytest.raises(InvalidInput, match="journal"):
        restore(database, hidden)
    assert inbox.experiments(database) == []


UNREADABLE: list[tuple[str, bytes]] = [
    ("site", b"[" * 200_000),
    ("site", b"5"),
    ("site", b'{"evil": 1}'),
    ("site", b"\xff"),
    ("access", b"{}"),
    ("access", b'{"seq": "x"}\n{"seq": 1}'),
    ("assignment", b'{"id": 1' + b"0" * 30 + b"}"),
    ("assignment", b'{"from_date": "9999-99"}'),
    ("manifest", b"[" * 200_000),
]


@pytest.mark.parametrize(("member", "lines"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_rows_that_insitu_never_wrote_are_refused_even_with_a_forged_manifest(
    new_database: Callable[[str], Database], tmp_path: Path, member: str, lines: bytes
) -> None:
    ledger = lived_in(new_database("sqlite"))
    backup(ledger.database, tmp_path / "one.zip", ledger.clock)
    forged = tmp_path / "one.zip"
    if member == "manifest":
        forged = rewritten(forged, "manifest.json", lambda _: lines)
    else:
        digest = Digest()
        for line in lines.split(b"\n"):
            digest.add(line)
        forged = rewritten(forged, f"{member}.jsonl", lambda _: lines + b"\n").rename(tmp_path / "forged.zip")

        def told(text: bytes) -> bytes:
            manifest = json.loads(text)
            manifest["tables"][member] = digest.about()
            return json.dumps(manifest).encode()

        forged = rewritten(forged, "manifest.json", told)
    other = new_database("sqlite")
    with pytest.raises(InvalidInput, match="Nothing was restored"):
        restore(other, forged)
    assert inbox.experiments(other) == []


def test_a_ledger_whose_journal_is_broken_can_still_be_kept_as_it_is(database: Database, tmp_path: Path) -> None:
    ledger = lived_in(database)
    with database.write() as connection:
        connection.execute(update(table(Experiment)).values(head="x"))
    made = backup(database, tmp_path / "broken.zip", ledger.clock)
    assert made["journal"]["ok"] is False
    assert restore(database, tmp_path / "broken.zip", replace=True) == made


def test_what_is_not_a_backup_is_refused(new_database: Callable[[str], Database], tmp_path: Path) -> None:
    database = new_database("sqlite")
    ledger = lived_in(database)
    backup(database, tmp_path / "one.zip", ledger.clock)
    whole = (tmp_path / "one.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.zip").write_text("hello")
    for name in ("half.zip", "text.zip", "missing.zip"):
        with pytest.raises(InvalidInput, match=name):
            restore(database, tmp_path / name, replace=True)


def test_a_backup_replaces_an_older_one_is_for_its_owner_only_and_leaves_no_part_behind(
    new_database: Callable[[str], Database], tmp_path: Path
) -> None:
    ledger = lived_in(new_database("sqlite"))
    folder = tmp_path / "kept"
    for _ in range(2):
        backup(ledger.database, folder / "one.zip", ledger.clock)
    assert [file.name for file in folder.iterdir()] == ["one.zip"]
    assert (folder / "one.zip").stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(InsituError, match="cannot be written"):
        backup(ledger.database, tmp_path / "file" / "one.zip", ledger.clock)


# ------------------------------------------------------------------ where it may be written


def unchanged(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and not file.name.endswith("-shm")}


def ways_to(file: Path, folder: Path) -> list[Path]:
    """A file by its name, by another way round, by a link to it, and by a second name of it."""
    (folder / "link.zip").symlink_to(file)
    os.link(file, folder / "second.zip")
    return [file, file.parent / "." / ".." / file.parent.name / file.name, folder / "link.zip", folder / "second.zip"]


def test_nothing_of_an_installation_and_nothing_else_that_is_there_is_written_over(
    new_database: Callable[[str], Database], tmp_path: Path
) -> None:
    ledger = lived_in(new_database("sqlite"))
    file = ledger.database.file
    assert file
    (tmp_path / "key").write_text("a key")
    (tmp_path / "letter.zip").write_text("not a backup")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as photos:
        photos.writestr("manifest.json", "[]")
    (tmp_path / "nowhere.zip").symlink_to(tmp_path / "missing")
    (tmp_path / "folder.zip").mkdir()
    beside = [file.with_name(file.name + end) for end in ("-wal", "-shm", ".queue", ".running", "-journal")]
    beside += [tmp_path / name for name in ("address", "anchor-key", "anchor-key.next", "anchors", "prefect", "Insitu.db")]
    beside += [tmp_path / "anchors" / "anchors.jsonl", tmp_path / "prefect" / "server" / "password"]
    others = [tmp_path / name for name in ("key", "letter.zip", "photos.zip", "nowhere.zip", "folder.zip")]
    ways = ways_to(file, tmp_path)
    before = unchanged(tmp_path)
    for target in [*ways, *beside, *others, Path("/dev/null"), tmp_path / "new" / "insitu.db", tmp_path / "new" / "up.lock"]:
        with pytest.raises(InvalidInput, match="Nothing was written"):
            backup(ledger.database, target, ledger.clock)
    assert unchanged(tmp_path) == before
    assert verify(ledger.database)["ok"]


# ------------------------------------------------------------------ what a restore must not do


HOLD = """
import sys
from sites.database import Database
from sites.occupied import occupying
with occupying(Database(sys.argv[1]), "insitu serve"):
    print("at work", flush=True)
    sys.stdin.read()
"""


def test_a_ledger_that_something_runs_on_is_not_replaced(database: Database, tmp_path: Path) -> None:
    ledger = lived_in(database)
    backup(database, tmp_path / "one.zip", ledger.clock)
    lived_in(database)
    command = [sys.executable, "-c", HOLD, database.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "at work\n"
        with pytest.raises(Refused, match=f"process {other.pid}"):
            restore(database, tmp_path / "one.zip", replace=True)
        other.kill()
    assert len(inbox.experiments(database)) == 2
    restore(database, tmp_path / "one.zip", replace=True)
    assert len(inbox.experiments(database)) == 1


def have_it_alone_again_and_again(database: Database) -> None:
    for _ in range(600):
        with alone_on(database):
            threading.Event().wait(0.05)


def test_a_program_whose_connection_was_cut_is_seen_again(postgresql_database: Database) -> None:
    with occupying(postgresql_database, "insitu dispatch"):
        with postgresql_database.write() as connection:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(application_name, 'insitu dispatch on')"
            assert connection.exec_driver_sql(cut).scalar()
        with pytest.raises(Refused, match="insitu dispatch on"):
            have_it_alone_again_and_again(postgresql_database)


@pytest.mark.parametrize("linked_anew", [False, True])
def test_a_link_to_the_provider_that_was_taken_back_since_a_backup_is_not_there_again(
    database: Database, tmp_path: Path, linked_anew: bool
) -> None:
    clock = lived_in(database).clock
    people = ("a.martin", "b.durand")
    with database.write() as connection:
        for person in people:
            create_account(connection, person, "a long enough pass phrase", clock.now(), by="")
    link_subject(database, clock, "a.martin", "https://id.example|1", by="a.martin")
    backup(database, tmp_path / "one.zip", clock)
    link_subject(database, clock, "b.durand", "https://id.example|2", by="b.durand")
    for person in people:
        unlink_subject(database, clock, person, by=person)
    if linked_anew:
        link_subject(database, clock, "a.martin", "https://id.example|3", by="a.martin")

    restore(database, tmp_path / "one.zip", replace=True, clock=clock, beside=tmp_path / "beside")
    with database.read() as connection:
        found = [account_of(connection, person) for person in people]
    assert [(one["subject"], one["unlinked_at"] is not None) for one in found if one] == [(None, True)] * 2
    assert entries(database, kind="LedgerRestored")[0]["data"]["unlinked"] == list(people)
    assert verify_access(database)["ok"]


def test_what_was_closed_since_a_backup_stays_closed_and_what_the_access_journal_knew_is_kept(database: Database, tmp_path: Path) -> None:
    ledger = lived_in(database)
    clock = ledger.clock
    with database.write() as connection:
        for person in ("a.martin", "b.durand"):
            create_account(connection, person, "a long enough pass phrase", clock.now(), by="")
        cookie = open_session(connection, "a.martin", clock.now(), method="password")
        nonce = create_link(connection, "calendar", "a.martin", clock.now(), by="a.martin", lasts=None)
    token = create_token(database, clock, "a.martin", "script", "write", 30)
    backup(database, tmp_path / "one.zip", clock)
    known = len(entries(database))
    disable(database, clock, "b.durand", by="a.martin")
    with database.write() as connection:
        end_sessions(connection, "a.martin", clock.now(), by="a.martin")
    since = [entry["kind"] for entry in reversed(entries(database))][known:]
    assert since == ["AccountDisabled", "SignedOut"]

    restore(database, tmp_path / "one.zip", replace=True, clock=clock, beside=tmp_path / "beside")
    session = read_session(database, clock, cookie)
    assert session is not None
    assert not session.is_live
    assert read_token(database, clock, token) is None
    assert links_of(database, "a.martin")[0]["id"] == nonce
    assert links_of(database, "a.martin")[0]["revoked_at"]
    closed = {one["person"]: one["disabled_at"] for one in accounts(database)}
    assert closed["b.durand"]
    assert not closed["a.martin"]
    (kept,) = (tmp_path / "beside").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    assert [json.loads(line)["kind"] for line in kept.read_text().splitlines()] == since
    told = entries(database, kind="LedgerRestored")[0]["data"]
    last = json.loads(kept.read_text().splitlines()[-1])["hash"]
    assert (told["closed"], told["replaced"]) == (["b.durand"], {"entries": 2, "head": last, "file": kept.name})
    assert verify_access(database)["ok"]
