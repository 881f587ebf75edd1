"""An outage of the database holds a march up, and is nobody's incident while it heals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small import SMALL, launch
from town import settle

from flows.outages import through_outages
from protocols.errors import DatabaseUnavailable, InvalidInput
from sites import inbox, releases
from sites.clock import SetClock
from sites.database import Database
from sites.ledger import Ledger
from sites.policy import EVERYTHING


@pytest.fixture
def ledger(postgresql_database: Database, clock: SetClock) -> Ledger:
    settle(postgresql_database)
    releases.add(postgresql_database, SMALL, clock)
    return Ledger(postgresql_database, clock)


def doors_of_the_server(request: pytest.FixtureRequest, database: Database) -> Callable[[bool], None]:
    """Opens and shuts the database for everybody, cutting off whoever is in."""
    postgres, name = request.getfixturevalue("postgres"), database._address.database

    def turn(is_open: bool) -> None:
        postgres._do(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {str(is_open).lower()}")
        if not is_open:
            postgres._do(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    return turn


def test_a_march_goes_on_after_an_outage_and_no_incident_is_left(request: pytest.FixtureRequest, ledger: Ledger) -> None:
    code = launch(ledger)
    turn, waited = doors_of_the_server(request, ledger.database), list[float]()

    def wait(pause_s: float) -> None:
        waited.append(pause_s)
        if len(waited) == 3:
            turn(True)

    turn(False)
    done = through_outages(lambda: ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist"), wait)
    assert (done["gate"], len(waited) >= 3) == ("passed", True)
    assert inbox.status(ledger.database, code, ledger.clock.now(), access=EVERYTHING)["incidents"] == []


def test_an_outage_that_does_not_end_is_raised(ledger: Ledger, request: pytest.FixtureRequest) -> None:
    turn = doors_of_the_server(request, ledger.database)
    turn(False)
    with pytest.raises(DatabaseUnavailable):
        through_outages(ledger.fire_timers, lambda _: None, longest_s=3)
    turn(True)


def test_what_is_no_outage_is_raised_at_once() -> None:
    def wrong() -> None:
        raise InvalidInput("wrong")

    with pytest.raises(InvalidInput):
        through_outages(wrong, lambda _: pytest.fail("it waited"))
