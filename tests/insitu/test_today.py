"""Today's page: what is late, due and blocked, for oneself and those one deputises for."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import event
from visit import Visit, doors_on
from ward import WARD, launched, reviewed, text_of

from insitu.entrance.doors import Doors
from sites import releases
from sites.clock import SetClock
from sites.database import Database
from sites.deputies import name_deputy
from sites.signing import unasked


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Doors:
    return doors_on(sqlite_database, clock)


def page_of(doors: Doors, person: str, locale: str = "en") -> str:
    answer = Visit(doors, locale=locale).sign_in(person).get("/today")
    assert answer.status_code == 200
    return answer.text


def main_of(page: str) -> str:
    return text_of(page.partition("<main")[2].partition("</main>")[0])


def test_nobody_signed_in_is_led_to_the_sign_in(doors: Doors) -> None:
    answer = Visit(doors).get("/today")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?to=%2Ftoday")


def test_whoever_has_nothing_to_do_is_told_so_kindly(doors: Doors) -> None:
    page = page_of(doors, "nurse.caen")
    assert "Nothing waits for you today." in main_of(page)
    assert "<title>Nothing to do – Today – insitu</title>" in page


def test_what_is_due_leads_to_its_checkpoint(doors: Doors) -> None:
    code = reviewed(doors)
    page = page_of(doors, "nurse.caen")
    assert f'<a href="/checkpoints/{code}:visit:CAEN:1">Visit</a>' in page
    assert "METZ" not in page
    said = main_of(page)
    for words in ("1 thing to do", "Site of CAEN", "Ward trial", "to fill in", "Due on Thursday 5 March 2026"):
        assert words in said
    assert "<title>1 to do – Today – insitu</title>" in page


def test_what_is_late_comes_first_and_says_since_when(doors: Doors, clock: SetClock) -> None:
    reviewed(doors)
    clock.advance(timedelta(days=5))
    doors.ledger.complete(f"{launched(doors)}:review::1", {"sound": True}, "methodologist")
    said = main_of(page_of(doors, "nurse.caen"))
    assert "2 things to do, 1 late" in said
    assert said.index("Was due on Thursday 5 March 2026") < said.index("Due on Tuesday 10 March 2026")


def test_a_hold_is_told_with_who_and_since_when(doors: Doors) -> None:
    code = reviewed(doors)
    doors.ledger.hold(code, "project_manager", "no more batteries", site="CAEN")
    page = page_of(doors, "nurse.caen")
    assert "On hold since 2 Mar 2026, 10:00 (Paris), by project_manager – no more batteries." in main_of(page)
    assert 'data-state="blocked"' in page
    assert "Nothing to do" in page


def test_a_reason_given_for_all_sites_is_not_told_to_one(doors: Doors) -> None:
    doors.ledger.hold(reviewed(doors), "project_manager", "an accident at METZ")
    said = main_of(page_of(doors, "nurse.caen"))
    assert "On hold since" in said
    assert "METZ" not in said


def test_what_someone_lacks_is_named_with_who_can_sign_it(doors: Doors) -> None:
    strict = WARD.replace("site_coordinator: {scope: site,", "site_coordinator: {scope: site, requires: [delegation, training],")
    releases.add(doors.database, strict.replace("version: 1.0.0", "version: 1.0.1"), doors.clock, "ward.yaml")
    code = doors.ledger.launch("ward", ["CAEN"], {}, "project_manager")["code"]
    doors.ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    said = main_of(page_of(doors, "nurse.caen"))
    assert "You lack: a signed delegation and a signed training on this protocol." in said
    assert "It can be signed by: principal_investigator." in said
    page = text_of(Visit(doors).sign_in("nurse.caen").get(f"/checkpoints/{code}:visit:CAEN:1").text)
    assert "Until then you may prepare the answers" in page
    assert "Save draft" in page


def test_a_deputys_tasks_stand_under_the_name_of_whom_they_are_for(doors: Doors, clock: SetClock) -> None:
    reviewed(doors)
    today = clock.now().date()
    name_deputy(doors.database, clock, "nurse.metz", "nurse.caen", today, today + timedelta(days=7), by="project_manager")
    page = page_of(doors, "nurse.caen")
    said = main_of(page)
    assert "2 things to do" in said
    assert said.index("Site of CAEN") < said.index("For nurse.metz, whom you deputise for") < said.index("Site of METZ")
    assert date.fromisoformat(today.isoformat()) == today


def test_what_waits_for_others_is_told_briefly(doors: Doors) -> None:
    code = reviewed(doors)
    doors.ledger.complete(f"{code}:visit:CAEN:1", {"weight": 70}, "nurse.caen")
    doors.ledger.sign(f"{code}:visit:CAEN:1", "nurse.caen", prove=unasked)
    said = main_of(page_of(doors, "nurse.caen"))
    assert "Waiting for others Visit – Site of CAEN" in said
    assert "it waits for the signature of: Investigator" in said
    assert "Waiting for others" not in main_of(page_of(doors, "nurse.metz"))


def test_a_decline_is_told_to_those_who_may_still_answer(doors: Doors) -> None:
    code = reviewed(doors)
    doors.ledger.decline(f"{code}:visit:CAEN:1", "nurse.caen", "I am on leave.")
    assert "Someone declined this in the present round." in main_of(page_of(doors, "site_coordinator"))


def test_the_page_costs_as_many_statements_for_many_tasks_as_for_one(doors: Doors) -> None:
    counts = []
    visit = Visit(doors).sign_in("site_coordinator")
    for _ in range(3):
        reviewed(doors)
        statements: list[str] = []
        listen = lambda *arguments, said=statements: said.append(arguments[2])  # noqa: E731
        event.listen(doors.database.engine, "before_cursor_execute", listen)
        visit.get("/today")
        event.remove(doors.database.engine, "before_cursor_execute", listen)
        counts.append(len([one for one in statements if one.lstrip().startswith("SELECT")]))
    assert counts[0] == counts[-1] <= 10
