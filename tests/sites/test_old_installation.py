"""What an earlier release left behind is taken over whole, and goes on living: its database, and its backups."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import old_installation as old
import pytest
from sqlalchemy import inspect, select

from protocols.errors import InvalidInput
from sites import inbox
from sites.backup import MANIFEST, Digest, restore
from sites.clock import SetClock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.signing import unasked
from sites.tables import AccessRow, Experiment
from sites.verification import verify

LATER = datetime(2026, 12, 15, 9, tzinfo=UTC)
CROSSINGS = [("sqlite", "sqlite"), ("postgresql", "sqlite"), ("postgresql", "postgresql")]


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def installation(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The old installation as its release left it."""
    if kind == "sqlite":
        database = old.unpack_sqlite(tmp_path / "insitu.db")
    else:
        postgres = request.getfixturevalue("postgres")
        database = old.unpack_postgresql(postgres.url(postgres.empty()))
    yield database
    database.dispose()


def experiments(database: Database) -> dict[str, Any]:
    """The state and the head of each."""
    with database.read() as connection:
        rows = connection.execute(select(table(Experiment))).mappings()
        return {row["code"]: {"state": row["state"], "seq": row["seq"], "head": row["head"]} for row in rows}


def access(database: Database, until: int = 1_000_000) -> dict[str, Any]:
    """The head of the access journal, or what it was at an earlier entry."""
    rows = table(AccessRow)
    with database.read() as connection:
        last = connection.execute(select(rows).where(rows.c.seq <= until).order_by(rows.c.seq.desc()).limit(1)).mappings().one()
    return {"seq": last["seq"], "head": last["hash"]}


def assert_taken_over(database: Database, kind: str, *, restored: bool = False) -> None:
    """All is as it was; a restore alone has added its own entry to the access journal."""
    said = old.expected(kind)
    found = verify(database)
    assert (found["ok"], found["findings"]) == (True, [])
    assert {name: found[name] for name in said["verify"]} == said["verify"]
    assert experiments(database) == said["experiments"]
    assert access(database, until=said["access"]["seq"]) == said["access"]
    assert access(database)["seq"] == said["access"]["seq"] + restored


def play_on(database: Database) -> None:
    """Everybody goes on where they were: a checkpoint, a signature, a release, a failed action, deadlines."""
    clock = SetClock(LATER)
    ledger = Ledger(database, clock)
    assert ledger.fire_timers(1000) > 0
    agreed = {"signed_on": "2026-12-01", "insurance_checked": True}
    assert ledger.complete("TELEREHAB-HIP-1:site_agreement:METZ:1", agreed, "site_coordinator")["gate"] == "passed"
    assert ledger.sign("ED-TRIAGE-AI-1:retro_validation::1", "methodologist", prove=unasked)["gate"] == "passed"
    assert ledger.release("SWALLOWING-SENSOR-NURSING-HOME-1", "project_manager", "The sensors are back")["state"] == "running"
    ledger.retry_action("TELEREHAB-HIP-2:ethics::1", "project_manager")
    (owed,) = inbox.owed_actions(database, "TELEREHAB-HIP-2", "")
    ledger.record_action(owed["checkpoint"], owed["index"], {})
    assert ledger.launch("pre-admission-econsent", ["CAEN"], {"involves_vulnerable_adults": True}, "second.manager")["code"].endswith("-2")
    found = verify(database)
    assert (found["ok"], found["findings"]) == (True, [])


def test_an_old_database_is_migrated_verifies_with_its_heads_unchanged_and_plays_on(installation: Database, kind: str) -> None:
    installation.migrate()
    assert_taken_over(installation, kind)
    play_on(installation)


@pytest.mark.parametrize(("there", "here"), CROSSINGS)
def test_an_old_backup_restores_into_todays_tables_and_plays_on(new_database: Callable[[str], Database], there: str, here: str) -> None:
    database = new_database(here)
    said = restore(database, old.backup_file(there))
    assert {name: said["tables"][name] for name in ("fact", "access", "document")} == {"fact": 210, "access": 39, "document": 10}
    assert_taken_over(database, there, restored=True)
    play_on(database)


@pytest.fixture
def first_release(new_database: Callable[[str], Database], tmp_path: Path) -> Path:
    """A backup as the very first tables would have given it: the old one, without what came later."""
    first = Database(f"sqlite:///{tmp_path / 'first.db'}")
    first.migrate("0001")
    with first.read() as connection:
        known = {name: {one["name"] for one in inspect(connection).get_columns(name)} for name in inspect(connection).get_table_names()}
    del known["alembic_version"]
    first.dispose()
    file = tmp_path / "first.zip"
    with zipfile.ZipFile(old.backup_file("sqlite")) as there, zipfile.ZipFile(file, "w") as here:
        manifest = json.loads(there.read(MANIFEST)) | {"revision": "0001", "tables": {}}
        for name, columns in known.items():
            digest, lines = Digest(), []
            for line in there.read(f"{name}.jsonl").splitlines():
                row = {column: value for column, value in json.loads(line).items() if column in columns}
                lines.append(json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
                digest.add(lines[-1])
            here.writestr(f"{name}.jsonl", b"".join(line + b"\n" for line in lines))
            manifest["tables"][name] = digest.about()
        here.writestr(MANIFEST, json.dumps(manifest))
    return file


def test_a_backup_of_the_first_tables_is_migrated_on_the_way(
    new_database: Callable[[str], Database], kind: str, first_release: Path
) -> None:
    database = new_database(kind)
    said = restore(database, first_release)
    assert (said["revision"], said["tables"]["fact"], said["tables"]["delegation"]) == ("0001", 210, 0)
    assert experiments(database) == old.expected("sqlite")["experiments"]


def test_a_changed_old_backup_is_refused_and_nothing_is_written(
    new_database: Callable[[str], Database], first_release: Path, tmp_path: Path
) -> None:
    database = new_database("sqlite")
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(first_release) as there, zipfile.ZipFile(changed, "w") as here:
        for name in there.namelist():
            here.writestr(name, there.read(name).replace(b"Caen", b"Nantes") if name == "site.jsonl" else there.read(name))
    with pytest.raises(InvalidInput, match="table 'site'"):
        restore(database, changed)
    assert inbox.experiments(database) == []


def test_the_old_files_are_those_that_were_made() -> None:
    """Whoever makes them again with later code takes from them what they are for."""
    made = {kind: hashlib.sha256(old.backup_file(kind).read_bytes()).hexdigest() for kind in ("sqlite", "postgresql")}
    assert made == {kind: old.expected(kind)["backup"]["sha256"] for kind in made}
