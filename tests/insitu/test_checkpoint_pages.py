"""A checkpoint's page: filled in, kept, completed, signed; by whoever may, and nothing typed is lost."""

from __future__ import annotations

import re
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update
from visit import Visit, doors_on
from ward import launched, reviewed, send, text_of

from insitu.entrance.doors import Doors
from insitu.entrance.visitor import COOKIE
from protocols.errors import InvalidAnswers
from sites import inbox
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.accounts import change_password, create_account
from sites.identity.sessions import end_sessions
from sites.policy import EVERYTHING
from sites.signing import unasked
from sites.tables import Account, Assignment, Conflict, Person

PASSWORD = "a long phrase that nobody knows"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n%%EOF\n"
HOSTILE = ["<script>alert(1)</script>", "=HYPERLINK(1)", "\u202eمرحبا 🏥", "x" * 10_000, "\"'&{{7*7}}"]


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Doors:
    return doors_on(sqlite_database, clock)


def at_visit(doors: Doors) -> str:
    return f"{reviewed(doors)}:visit:CAEN:1"


def nurse(doors: Doors, person: str = "nurse.caen", locale: str = "en") -> Visit:
    return Visit(doors, locale=locale).sign_in(person)


def with_password(doors: Doors, person: str) -> None:
    with doors.database.write() as connection:
        create_account(connection, person, PASSWORD, doors.clock.now(), by=person)


def as_seen(doors: Doors, checkpoint: str, person: str = "nurse.caen") -> dict[str, Any]:
    return inbox.checkpoint(doors.database, checkpoint, doors.clock.now(), person=person, locale="en", access=EVERYTHING)


# ------------------------------------------------------------------ filling in


def test_a_nurse_completes_and_is_led_to_her_signature(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    answer = send(nurse(doors), checkpoint, "complete", {"weight": "72,5", "kinds": ["chair", "bed"], "nurse": "nurse.caen"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/checkpoints/{checkpoint}#signing")
    assert as_seen(doors, checkpoint)["answers"] == {"weight": 72.5, "kinds": ["chair", "bed"], "nurse": "nurse.caen"}


def test_the_page_says_what_is_asked_and_until_when(doors: Doors) -> None:
    page = text_of(nurse(doors).get(f"/checkpoints/{at_visit(doors)}").text)
    for said in (
        "Visit",
        "Site of CAEN",
        "Fill in after the visit.",
        "Due on Thursday 5 March 2026",
        "Between 0 and 500 kg",
        "Weight (required)",
    ):
        assert said in page


def test_refused_answers_are_shown_as_typed_with_a_summary_and_kept(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    visit = nurse(doors)
    answer = send(visit, checkpoint, "complete", {"weight": "heavy", "notes": "<b>typed</b>", "at": "2026-03-02T08:30"})
    assert answer.status_code == 422
    assert 'href="#f-weight"' in answer.text
    assert 'value="heavy"' in answer.text
    assert "&lt;b&gt;typed&lt;/b&gt;" in answer.text
    assert as_seen(doors, checkpoint)["draft"]["answers"] == {"weight": "heavy", "notes": "<b>typed</b>", "at": "2026-03-02T08:30:00+01:00"}
    assert 'value="heavy"' in visit.get(f"/checkpoints/{checkpoint}").text


def test_messages_are_in_french_for_whoever_reads_french(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    with doors.database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == "nurse.caen").values(locale="fr"))
    page = text_of(send(nurse(doors), checkpoint, "complete", {"weight": "501"}).text)
    assert "Poids : doit valoir au plus 500 kg, pas 501" in page
    assert "Terminer" in page


def test_a_draft_is_saved_restored_and_says_when(doors: Doors, clock: SetClock) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    answer = send(visit, checkpoint, "draft", {"notes": "half a"})
    assert answer.status_code == 303
    page = text_of(visit.get(f"/checkpoints/{checkpoint}").text)
    assert "Draft saved at 10:00" in page
    assert "Your draft of 2 Mar 2026, 10:00 (Paris) is back in the form." in page
    assert "half a" in page


def test_the_pages_own_script_saves_a_draft_and_is_told_when(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    answer = send(nurse(doors), checkpoint, "draft", {"notes": "half a"}, headers={"x-part": "draft"})
    assert answer.json() == {"saved": "Draft saved at 10:00"}


def test_fields_that_apply_are_shown_by_a_button_and_hidden_ones_kept(doors: Doors) -> None:
    code = launched(doors)
    visit, checkpoint = nurse(doors, "methodologist"), f"{code}:review::1"
    assert 'name="f-why"' not in visit.get(f"/checkpoints/{checkpoint}").text
    shown = send(visit, checkpoint, "fields", {"sound": "false", "act": "show"}).text
    assert 'name="f-why"' in shown
    hidden = send(visit, checkpoint, "fields", {"sound": "true", "why": "a page is missing", "act": "show"}).text
    assert 'name="f-why"' not in hidden
    assert "a page is missing" in hidden
    part = send(visit, checkpoint, "fields", {"sound": "false"}, headers={"x-part": "fields"})
    assert "<html" not in part.text
    assert 'name="f-why"' in part.text
    assert "saved" in part.headers["x-saved"]


def test_rows_are_added_and_removed_by_buttons(doors: Doors) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    page = send(visit, checkpoint, "fields", {"scores.0.who": "A-01", "scores.0.score": "80", "act": "add:scores"}).text
    assert 'name="f-scores.1.who"' in page
    values = {"scores.0.who": "A-01", "scores.1.who": "A-02", "act": "remove:scores.0"}
    page = send(visit, checkpoint, "fields", values).text
    assert 'value="A-02"' in page
    assert 'value="A-01"' not in page


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_stored_exactly_and_shown_safely(doors: Doors, text: str) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    values = {"weight": "1", "notes": text, "scores.0.who": text}
    assert send(visit, checkpoint, "complete", values).status_code == 303
    assert as_seen(doors, checkpoint)["answers"]["notes"] == text
    assert as_seen(doors, checkpoint)["answers"]["scores"] == [{"who": text}]
    page = visit.get(f"/checkpoints/{checkpoint}").text
    assert "<script>alert" not in page
    assert text in text_of(page) or "<" in text


def test_a_null_character_is_refused_and_the_rest_kept(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    answer = send(nurse(doors), checkpoint, "complete", {"weight": "1", "notes": "a\x00b"})
    assert answer.status_code == 422
    assert "null character" in answer.text


def test_a_person_must_be_one_of_those_to_choose_among(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    assert "nurse.metz" not in nurse(doors).get(f"/checkpoints/{checkpoint}").text
    answer = send(nurse(doors), checkpoint, "complete", {"weight": "1", "nurse": "nurse.metz"})
    assert answer.status_code == 422
    assert "choose someone from the list" in answer.text


def test_whoever_comes_second_is_told_who_was_first_and_loses_nothing(doors: Doors) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    token = visit.token(f"/checkpoints/{checkpoint}")
    doors.ledger.complete(checkpoint, {"weight": 70}, "site_coordinator")
    answer = visit.client.post(f"/checkpoints/{checkpoint}/complete", data={"csrf": token, "f-weight": "71", "f-notes": "mine"})
    assert answer.status_code == 409
    page = text_of(answer.text)
    assert "site_coordinator was first and completed this checkpoint on 2 Mar 2026, 10:00 (Paris)" in page
    assert "mine" in page
    assert as_seen(doors, checkpoint)["draft"]["answers"]["notes"] == "mine"
    assert "mine" in text_of(visit.get(f"/checkpoints/{checkpoint}").text)


def test_a_form_sent_twice_is_completed_once(doors: Doors) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    token = visit.token(f"/checkpoints/{checkpoint}")
    form = {"csrf": token, "f-weight": "71", "command": "abc"}
    answers = [visit.client.post(f"/checkpoints/{checkpoint}/complete", data=form) for _ in range(2)]
    assert [one.status_code for one in answers] == [303, 303]


def test_what_was_typed_in_prefect_is_offered_to_be_checked(doors: Doors) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    doors.ledger.save_draft_of_prefect(checkpoint, {"weight": 66, "notes": "from there"})
    page = visit.get(f"/checkpoints/{checkpoint}").text
    assert "Typed in Prefect on 2 Mar 2026" in text_of(page)
    assert 'value="66"' in page
    send(visit, checkpoint, "draft", {"weight": "70"})
    assert "Something was also typed in Prefect" in text_of(visit.get(f"/checkpoints/{checkpoint}").text)
    page = send(visit, checkpoint, "fields", {"weight": "70", "act": "use:prefect"}).text
    assert 'value="70"' in page
    assert "from there" in page


def test_answers_of_an_earlier_round_fill_the_blanks(doors: Doors) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    doors.ledger.complete(checkpoint, {"weight": 70, "notes": "first round"}, "nurse.caen")
    doors.ledger.sign(checkpoint, "nurse.caen", prove=unasked)
    doors.ledger.sign(checkpoint, "principal_investigator", prove=unasked)
    answer = send(visit, checkpoint, "reopen", {"reason": "the wrong patient"})
    second = checkpoint[:-1] + "2"
    assert answer.headers["location"] == f"/checkpoints/{second}"
    page = visit.get(f"/checkpoints/{second}").text
    assert "first round" in text_of(page)
    assert "Use the answers of round 1" in page
    page = send(visit, second, "fields", {"weight": "71", "act": "use:1"}).text
    assert 'value="71"' in page
    assert re.search(r"<textarea[^>]*>\s*first round", page)


# ------------------------------------------------------------------ a session that ended


@pytest.mark.parametrize("part", ["complete", "draft", "fields"])
def test_a_session_lost_in_the_middle_of_a_form_loses_nothing(doors: Doors, clock: SetClock, part: str) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    token = visit.token(f"/checkpoints/{checkpoint}")
    clock.advance(timedelta(hours=1))
    answer = visit.client.post(f"/checkpoints/{checkpoint}/{part}", data={"csrf": token, "f-weight": "71", "f-notes": "long work"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?to=%2Fcheckpoints%2F")
    assert as_seen(doors, checkpoint)["answers"] is None
    page = text_of(nurse(doors).get(f"/checkpoints/{checkpoint}").text)
    assert "long work" in page
    assert "is back in the form" in page


def test_the_pages_own_script_is_told_that_the_session_ended(doors: Doors, clock: SetClock) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    token = visit.token(f"/checkpoints/{checkpoint}")
    clock.advance(timedelta(hours=1))
    data = {"csrf": token, "f-notes": "long work"}
    answer = visit.client.post(f"/checkpoints/{checkpoint}/draft", data=data, headers={"x-part": "draft"})
    assert answer.status_code == 401
    assert set(answer.json()) == {"saved", "to"}
    assert as_seen(doors, checkpoint)["draft"]["answers"] == {"notes": "long work"}


def test_a_lapsed_session_sees_nothing_and_cannot_write_where_it_may_not(doors: Doors, clock: SetClock) -> None:
    checkpoint, stranger = at_visit(doors), nurse(doors, "nurse.metz")
    token = stranger.token("/accessibility")
    clock.advance(timedelta(hours=1))
    answer = stranger.client.post(f"/checkpoints/{checkpoint}/draft", data={"csrf": token, "f-notes": "mine"})
    assert answer.status_code == 303
    assert as_seen(doors, checkpoint, "nurse.metz")["draft"] is None
    assert stranger.get(f"/checkpoints/{checkpoint}").headers["location"].startswith("/sign-in")
    gone = stranger.client.post("/checkpoints/NO-1:visit:CAEN:1/draft", data={"csrf": token, "f-notes": "mine"})
    assert gone.status_code == 303


def test_a_closed_account_leaves_no_draft(doors: Doors, clock: SetClock) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    with_password(doors, "nurse.caen")
    token = visit.token(f"/checkpoints/{checkpoint}")
    with doors.database.write() as connection:
        connection.execute(update(table(Account)).values(disabled_at=clock.now()))
    answer = visit.client.post(f"/checkpoints/{checkpoint}/draft", data={"csrf": token, "f-notes": "mine"})
    assert answer.status_code == 401
    assert as_seen(doors, checkpoint)["draft"] is None


@pytest.mark.parametrize("how", ["signed out", "by a manager", "replaced", "password changed", "signed out, then idle"])
def test_after_a_session_was_ended_its_cookie_and_form_overwrite_no_draft(doors: Doors, clock: SetClock, how: str) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    with_password(doors, "nurse.caen")
    token, cookie = visit.token(f"/checkpoints/{checkpoint}"), visit.client.cookies[COOKIE]
    send(visit, checkpoint, "draft", {"notes": "her own words"})
    end_session(doors, visit, how)
    if "idle" in how:
        clock.advance(timedelta(hours=1))
    thief = Visit(doors, app=visit.app)
    thief.client.cookies.set(COOKIE, cookie)
    for part in ("draft", "fields", "complete"):
        answer = thief.client.post(f"/checkpoints/{checkpoint}/{part}", data={"csrf": token, "f-weight": "71", "f-notes": "another's"})
        assert answer.status_code == 401
    seen = as_seen(doors, checkpoint)
    assert (seen["draft"]["answers"], seen["answers"]) == ({"notes": "her own words"}, None)


def end_session(doors: Doors, visit: Visit, how: str) -> None:
    if how.startswith("signed out"):
        visit.post("/sign-out", of="/account")
    elif how == "replaced":
        with_password(doors, "nurse.metz")
        visit.post("/sign-in", {"name": "nurse.metz", "password": PASSWORD}, of="/account")
    elif how == "password changed":
        change_password(doors.database, doors.clock, "nurse.caen", "another long phrase of hers", session=None)
    else:
        with doors.database.write() as connection:
            assert end_sessions(connection, "nurse.caen", doors.clock.now(), by="project_manager") == 1


@pytest.mark.parametrize(("typed", "name"), [("nurse.caen", "Claire"), ("nurse.metz", None), ("not.there", None)])
def test_an_id_that_was_typed_names_only_who_has_a_part_there(doors: Doors, typed: str, name: str | None) -> None:
    checkpoint = at_visit(doors)
    with doors.database.write() as connection:
        for person, called in (("nurse.caen", "Claire"), ("nurse.metz", "Zzname")):
            connection.execute(update(table(Person)).where(table(Person).c.id == person).values(name=called))
    with nullcontext() if name else pytest.raises(InvalidAnswers, match="choose someone from the list"):
        doors.ledger.complete(checkpoint, {"weight": 71, "nurse": typed}, "nurse.caen")
    assert as_seen(doors, checkpoint)["names"].get(typed) == name
    assert "Zzname" not in nurse(doors).get(f"/checkpoints/{checkpoint}").text


# ------------------------------------------------------------------ files


def upload(visit: Visit, checkpoint: str, part: str, name: str, content: bytes, **values: str) -> Any:
    files = {"f-letter": (name, content, "application/pdf")}
    return send(visit, checkpoint, part, {"sound": "true"} | values, files=files)


def test_a_file_is_stored_shown_downloaded_and_replaced(doors: Doors) -> None:
    checkpoint, visit = f"{launched(doors)}:review::1", nurse(doors, "methodologist")
    upload(visit, checkpoint, "draft", "lettre <é>.pdf", PDF)
    kept = as_seen(doors, checkpoint, "methodologist")["draft"]["answers"]["letter"]
    assert kept["name"] == "lettre _é_.pdf"
    answer = visit.get(f"/checkpoints/{checkpoint}/files/{kept['hash']}")
    assert answer.content == PDF
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert "lettre%20_%C3%A9_.pdf" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    send(visit, checkpoint, "draft", {"sound": "true", "letter.keep": f"{kept['hash']}:{kept['name']}"})
    assert as_seen(doors, checkpoint, "methodologist")["draft"]["answers"]["letter"] == kept
    upload(visit, checkpoint, "draft", "second.pdf", PDF + b"\n")
    assert as_seen(doors, checkpoint, "methodologist")["draft"]["answers"]["letter"]["name"] == "second.pdf"
    send(visit, checkpoint, "draft", {"sound": "true"})
    assert "letter" not in as_seen(doors, checkpoint, "methodologist")["draft"]["answers"]


@pytest.mark.parametrize(
    ("name", "content", "said"), [("x.pdf", b"MZ\x90\x00 program", "not that of a pdf file"), ("x.exe", PDF, "type pdf is")]
)
def test_a_disguised_file_is_refused_beside_its_field(doors: Doors, name: str, content: bytes, said: str) -> None:
    checkpoint, visit = f"{launched(doors)}:review::1", nurse(doors, "methodologist")
    answer = upload(visit, checkpoint, "complete", name, content)
    assert answer.status_code == 422
    assert said in answer.text
    assert 'id="f-letter-error"' in answer.text


def test_a_file_is_given_to_those_who_read_the_answers_and_no_others(doors: Doors) -> None:
    checkpoint, visit = f"{launched(doors)}:review::1", nurse(doors, "methodologist")
    upload(visit, checkpoint, "complete", "letter.pdf", PDF)
    kept = as_seen(doors, checkpoint, "methodologist")["answers"]["letter"]["hash"]
    path = f"/checkpoints/{checkpoint}/files/{kept}"
    assert nurse(doors, "project_manager").get(path).status_code == 200
    for person in ("nurse.caen", "sponsor", "nobody"):
        assert nurse(doors, person).get(path).status_code == 404
    other = doors.ledger.store_document("x.pdf", "application/pdf", b"another")
    assert visit.get(f"/checkpoints/{checkpoint}/files/{other}").status_code == 404


# ------------------------------------------------------------------ signing


def completed(doors: Doors) -> str:
    checkpoint = at_visit(doors)
    doors.ledger.complete(checkpoint, {"weight": 70}, "nurse.caen")
    return checkpoint


def shown_hash(visit: Visit, checkpoint: str) -> str:
    found = re.search(r'name="shown" value="([^"]+)"', visit.get(f"/checkpoints/{checkpoint}").text)
    assert found
    return found[1]


def test_a_signature_shows_its_meaning_and_asks_for_the_password(doors: Doors) -> None:
    checkpoint, visit = completed(doors), nurse(doors)
    with_password(doors, "nurse.caen")
    page = visit.get(f"/checkpoints/{checkpoint}").text
    assert "I certify these data" in page
    assert "70 kg" in text_of(page)
    shown = shown_hash(visit, checkpoint)
    wrong = send(visit, checkpoint, "sign", {"shown": shown, "password": "guess"})
    assert wrong.status_code == 422
    assert as_seen(doors, checkpoint)["signatures"] == []
    right = send(visit, checkpoint, "sign", {"shown": shown, "password": PASSWORD})
    assert (right.status_code, right.headers["location"]) == (303, "/today")
    assert [one["by"] for one in as_seen(doors, checkpoint)["signatures"]] == ["nurse.caen"]


def test_answers_that_changed_since_they_were_shown_are_not_signed(doors: Doors) -> None:
    checkpoint, visit = completed(doors), nurse(doors)
    with_password(doors, "nurse.caen")
    shown = shown_hash(visit, checkpoint)
    doors.ledger.complete(checkpoint, {"weight": 80}, "site_coordinator", change=True)
    for hash_ in (shown, "", "0" * 64):
        answer = send(visit, checkpoint, "sign", {"shown": hash_, "password": PASSWORD})
        assert answer.status_code == 409
    assert as_seen(doors, checkpoint)["signatures"] == []


def test_whoever_completed_cannot_sign_as_another_person(doors: Doors) -> None:
    checkpoint = completed(doors)
    with doors.database.write() as connection:
        row = {"person": "nurse.caen", "role": "principal_investigator", "site": "CAEN", "experiment": ""}
        connection.execute(insert(table(Assignment)).values(row))
    doors.ledger.sign(checkpoint, "nurse.caen", prove=unasked)
    page = text_of(nurse(doors).get(f"/checkpoints/{checkpoint}").text)
    assert "the next signature must be another person’s" in page
    assert send(nurse(doors), checkpoint, "sign", {"password": PASSWORD}).status_code == 409


def test_changing_answers_that_await_signatures_warns_and_voids_them(doors: Doors) -> None:
    checkpoint, visit = completed(doors), nurse(doors)
    doors.ledger.sign(checkpoint, "nurse.caen", prove=unasked)
    page = visit.get(f"/checkpoints/{checkpoint}?change=1").text
    assert "the signatures already given are void" in text_of(page)
    assert 'value="70"' in page
    assert send(visit, checkpoint, "complete", {"weight": "75", "change": "1"}).status_code == 303
    found = as_seen(doors, checkpoint)
    assert (found["answers"], found["signatures"]) == ({"weight": 75}, [])


# ------------------------------------------------------------------ what else is said and done there


def test_a_question_and_its_answer_stand_on_the_page(doors: Doors) -> None:
    checkpoint, visit, manager = at_visit(doors), nurse(doors), nurse(doors, "project_manager")
    assert send(visit, checkpoint, "ask", {"question": " "}).status_code == 422
    send(visit, checkpoint, "ask", {"question": "<i>Before</i> or after lunch?"})
    page = manager.get(f"/checkpoints/{checkpoint}").text
    assert "&lt;i&gt;Before&lt;/i&gt;" in page
    number = re.search(r'name="number" value="(\d+)"', page)
    assert number
    send(manager, checkpoint, "answer", {"number": number[1], "answer": "After."})
    assert "Answer of project_manager" in text_of(visit.get(f"/checkpoints/{checkpoint}").text)
    again = send(manager, checkpoint, "answer", {"number": number[1], "answer": "Before."})
    assert again.status_code == 409


def test_a_decline_needs_a_reason_and_is_shown(doors: Doors) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    empty = send(visit, checkpoint, "decline", {"reason": ""})
    assert empty.status_code == 422
    assert 'id="reason-error"' in empty.text
    send(visit, checkpoint, "decline", {"reason": "I am on leave."})
    page = text_of(nurse(doors, "site_coordinator").get(f"/checkpoints/{checkpoint}").text)
    assert "nurse.caen declined on 2 Mar 2026, 10:00 (Paris): I am on leave." in page


def test_a_manager_tries_a_failed_action_again(doors: Doors) -> None:
    checkpoint, manager = at_visit(doors).replace("visit", "pack"), nurse(doors, "project_manager")
    doors.ledger.record_action(checkpoint, 0, error="the printer is on fire")
    page = text_of(manager.get(f"/checkpoints/{checkpoint}").text)
    assert "the printer is on fire" in page
    assert "Try the failed action again" in page
    assert "Try the failed action again" not in nurse(doors).get(f"/checkpoints/{checkpoint}").text
    assert send(nurse(doors), checkpoint, "retry", {}).status_code == 403
    assert send(manager, checkpoint, "retry", {}).status_code == 303
    assert as_seen(doors, checkpoint)["status"] == "working"


def test_a_hold_says_who_why_and_that_nothing_can_be_completed(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    doors.ledger.hold(checkpoint.partition(":")[0], "project_manager", "a recall of the device")
    page = text_of(nurse(doors).get(f"/checkpoints/{checkpoint}").text)
    assert "On hold since" in page
    assert "a recall of the device (project_manager)" in page
    answer = send(nurse(doors), checkpoint, "complete", {"weight": "70", "notes": "typed"})
    assert answer.status_code == 409
    assert as_seen(doors, checkpoint)["draft"]["answers"]["notes"] == "typed"


def test_whoever_sees_but_may_not_answer_is_told_who_may(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    page = text_of(nurse(doors, "project_manager").get(f"/checkpoints/{checkpoint}").text)
    assert "it waits for the role “Coordinator”" in page
    assert "Who may: nurse.caen, site_coordinator" in page


def test_whoever_declared_a_conflict_is_told_so_and_has_no_form(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    with doors.database.write() as connection:
        row = {"person": "nurse.caen", "reason": "shares", "declared_by": "nurse.caen", "declared_at": doors.clock.now()}
        connection.execute(insert(table(Conflict)).values(row))
    page = nurse(doors).get(f"/checkpoints/{checkpoint}").text
    assert "conflict of interest" in page
    assert 'id="answers"' not in page


def test_another_sites_checkpoint_is_not_there(doors: Doors) -> None:
    checkpoint, stranger = at_visit(doors), nurse(doors, "nurse.metz")
    assert stranger.get(f"/checkpoints/{checkpoint}").status_code == 404
    for part in ("complete", "draft", "fields", "sign", "decline", "ask", "answer", "retry", "reopen", "link", "link/revoke"):
        token = stranger.token("/accessibility")
        assert stranger.client.post(f"/checkpoints/{checkpoint}/{part}", data={"csrf": token}).status_code == 404


def test_a_site_reads_no_answers_of_the_experiments_own_steps(doors: Doors) -> None:
    code = launched(doors)
    doors.ledger.ask(f"{code}:review::1", "methodologist", "Is this about Metz?")
    doors.ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    page = nurse(doors).get(f"/checkpoints/{code}:review::1").text
    assert "The answers are read by those who take part in this step." in page
    assert "about Metz" not in page
    assert "Sound" not in page


def test_a_sponsor_sees_neither_names_nor_answers(doors: Doors) -> None:
    checkpoint = completed(doors)
    page = nurse(doors, "sponsor").get(f"/checkpoints/{checkpoint}").text
    for name in ("nurse.caen", "site_coordinator", "Site of CAEN", "70"):
        assert name not in text_of(page.partition("<main")[2])


def test_a_form_without_its_token_changes_nothing(doors: Doors) -> None:
    checkpoint, visit = at_visit(doors), nurse(doors)
    answer = visit.client.post(f"/checkpoints/{checkpoint}/complete", data={"f-weight": "70"})
    assert answer.status_code == 403
    assert as_seen(doors, checkpoint)["answers"] is None
