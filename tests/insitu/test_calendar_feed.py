"""The calendar feed: read back as a calendar reads it, and nobody's but the person's."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pytest
from icalendar import Calendar
from small import SMALL, launch, to_setup
from sqlalchemy import insert
from visit import Visit, doors_on

from sites import releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.access import entries
from sites.ledger import Ledger
from sites.tables import Account

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def ledger(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Ledger:
    releases.add(sqlite_database, SMALL.replace("due: {days: 5}", "due: {days: 5, calendar: legal}"), clock)
    return Ledger(sqlite_database, clock)


@pytest.fixture
def visit(ledger: Ledger, clock: SetClock) -> Visit:
    return Visit(doors_on(ledger.database, clock, public_url="https://insitu.example.org"))


def address(visit: Visit, person: str) -> str:
    """Create the person's address by their page; its path."""
    visit.sign_in(person)
    answer = visit.post("/account/calendar", of="/account/calendar")
    assert answer.headers["location"] == "/account/calendar?shown=1"
    return shown(visit)


def shown(visit: Visit) -> str:
    found = re.search(r'value="https://insitu\.example\.org(/calendar/[^"]+\.ics)"', visit.get("/account/calendar?shown=1").text)
    assert found
    return found[1]


def nobody_s(visit: Visit) -> Visit:
    """A calendar program: it carries no session."""
    visit.client.cookies.clear()
    return visit


def test_addresses_tried_out_are_held_back(visit: Visit) -> None:
    answers = [visit.get("/calendar/forged.ics").status_code for _ in range(52)]
    assert answers == [404] * 50 + [429] * 2
    assert len(entries(visit.doors.database, kind="RequestRefused")) == 50


def test_a_feed_without_a_deadline_is_still_a_calendar(visit: Visit, ledger: Ledger) -> None:
    found = Calendar.from_ical(nobody_s(visit).get(address(visit, "nobody")).content)
    assert [one.name for one in found.subcomponents] == ["VTIMEZONE"]


def test_a_feed_is_a_calendar_of_whole_days_with_code_step_and_site(visit: Visit, ledger: Ledger) -> None:
    code = launch(ledger)
    to_setup(ledger, code)
    answer = nobody_s(visit).get(address(visit, "nurse.caen"))
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert answer.headers["cache-control"] == "private, no-cache"
    (event,) = Calendar.from_ical(answer.text).walk("VEVENT")
    assert event["summary"] == f"{code} – Set-up – CAEN"
    assert event["uid"] == f"{code}:setup:CAEN:1@insitu.example.org"
    assert event.decoded("dtstart") == date(2026, 3, 9)  # the seventh is a Saturday
    assert event.decoded("dtstamp") == MONDAY
    assert event["url"] == f"https://insitu.example.org/checkpoints/{code}:setup:CAEN:1"
    assert event["description"] == "legal deadline"
    assert not event.walk("VALARM")


def test_a_feed_names_nobody_and_no_other_site(visit: Visit, ledger: Ledger) -> None:
    to_setup(ledger, launch(ledger, title="Mme Dupont"))
    text = nobody_s(visit).get(address(visit, "nurse.caen")).text
    assert not [word for word in ("METZ", "nurse", "Dupont", "methodologist") if word in text]


def test_a_manager_s_feed_holds_all_they_manage(visit: Visit, ledger: Ledger) -> None:
    to_setup(ledger, launch(ledger))
    launch(ledger)
    text = nobody_s(visit).get(address(visit, "project_manager")).text
    assert [str(event["summary"]) for event in Calendar.from_ical(text).walk("VEVENT")] == [
        "SMALL-1 – Set-up – CAEN, METZ",
        "SMALL-2 – Review",
    ]


def test_a_feed_that_did_not_change_is_not_sent_again(visit: Visit, ledger: Ledger) -> None:
    code = launch(ledger)
    path = address(visit, "methodologist")
    mark = nobody_s(visit).get(path).headers["etag"]
    again = visit.get(path, headers={"if-none-match": mark})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", mark)
    ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    assert visit.get(path, headers={"if-none-match": mark}).status_code == 200


def test_an_address_that_was_replaced_or_stopped_shows_nothing_and_that_is_journaled(visit: Visit, ledger: Ledger) -> None:
    launch(ledger)
    first = address(visit, "methodologist")
    second = address(visit, "methodologist")
    assert (visit.get(first).status_code, visit.get(second).status_code) == (404, 200)
    visit.post("/account/calendar/revoke", of="/account/calendar")
    assert visit.get(second).status_code == 404
    assert [one["data"]["why"] for one in entries(ledger.database, kind="RequestRefused")] == ["revoked", "revoked"]
    assert 'action="/account/calendar/revoke"' not in visit.get("/account/calendar").text


@pytest.mark.parametrize("token", ["x", "é", "a.b.c", "x" * 5000])
def test_a_forged_address_shows_nothing(visit: Visit, token: str) -> None:
    assert visit.get(f"/calendar/{token}.ics").status_code == 404


def test_the_address_of_a_closed_account_shows_nothing(visit: Visit, ledger: Ledger, clock: SetClock) -> None:
    launch(ledger)
    path = address(visit, "methodologist")
    now = clock.now()
    with ledger.database.write() as connection:
        connection.execute(insert(table(Account)).values(person="methodologist", created_at=now, disabled_at=now, recovery=[]))
    assert visit.get(path).status_code == 404


def test_the_address_is_shown_when_asked_for_and_another_person_has_their_own(visit: Visit) -> None:
    mine = address(visit, "methodologist")
    assert mine not in visit.get("/account/calendar").text
    assert shown(visit) == mine
    assert mine not in visit.sign_in("sponsor").get("/account/calendar?shown=1").text
