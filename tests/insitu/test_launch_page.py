"""The launch page: once, by whom it is for, with nothing typed lost."""

from __future__ import annotations

import re

import pytest
from small import SMALL
from sqlalchemy import select
from visit import Visit, doors_on

from sites import inbox, releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.tables import Experiment

WITH_A_PERSON = SMALL.replace(
    "launch:\n",
    "launch:\n"
    "  - {id: start, type: date, label: {fr: Début, en: Start}}\n"
    "  - {id: expert, type: person, role: methodologist, label: {fr: Expert, en: Expert}}\n",
)


@pytest.fixture
def visit(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Visit:
    releases.add(sqlite_database, WITH_A_PERSON, clock)
    return Visit(doors_on(sqlite_database, clock)).sign_in("project_manager")


def launched(visit: Visit) -> list[dict[str, object]]:
    return inbox.experiments(visit.doors.database, "en")


def fields_of(text: str) -> dict[str, str]:
    """The hidden fields of the form: who it belongs to, the version, the one-time command."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', text))


def test_a_manager_chooses_a_protocol_and_launches_it(visit: Visit) -> None:
    assert 'href="/launch/small"' in visit.get("/launch").text
    form = {"title": "Two hips", "sites": ["METZ", "CAEN"], "f-target": "12", "f-start": "2026-04-01", "f-expert": "methodologist"}
    answer = visit.post("/launch/small", form, of="/launch/small")
    assert (answer.status_code, answer.headers["location"]) == (303, "/experiments/SMALL-1")
    (found,) = launched(visit)
    assert (found["title"], found["active"]) == ("Two hips", 2)
    assert "SMALL-1 was launched" in visit.get("/experiments").text


def test_the_same_form_sent_twice_launches_once(visit: Visit) -> None:
    form = fields_of(visit.get("/launch/small").text) | {"sites": "CAEN", "f-target": "3"}
    first, second = (visit.client.post("/launch/small", data=form) for _ in range(2))
    assert first.headers["location"] == second.headers["location"] == "/experiments/SMALL-1"
    assert len(launched(visit)) == 1


def test_a_form_that_was_used_and_changed_asks_again_and_keeps_what_was_typed(visit: Visit) -> None:
    form = fields_of(visit.get("/launch/small").text) | {"sites": "CAEN", "f-target": "3"}
    visit.client.post("/launch/small", data=form)
    answer = visit.client.post("/launch/small", data=form | {"f-target": "4"})
    assert (answer.status_code, len(launched(visit))) == (409, 1)
    assert 'value="4"' in answer.text
    again = fields_of(answer.text) | {"sites": "CAEN", "f-target": "4"}
    assert visit.client.post("/launch/small", data=again).headers["location"] == "/experiments/SMALL-2"


def test_what_is_wrong_stands_beside_its_field_and_all_that_was_typed_stays(visit: Visit) -> None:
    form = {"title": "Été 🦴 <b>", "f-target": "many", "f-start": "2026-04-01"}
    answer = visit.post("/launch/small", form, of="/launch/small")
    assert answer.status_code == 422
    for said in ('href="#sites"', "Choose at least one site.", "Été 🦴 &lt;b&gt;", 'value="2026-04-01"', 'value="many"'):
        assert said in answer.text, said
    answer = visit.post("/launch/small", form | {"sites": "METZ"}, of="/launch/small")
    assert answer.status_code == 422
    assert 'href="#f-target"' in answer.text
    assert re.search(r'value="METZ" checked', answer.text)
    assert launched(visit) == []


def test_the_leading_site_decides_where_the_experiment_stands(visit: Visit) -> None:
    form = {"sites": ["CAEN", "SDEN"], "lead": "SDEN", "f-target": "1"}
    visit.post("/launch/small", form, of="/launch/small")
    visit.post("/launch/small", {**form, "lead": ""}, of="/launch/small")

    with visit.doors.database.read() as connection:
        zones = list(connection.execute(select(table(Experiment).c.timezone).order_by(table(Experiment).c.id)).scalars())
    assert zones == ["Indian/Reunion", "Europe/Paris"]


def test_a_leading_site_that_does_not_take_part_is_refused(visit: Visit) -> None:
    answer = visit.post("/launch/small", {"sites": "CAEN", "lead": "METZ", "f-target": "1"}, of="/launch/small")
    assert (answer.status_code, "must be among the sites chosen" in answer.text) == (422, True)


def test_roles_that_nobody_holds_are_told_before_the_launch_and_do_not_stop_it(visit: Visit, clock: SetClock) -> None:
    lonely = SMALL.replace("id: small", "id: lonely").replace("sponsor", "auditor").replace("en: Sponsor", "en: Auditor")
    releases.add(visit.doors.database, lonely.replace("principal_investigator", "physiotherapist"), clock)
    text = visit.get("/launch/lonely").text
    assert "<li>Auditor</li>" in text
    assert text.count("Nobody as: Investigator") == 3
    assert visit.post("/launch/lonely", {"sites": "CAEN", "f-target": "1"}, of="/launch/lonely").status_code == 303


def test_a_version_is_launched_as_it_was_chosen(visit: Visit, clock: SetClock) -> None:
    releases.add(visit.doors.database, SMALL.replace("1.0.0", "2.0.0"), clock)
    visit.post("/launch/small", {"sites": "CAEN", "f-target": "1"}, of="/launch/small?version=1.0.0")
    page = visit.get("/launch/small?version=1.0.0").text
    visit.client.post("/launch/small", data=fields_of(page) | {"sites": "CAEN", "f-target": "1"})
    assert {one["version"] for one in launched(visit)} == {"1.0.0", "2.0.0"}


@pytest.mark.parametrize("person", ["methodologist", "nurse.caen", "nobody"])
def test_nobody_else_launches(visit: Visit, person: str) -> None:
    form = fields_of(visit.get("/launch/small").text) | {"sites": "CAEN", "f-target": "1"}
    visit.sign_in(person)
    assert [visit.get(path).status_code for path in ("/launch", "/launch/small")] == [403, 403]
    assert visit.client.post("/launch/small", data=form).status_code == 403
    assert launched(visit) == []


@pytest.mark.parametrize(
    "form",
    [
        {"sites": ["NOWHERE", "../x", "\x00"], "f-target": "1"},
        {"sites": "CAEN", "f-target": "1", "title": "a\x00b"},
        {"sites": "CAEN", "f-target": "1", "lead": "x" * 10_000},
        {"sites": "CAEN", "f-target": "9" * 400},
        {"sites": "CAEN", "f-target": "1", "f-start": "yesterday"},
    ],
)
def test_what_cannot_be_is_refused(visit: Visit, form: dict[str, object]) -> None:
    assert visit.post("/launch/small", form, of="/launch/small").status_code == 422
    assert launched(visit) == []


def test_a_long_title_is_kept_as_it_is(visit: Visit) -> None:
    title = "é" * 10_000
    visit.post("/launch/small", {"sites": "CAEN", "f-target": "1", "title": title, "command": "x" * 500}, of="/launch/small")
    assert launched(visit)[0]["title"] == title


@pytest.mark.parametrize("path", ["/launch/none", "/launch/small?version=9.9.9"])
def test_a_protocol_that_is_not_there_is_not_found(visit: Visit, path: str) -> None:
    assert visit.get(path).status_code == 404
