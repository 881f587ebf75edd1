"""The list of experiments as pages and as a file: filters in the address, nothing of what one does not see."""

from __future__ import annotations

from datetime import timedelta

import pytest
from small import SMALL, launch, to_setup
from visit import Visit, doors_on

from sites import releases
from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import entries
from sites.ledger import Ledger


@pytest.fixture
def ledger(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Ledger:
    releases.add(sqlite_database, SMALL, clock)
    return Ledger(sqlite_database, clock)


@pytest.fixture
def visit(ledger: Ledger, clock: SetClock) -> Visit:
    return Visit(doors_on(ledger.database, clock))


def test_a_manager_finds_what_is_stuck_since_when_and_on_whom(visit: Visit, ledger: Ledger, clock: SetClock) -> None:
    to_setup(ledger, launch(ledger))
    clock.advance(timedelta(days=6))
    text = visit.sign_in("project_manager").get("/experiments").text
    assert "2 late" in text
    assert "since 7 Mar 2026" in text
    assert "Coordinator: nurse.caen" in text
    assert 'href="/launch"' in text


def test_a_coordinator_is_not_told_of_another_site(visit: Visit, ledger: Ledger, clock: SetClock) -> None:
    to_setup(ledger, launch(ledger))
    launch(ledger, "SDEN")
    clock.advance(timedelta(days=6))
    visit.sign_in("nurse.caen")
    for path in ("/experiments", "/deadlines", "/experiments.csv", "/experiments?site=METZ", "/experiments?only=late"):
        text = visit.get(path).text
        assert not [
            word for word in ("METZ", "SDEN", "SMALL-2", "nurse.metz", "2 late", "/launch") if word in text.replace("?site=METZ", "")
        ]


def test_filters_stay_in_the_address_from_page_to_page(visit: Visit, ledger: Ledger) -> None:
    for _ in range(26):
        launch(ledger, "CAEN")
    text = visit.sign_in("project_manager").get("/experiments?state=running&site=CAEN").text
    assert 'href="/experiments?state=running&amp;site=CAEN&amp;page=2"' in text
    assert '<option value="CAEN" selected>' in text
    second = visit.get("/experiments?state=running&site=CAEN&page=2").text
    assert "SMALL-1<" in second.replace(" ·", "<")
    assert 'href="/experiments?state=running&amp;site=CAEN"' in second


@pytest.mark.parametrize("number", ["0", "-1", "x", "²", "99999999999999999999", ""])
def test_a_page_that_cannot_be_is_the_first(visit: Visit, ledger: Ledger, number: str) -> None:
    launch(ledger)
    assert "SMALL-1" in visit.sign_in("project_manager").get("/experiments", params={"page": number}).text


def test_what_is_looked_for_is_shown_as_it_was_typed(visit: Visit) -> None:
    typed = '"><script>alert(1)</script> ‮'
    answer = visit.sign_in("project_manager").get("/experiments", params={"q": typed})
    assert (answer.status_code, "<script>alert" in answer.text) == (200, False)
    assert "No experiment fits" in answer.text


def test_the_file_runs_no_formula_and_that_it_left_is_journaled(visit: Visit, ledger: Ledger) -> None:
    launch(ledger, title='=HYPERLINK("http://evil.test")')
    answer = visit.sign_in("project_manager").get("/experiments.csv?q=hyper")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "'=HYPERLINK" in answer.text
    (entry,) = entries(visit.doors.database, kind="Exported")
    assert (entry["person"], entry["data"]) == ("project_manager", {"what": "experiments", "rows": 1, "q": "hyper"})


def test_deadlines_are_told_by_week_and_the_law_s_are_marked(visit: Visit, ledger: Ledger, clock: SetClock) -> None:
    releases.add(ledger.database, SMALL.replace("version: 1.0.0", "version: 1.1.0").replace("due: {days: 10}", LEGAL), clock)
    launch(ledger)
    text = visit.sign_in("methodologist").get("/deadlines").text
    assert "Week of Monday 9 March 2026" in text
    assert "legal deadline" in text


LEGAL = "due: {days: 10, calendar: legal}"


def test_nobody_looks_without_signing_in(visit: Visit) -> None:
    for path in ("/experiments", "/deadlines", "/experiments.csv"):
        assert visit.get(path).headers["location"].startswith("/sign-in")
