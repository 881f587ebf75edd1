"""The journal's chain: whatever is changed behind the ledger's back, verifying finds it where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from small import SMALL, launch, to_setup
from sqlalchemy import Connection, delete, text, update

from protocols.errors import UnknownThing
from sites.database import table
from sites.journal import verify
from sites.ledger import Ledger
from sites.tables import Experiment, FactRow

FACT, EXPERIMENT = table(FactRow), table(Experiment)


@pytest.fixture
def written(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    """A ledger with two experiments and more than a dozen facts."""
    release(SMALL)
    to_setup(ledger, launch(ledger))
    launch(ledger)
    return ledger


def tampered(ledger: Ledger, change: Callable[[Connection], Any]) -> dict[str, Any]:
    with ledger.database.write() as connection:
        change(connection)
    found = verify(ledger.database)
    assert not found["ok"]
    bad: dict[str, Any] = found["first_bad"]
    assert bad["experiment"] == "SMALL-1"
    return bad


def at(seq: int) -> tuple[Any, Any]:
    return FACT.c.experiment_id == 1, FACT.c.seq == seq


def test_an_untouched_journal_is_sound(written: Ledger) -> None:
    found = verify(written.database)
    assert (found["ok"], found["experiments"], found["first_bad"]) == (True, 2, None)
    assert found["facts"] == verify(written.database, "SMALL-1")["facts"] + verify(written.database, "SMALL-2")["facts"]
    with pytest.raises(UnknownThing):
        verify(written.database, "SMALL-3")


CHANGES: dict[str, Any] = {
    "kind": "GatePassed",
    "by": "someone.else",
    "role": "sponsor",
    "step": "closure",
    "site": "METZ",
    "round": 7,
    "data": '{"answers":{}}',
    "protocol": "0" * 64,
    "previous": "0" * 64,
    "hash": "0" * 64,
}


@pytest.mark.parametrize("column", [*CHANGES, "at"])
def test_a_changed_column_is_found_at_its_fact(written: Ledger, column: str) -> None:
    from datetime import UTC, datetime

    value = CHANGES.get(column, datetime(2026, 3, 2, 9, 0, 0, 1, tzinfo=UTC))
    assert tampered(written, lambda connection: connection.execute(update(FACT).where(*at(5)).values({column: value})))["seq"] == 5


def test_every_column_of_a_fact_is_watched() -> None:
    """A new column must be hashed too, or be listed here as one of the key."""
    assert {column.name for column in FACT.c} == {*CHANGES, "at", "experiment_id", "seq"}


def test_a_change_with_its_hash_made_to_fit_is_found_at_the_next_fact(written: Ledger) -> None:
    from sites.journal import facts_of, row_hash

    with written.database.read() as connection:
        row = list(facts_of(connection, 1))[4] | {"by": "someone.else"}
    forged = {"by": row["by"], "hash": row_hash("SMALL-1", row)}
    assert tampered(written, lambda connection: connection.execute(update(FACT).where(*at(5)).values(forged)))["seq"] == 6


@pytest.mark.parametrize("seq", [1, 5])
def test_a_lost_fact_is_found(written: Ledger, seq: int) -> None:
    bad = tampered(written, lambda connection: connection.execute(delete(FACT).where(*at(seq))))
    assert bad["why"] == f"fact {seq} is missing"


def test_lost_last_facts_are_found(written: Ledger) -> None:
    bad = tampered(written, lambda connection: connection.execute(delete(FACT).where(FACT.c.experiment_id == 1, FACT.c.seq > 4)))
    assert bad["seq"] == 5


def test_facts_that_changed_places_are_found(written: Ledger) -> None:
    def swap(connection: Connection) -> None:
        for old, new in ((4, -1), (5, 4), (-1, 5)):
            connection.execute(update(FACT).where(*at(old)).values(seq=new))

    assert tampered(written, swap)["seq"] == 4


def test_a_fact_moved_to_another_experiment_is_found(written: Ledger) -> None:
    def move(connection: Connection) -> None:
        connection.execute(delete(FACT).where(FACT.c.experiment_id == 2, FACT.c.seq == 5))
        connection.execute(update(FACT).where(*at(5)).values(experiment_id=2))

    assert tampered(written, move)["why"] == "fact 5 is missing"


def test_an_experiment_moved_to_another_protocol_is_found(written: Ledger, release: Callable[[str], str]) -> None:
    release(SMALL.replace("1.0.0", "2.0.0"))
    other = "UPDATE experiment SET protocol = (SELECT hash FROM protocol WHERE version = '2.0.0') WHERE id = 1"
    assert tampered(written, lambda connection: connection.execute(text(other)))["seq"] == 1


def test_a_time_that_is_none_is_found_too(sqlite_database: Any, clock: Any) -> None:
    """SQLite lets any text into a column of times."""
    from town import settle

    from sites import releases

    settle(sqlite_database)
    releases.add(sqlite_database, SMALL, clock)
    ledger = Ledger(sqlite_database, clock)
    to_setup(ledger, launch(ledger))
    spoiled = "UPDATE fact SET at = 'yesterday' WHERE experiment_id = 1 AND seq = 5"
    assert tampered(ledger, lambda connection: connection.execute(text(spoiled)))["seq"] == 5
