"""Whose deadlines stand in whose calendar."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from small import SMALL, launch, to_ethics, to_setup
from sqlalchemy import insert

from sites import policy
from sites.calendar import calendar
from sites.clock import SetClock
from sites.database import table
from sites.ledger import Ledger
from sites.tables import Assignment, Deputy

DAY = timedelta(days=1)


@pytest.fixture
def small(registry: None, release: Callable[[str], str]) -> str:
    return release(SMALL)


def entries(ledger: Ledger, person: str) -> list[dict[str, Any]]:
    now = ledger.clock.now()
    with ledger.database.read() as connection:
        reader = policy.reader(connection, person, now)
    return calendar(ledger.database, reader, now, "en")


def ids(ledger: Ledger, person: str) -> list[str]:
    return [entry["id"] for entry in entries(ledger, person)]


def test_one_finds_what_asks_for_a_role_of_theirs(ledger: Ledger, small: str) -> None:
    launch(ledger)
    (entry,) = entries(ledger, "methodologist")
    assert (entry["id"], entry["checkpoint"], entry["title"], entry["sites"]) == ("SMALL-1:review::1", "SMALL-1:review::1", "Review", [])
    assert (entry["due_on"], entry["is_legal"]) == (date(2026, 3, 12), False)


@pytest.mark.parametrize("person", ["nobody", "nurse.caen", "sponsor", "principal_investigator"])
def test_one_who_is_not_asked_finds_nothing(ledger: Ledger, small: str, person: str) -> None:
    launch(ledger)
    assert entries(ledger, person) == []


def test_a_manager_finds_all_of_what_they_manage_the_sites_of_a_day_together(ledger: Ledger, small: str) -> None:
    to_setup(ledger, launch(ledger))
    (entry,) = entries(ledger, "project_manager")
    assert (entry["id"], entry["sites"], entry["checkpoint"]) == ("SMALL-1:setup:*:1:2026-03-07", ["CAEN", "METZ"], "")


def test_a_manager_of_one_experiment_finds_that_one(ledger: Ledger, small: str) -> None:
    first, second = launch(ledger), launch(ledger)
    with ledger.database.write() as connection:
        held = {"person": "nobody", "role": "project_manager", "site": "", "experiment": second}
        connection.execute(insert(table(Assignment)).values(held))
    assert (ids(ledger, "nobody"), first) == ([f"{second}:review::1"], "SMALL-1")


def test_a_coordinator_finds_their_site_s_alone(ledger: Ledger, small: str) -> None:
    to_setup(ledger, launch(ledger))
    assert ids(ledger, "nurse.caen") == ["SMALL-1:setup:CAEN:1"]


def test_a_deputy_finds_what_they_stand_in_for(ledger: Ledger, clock: SetClock, small: str) -> None:
    launch(ledger)
    today = clock.now().date()
    row = {
        "person": "methodologist",
        "deputy": "nobody",
        "from_date": today,
        "until_date": today,
        "recorded_by": "x",
        "recorded_at": clock.now(),
    }
    with ledger.database.write() as connection:
        connection.execute(insert(table(Deputy)).values(row))
    assert ids(ledger, "nobody") == ["SMALL-1:review::1"]
    clock.advance(DAY)
    assert ids(ledger, "nobody") == []


def test_what_is_done_or_stands_still_or_was_due_long_ago_is_gone(ledger: Ledger, clock: SetClock, small: str) -> None:
    done, held, old = launch(ledger), launch(ledger), launch(ledger)
    to_ethics(ledger, done)
    ledger.hold(held, "project_manager", "audit")
    assert ids(ledger, "methodologist") == [f"{old}:review::1"]
    clock.advance(40 * DAY)  # due on the tenth day: thirty days late
    assert ids(ledger, "methodologist") == [f"{old}:review::1"]
    clock.advance(DAY)
    assert ids(ledger, "methodologist") == []


def test_an_id_stays_while_its_deadline_moves(ledger: Ledger, clock: SetClock, small: str) -> None:
    code = launch(ledger)
    (before,) = entries(ledger, "methodologist")
    ledger.hold(code, "project_manager", "audit")
    clock.advance(7 * DAY)
    ledger.release(code, "project_manager", "over")
    (after,) = entries(ledger, "methodologist")
    assert (after["id"], after["due_on"] - before["due_on"]) == (before["id"], 7 * DAY)
