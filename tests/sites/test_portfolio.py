"""The portfolio: what each reader finds in the list of experiments, and what they are not even told the number of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from small import SMALL, launch, to_ethics, to_setup
from sqlalchemy import insert

from sites import policy, portfolio
from sites.clock import SetClock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.signing import unasked
from sites.tables import Assignment, BrokenGlass

DAY = timedelta(days=1)


@pytest.fixture
def small(registry: None, release: Callable[[str], str]) -> str:
    return release(SMALL)


def listed(ledger: Ledger, person: str, **filters: Any) -> dict[str, Any]:
    now = ledger.clock.now()
    with ledger.database.read() as connection:
        reader = policy.reader(connection, person, now)
    return portfolio.experiments(ledger.database, reader, now, "en", **filters)


def codes(ledger: Ledger, person: str, **filters: Any) -> list[str]:
    return [item["code"] for item in listed(ledger, person, **filters)["items"]]


def only_item(ledger: Ledger, person: str) -> dict[str, Any]:
    (item,) = listed(ledger, person)["items"]
    return dict(item)


def ahead(ledger: Ledger, person: str) -> list[dict[str, Any]]:
    now = ledger.clock.now()
    with ledger.database.read() as connection:
        reader = policy.reader(connection, person, now)
    return portfolio.deadlines(ledger.database, reader, now, "en")


def test_a_manager_sees_every_experiment_the_latest_first(ledger: Ledger, small: str) -> None:
    first, second = launch(ledger), launch(ledger, "SDEN")
    assert codes(ledger, "project_manager") == [second, first]


def test_someone_without_a_role_finds_nothing_and_no_number(ledger: Ledger, small: str) -> None:
    launch(ledger)
    assert listed(ledger, "nobody") == {"items": [], "total": 0, "page": 1, "pages": 1}
    assert ahead(ledger, "nobody") == []


def test_a_coordinator_finds_the_experiments_of_their_site_only(ledger: Ledger, small: str) -> None:
    both, _ = launch(ledger), launch(ledger, "SDEN")
    assert (codes(ledger, "nurse.caen"), listed(ledger, "nurse.caen")["total"]) == ([both], 1)


def test_what_a_coordinator_counts_is_of_their_site_alone(ledger: Ledger, clock: SetClock, small: str) -> None:
    code = launch(ledger)
    mine, theirs = to_setup(ledger, code)
    ledger.complete(mine, {"ready": True}, "nurse.caen")
    clock.advance(6 * DAY)  # the other site is late
    ledger.fire_timers()
    full, limited = only_item(ledger, "project_manager"), only_item(ledger, "nurse.caen")
    assert (full["open"], full["late"], full["active"], full["stuck_on"][0]["site"]) == (1, 1, 2, "METZ")
    assert (limited["open"], limited["late"], limited["active"]) == (0, 0, 1)
    assert (limited["stuck"], limited["stuck_on"], limited["stuck_since"], limited["next_due_at"]) == (0, [], None, None)
    # Through: review, ethics and this site's set-up; the closure is not. For everyone: 3 of 5.
    assert (full["progress"], limited["progress"]) == (0.6, 0.75)
    # Their own part is over and what comes next for them is the closure; that another site still prepares is not told.
    assert (full["phase"], limited["phase"]) == ("preparation", "closure")
    assert codes(ledger, "nurse.caen", only="late") == codes(ledger, "nurse.caen", only="stuck") == []
    assert codes(ledger, "nurse.metz", only="late") == codes(ledger, "project_manager", only="stuck") == [code]
    assert theirs


def test_a_late_gate_is_stuck_since_its_deadline_on_the_holders_of_its_role(ledger: Ledger, clock: SetClock, small: str) -> None:
    launch(ledger)
    clock.advance(11 * DAY)
    item = only_item(ledger, "project_manager")
    assert item["stuck_since"] == item["next_due_at"]
    assert item["stuck_on"] == [
        {
            "role": "methodologist",
            "role_title": "Methodologist",
            "persons": ["methodologist"],
            "step": "review",
            "step_title": "Review",
            "site": "",
            "why": "late",
            "since": item["next_due_at"],
        }
    ]


def test_a_gate_without_a_deadline_is_stuck_once_it_has_waited_two_weeks(ledger: Ledger, clock: SetClock, small: str) -> None:
    to_ethics(ledger, launch(ledger))
    clock.advance(14 * DAY)
    assert only_item(ledger, "project_manager")["stuck"] == 0
    clock.advance(timedelta(seconds=1))
    item = only_item(ledger, "project_manager")
    assert [(one["why"], one["role"], one["persons"]) for one in item["stuck_on"]] == [
        ("waiting", "ethics_officer", ["ethics_officer", "second.officer"])
    ]


def test_an_action_that_failed_is_stuck_on_the_managers(ledger: Ledger, small: str) -> None:
    code = launch(ledger, "CAEN")
    ethics = to_ethics(ledger, code)
    ledger.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    ledger.sign(ethics, "ethics_officer", prove=unasked)
    ledger.sign(ethics, "second.officer", prove=unasked)
    ledger.record_action(f"{code}:setup:CAEN:1", 0, error="no printer")
    assert [(one["why"], one["role"], one["site"]) for one in only_item(ledger, "project_manager")["stuck_on"]] == [
        ("incident", "project_manager", "CAEN")
    ]


def test_a_hold_is_stuck_as_a_whole_and_nobody_grows_late_under_it(ledger: Ledger, clock: SetClock, small: str) -> None:
    code = launch(ledger)
    ledger.hold(code, "project_manager", "audit")
    clock.advance(30 * DAY)
    item = only_item(ledger, "project_manager")
    assert (item["late"], [(one["why"], one["role"], one["step"]) for one in item["stuck_on"]]) == (0, [("hold", "project_manager", "")])
    assert (ahead(ledger, "project_manager"), codes(ledger, "project_manager", only="stuck")) == ([], [code])


def test_a_site_on_hold_is_told_to_those_who_see_it(ledger: Ledger, small: str) -> None:
    code = launch(ledger)
    to_setup(ledger, code)
    ledger.hold(code, "project_manager", "works", site="METZ")
    assert codes(ledger, "project_manager", only="stuck") == codes(ledger, "nurse.metz", only="stuck") == [code]
    assert codes(ledger, "nurse.caen", only="stuck") == []
    assert only_item(ledger, "nurse.caen")["stuck_on"] == []


def test_a_sponsor_sees_what_is_stuck_and_no_name(ledger: Ledger, clock: SetClock, small: str) -> None:
    launch(ledger)
    clock.advance(11 * DAY)
    assert only_item(ledger, "sponsor")["stuck_on"][0]["persons"] == []


def test_breaking_the_glass_of_a_site_shows_that_site_alone(ledger: Ledger, clock: SetClock, small: str) -> None:
    code = launch(ledger)
    to_setup(ledger, code)
    row = {"person": "nobody", "experiment": code, "site": "METZ", "reason": "fire", "at": clock.now(), "until": clock.now() + DAY}
    with ledger.database.write() as connection:
        connection.execute(insert(table(BrokenGlass)).values(row))
    assert (only_item(ledger, "nobody")["open"], only_item(ledger, "project_manager")["open"]) == (1, 2)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"state": "running"}, ["SMALL-2", "SMALL-1"]),
        ({"state": "closed"}, []),
        ({"state": "no such state\x00"}, []),
        ({"protocol": "small"}, ["SMALL-2", "SMALL-1"]),
        ({"protocol": "other"}, []),
        ({"site": "SDEN"}, ["SMALL-2"]),
        ({"site": "METZ"}, ["SMALL-1"]),
        ({"q": "small-2"}, ["SMALL-2"]),
        ({"q": "hips"}, ["SMALL-2"]),
        ({"q": "smal"}, ["SMALL-2", "SMALL-1"]),  # code, and the protocol's title where there is none of its own
        ({"q": "%"}, []),  # what stands for anything in SQL stands for itself
        ({"q": "_"}, []),
        ({"q": "\\"}, []),
        ({"q": "x" * 10_000}, []),
        ({"q": "   "}, ["SMALL-2", "SMALL-1"]),
        ({"only": "late"}, []),
        ({"only": "anything"}, ["SMALL-2", "SMALL-1"]),
        ({"size": 1}, ["SMALL-2"]),
        ({"size": 1, "page": 2}, ["SMALL-1"]),
        ({"size": 1, "page": 3}, []),
    ],
)
def test_filters_narrow_the_list(ledger: Ledger, small: str, filters: dict[str, Any], found: list[str]) -> None:
    launch(ledger)
    launch(ledger, "SDEN", title="Two hips")
    assert codes(ledger, "project_manager", **filters) == found


def test_a_filter_on_a_site_one_does_not_see_finds_nothing(ledger: Ledger, small: str) -> None:
    launch(ledger)
    assert (codes(ledger, "nurse.caen", site="CAEN"), codes(ledger, "nurse.caen", site="METZ")) == (["SMALL-1"], [])


def test_pages_count_what_the_reader_sees(ledger: Ledger, small: str) -> None:
    for sites in (("CAEN",), ("METZ",), ("CAEN", "SDEN")):
        launch(ledger, *sites)
    found = listed(ledger, "nurse.caen", size=1, page=2)
    assert (found["total"], found["pages"], [item["code"] for item in found["items"]]) == (2, 2, ["SMALL-1"])


def test_sites_with_one_deadline_stand_together_and_each_reader_counts_their_own(ledger: Ledger, small: str) -> None:
    to_setup(ledger, launch(ledger))
    (together,), (mine,) = ahead(ledger, "project_manager"), ahead(ledger, "nurse.metz")
    assert (together["step"], together["sites"], together["site"]) == ("setup", 2, "")
    assert (mine["sites"], mine["site"], mine["due_on"], mine["week"]) == (1, "METZ", "2026-03-07", "2026-03-02")


def test_deadlines_end_where_the_days_asked_for_end(ledger: Ledger, database: Database, small: str) -> None:
    launch(ledger)
    now = ledger.clock.now()
    with database.read() as connection:
        reader = policy.reader(connection, "project_manager", now)
    assert [len(portfolio.deadlines(database, reader, now, "en", days)) for days in (9, 11)] == [0, 1]


def test_a_role_held_in_one_experiment_shows_that_one(ledger: Ledger, database: Database, small: str) -> None:
    first, _ = launch(ledger), launch(ledger)
    with database.write() as connection:
        held = {"person": "nobody", "role": "methodologist", "site": "", "experiment": first}
        connection.execute(insert(table(Assignment)).values(held))
    assert codes(ledger, "nobody") == [first]
    assert [one["experiment"] for one in ahead(ledger, "nobody")] == [first]
