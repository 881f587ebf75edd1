"""What holds for every page: headers, language, errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from visit import Visit, doors_on

from insitu.entrance.guard import FIELD, HEADERS
from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import entries


@pytest.fixture
def visit(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Visit:
    return Visit(doors_on(sqlite_database, clock))


def test_every_answer_carries_the_headers_that_keep_others_out(visit: Visit) -> None:
    for path in ("/accessibility", "/nowhere", "/static/insitu.css", "/api/v1/health"):
        answer = visit.get(path)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_a_page_that_is_not_there_says_so_in_the_browsers_language(sqlite_database: Database, clock: SetClock) -> None:
    visit = Visit(doors_on(sqlite_database, clock), locale="fr")
    answer = visit.get("/nowhere")
    assert answer.status_code == 404
    assert '<html lang="fr">' in answer.text
    assert "Retour au début" in answer.text


def test_a_signed_in_person_is_named_on_the_page(visit: Visit) -> None:
    assert "methodologist" in visit.sign_in("methodologist").get("/accessibility").text


def test_a_form_from_nowhere_is_refused_and_journaled(visit: Visit) -> None:
    answer = visit.client.post("/language", data={"language": "fr"})
    assert answer.status_code == 403
    assert [one["kind"] for one in entries(visit.doors.database)] == ["RequestRefused"]


def test_bad_forms_from_nowhere_fill_no_disk(visit: Visit) -> None:
    answers = {visit.client.post("/language", data={"language": "fr"}).status_code for _ in range(80)}
    assert answers == {403}
    assert len(entries(visit.doors.database)) == 50


def test_a_page_that_refuses_says_so_first_in_its_title(visit: Visit) -> None:
    assert "<title>There is nothing here for you – insitu</title>" in visit.get("/nowhere").text
    answer = visit.sign_in("methodologist").post("/account/tokens/new", {"name": ""}, of="/account/tokens/new")
    assert (answer.status_code, "<title>Refused: Create a token – insitu</title>" in answer.text) == (422, True)


def test_what_was_done_takes_the_focus_so_that_it_is_read_out(visit: Visit) -> None:
    visit.sign_in("methodologist").post("/account/calendar", of="/account/calendar")
    assert re.search(r'<p class="flash" role="status" tabindex="-1" data-focus autofocus>[^<]+</p>', visit.get("/account/calendar").text)


def test_a_language_is_kept_by_the_browser_that_chose_it(visit: Visit) -> None:
    answer = visit.post("/language", {"language": "fr", "to": "/accessibility"}, of="/accessibility")
    assert (answer.status_code, answer.headers["location"]) == (303, "/accessibility")
    assert '<html lang="fr">' in visit.get("/accessibility").text


def test_an_address_with_a_null_character_leads_nowhere(visit: Visit) -> None:
    visit.sign_in("project_manager")
    assert visit.get("/experiments/a%00b").status_code == 404
    assert "\x00" not in visit.get("/experiments?q=a%00b").text


def test_a_form_left_open_is_still_ones_own_after_signing_in_again(visit: Visit) -> None:
    token = visit.sign_in("methodologist").token("/account")
    visit.sign_in("methodologist")
    assert visit.client.post("/sign-out", data={FIELD: token}).status_code == 303


def test_a_form_of_someone_elses_session_is_not_ones_own(visit: Visit) -> None:
    token = visit.sign_in("methodologist").token("/account")
    visit.sign_in("sponsor")
    assert visit.client.post("/sign-out", data={FIELD: token}).status_code == 403


def test_a_body_longer_than_any_form_is_not_read_to_its_end(visit: Visit) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        yield from (bytes(1024 * 1024) for _ in range(200))

    answer = visit.client.post("/language", content=endless(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413
