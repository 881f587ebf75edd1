"""Health says "ok" when everything that should be done is done, and otherwise which part is not well."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from caller import Caller
from small import SMALL
from visit import doors_on

from insitu.entrance.doors import Doors
from insitu.supervision import State
from sites import releases
from sites.clock import SetClock
from sites.database import Database

LAUNCH = {"protocol": "small", "sites": ["CAEN", "METZ"], "launch": {"target": 10}}


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Doors:
    releases.add(sqlite_database, SMALL, clock)
    return doors_on(sqlite_database, clock)


@pytest.fixture
def manager(doors: Doors) -> Caller:
    return Caller(doors, "project_manager")


@pytest.fixture
def code(manager: Caller) -> str:
    return str(manager.ok(manager.post("/experiments", LAUNCH))["code"])


def health(doors: Doors) -> dict[str, Any]:
    anyone = Caller(doors)
    return dict(anyone.ok(anyone.get("/health")))


def unwell(found: dict[str, Any]) -> dict[str, str]:
    return {name: part["state"] for name, part in found["parts"].items() if part["state"] != "ok"}


def test_where_nothing_is_owed_all_is_well(doors: Doors) -> None:
    found = health(doors)
    assert (found["status"], unwell(found)) == ("ok", {})
    assert {"database", "deadlines", "messages", "actions", "picture"} == found["parts"].keys()


@pytest.mark.parametrize("state", [State.AWAY, State.FAILING, State.RESTARTING, State.ABSENT])
def test_a_part_that_is_not_well_is_named_with_since_when(doors: Doors, state: State) -> None:
    doors.parts.say("dispatcher", State.OK)
    doors.parts.say("worker", state)
    found = health(doors)
    assert (found["status"], unwell(found)) == ("degraded", {"worker": state.value})
    assert found["parts"]["worker"]["since"].endswith("Z")


def test_what_is_only_starting_is_said_to(doors: Doors) -> None:
    doors.parts.say("dispatcher", State.OK)
    doors.parts.say("prefect", State.STARTING)
    assert health(doors)["status"] == "starting"
    doors.parts.say("dispatcher", State.RESTARTING)
    assert health(doors)["status"] == "degraded"


def test_deadlines_and_messages_that_nobody_deals_with_are_said(manager: Caller, code: str) -> None:
    clock: SetClock = manager.doors.clock  # type: ignore[assignment]
    assert health(manager.doors)["status"] == "ok"
    clock.advance(timedelta(days=20))
    found = health(manager.doors)
    assert (found["status"], unwell(found)) == ("degraded", {"deadlines": "behind", "messages": "behind"})
    while manager.doors.ledger.fire_timers():
        pass
    assert "deadlines" not in unwell(health(manager.doors))


def test_a_hold_stops_the_deadlines_and_nobody_is_behind(manager: Caller, code: str) -> None:
    clock: SetClock = manager.doors.clock  # type: ignore[assignment]
    manager.ok(manager.post(f"/experiments/{code}/hold", {"reason": "A recall"}))
    clock.advance(timedelta(days=20))
    assert "deadlines" not in unwell(health(manager.doors))
    assert "insitu_dispatcher_timer_age_seconds 0" in manager.get("/metrics").text
