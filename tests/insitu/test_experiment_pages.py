"""An experiment's pages: what each reader finds on them, in their exports, and what managers do there."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from small import SMALL, launch, to_ethics, to_setup
from sqlalchemy import insert, update
from visit import Visit, doors_on

from insitu.web.experiment.board import ahead, by_phase, urgency
from insitu.web.experiment.journal import as_csv, day
from insitu.web.experiment.telling import KINDS, SENTENCES
from protocols.facts import FactKind
from sites import inbox, releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.access import entries
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked
from sites.tables import Assignment, Delivery, FactRow, Notice, Person, Track

PARTS = ("", "/timeline", "/people", "/messages", "/documents", "/journal", "/signatures")
EXPORTS = ("/journal.csv", "/journal.json", "/signatures.pdf")


@pytest.fixture
def ledger(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Ledger:
    releases.add(sqlite_database, SMALL, clock, "protocol.yaml")
    return Ledger(sqlite_database, clock)


@pytest.fixture
def code(ledger: Ledger) -> str:
    """CAEN has answered, METZ has not."""
    found = launch(ledger)
    ledger.complete(to_setup(ledger, found)[0], {"ready": True}, "nurse.caen")
    return found


@pytest.fixture
def visit(ledger: Ledger, clock: SetClock) -> Visit:
    return Visit(doors_on(ledger.database, clock, prefect_ui_url="http://prefect.test"))


# ------------------------------------------------------------------ who sees what


@pytest.mark.parametrize("person", ["project_manager", "nurse.caen", "sponsor"])
def test_every_page_opens_to_whoever_sees_the_experiment(visit: Visit, code: str, person: str) -> None:
    visit.sign_in(person)
    for part in PARTS:
        answer = visit.get(f"/experiments/{code}{part}")
        assert answer.status_code == 200
        assert answer.text.count("<h1>") == 1
        assert " style=" not in answer.text
        assert len(answer.content) < 100_000


def test_an_experiment_not_seen_answers_as_one_that_is_not(visit: Visit, code: str) -> None:
    visit.sign_in("nobody")
    for part in (*PARTS, *EXPORTS, "/manage", f"/documents/{'0' * 64}"):
        hidden, absent = visit.get(f"/experiments/{code}{part}"), visit.get(f"/experiments/SMALL-9{part}")
        assert (hidden.status_code, absent.status_code) == (404, 404)
        assert hidden.text.replace(code, "SMALL-9") == absent.text


def test_nothing_of_another_site_is_in_what_a_nurse_is_sent(visit: Visit, code: str, ledger: Ledger) -> None:
    ledger.report_incident(code, "kit:METZ", "external", "a kit is lost at METZ", step="setup", site="METZ")
    ledger.hold(code, "project_manager", "as asked by METZ")
    visit.sign_in("nurse.caen")
    for part in (*PARTS, "/journal?site=METZ", "?site=METZ", "/timeline?site=METZ", "/messages?site=METZ", *EXPORTS[:2]):
        text = visit.get(f"/experiments/{code}{part}").text
        assert [word for word in ("Site of METZ", "nurse.metz", ":METZ:", ">METZ<", "at METZ", "by METZ", "2 sites") if word in text] == []


def test_a_sponsor_is_sent_no_name(visit: Visit, code: str, ledger: Ledger) -> None:
    ledger.hold(code, "project_manager", "nurse.caen is ill")
    visit.sign_in("sponsor")
    for part in (*PARTS, *EXPORTS[:2]):
        text = visit.get(f"/experiments/{code}{part}").text
        named = ("nurse.caen", "Site of CAEN", "ethics_officer</", "methodologist</", "project_manager</")
        assert [word for word in named if word in text] == []


# ------------------------------------------------------------------ the gate board


def test_the_board_says_what_holds_a_gate_up_of_whom_and_since_when(visit: Visit, code: str, clock: SetClock) -> None:
    clock.advance(timedelta(days=9))
    text = visit.sign_in("project_manager").get(f"/experiments/{code}").text
    held_up = text[text.index('id="held-up"') :]
    assert f'href="/checkpoints/{code}:setup:METZ:1"' in held_up
    assert 'data-status="late"' in held_up
    assert "Answers awaited" in held_up
    assert "nurse.metz, site_coordinator" in " ".join(held_up.split())
    assert "since 2 Mar 2026, 1 week ago" in held_up
    assert "How the deadline was counted" in held_up
    assert "Set-up: 1 of 2 site(s)" in held_up


def test_a_role_that_nobody_holds_is_said_to_be_empty(visit: Visit, code: str, ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        connection.execute(table(Assignment).delete().where(table(Assignment).c.role == "site_coordinator"))
    visit.sign_in("project_manager")
    assert "nobody holds this role there" in visit.get(f"/experiments/{code}").text
    assert visit.get(f"/experiments/{code}/people").text.count('class="nobody"') == 2


def test_the_run_in_prefect_is_a_link_for_managers_only(visit: Visit, code: str, ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        connection.execute(insert(table(Track)).values(experiment_id=1, site="", flow_run_id="abc", picture={}))
    address = "http://prefect.test/v2/runs/flow-run/abc"
    assert address in visit.sign_in("project_manager").get(f"/experiments/{code}").text
    assert address not in visit.sign_in("methodologist").get(f"/experiments/{code}").text


def test_the_most_urgent_gate_comes_first(ledger: Ledger, code: str) -> None:
    plain = {"late": False, "status": "open", "due_at": None, "since": "2026-03-02"}
    gates = [
        plain,
        plain | {"due_at": "2026-04-01"},
        plain | {"due_at": "2026-03-10"},
        plain | {"status": "incident"},
        plain | {"late": True, "due_at": "2026-03-01"},
    ]
    assert sorted(gates, key=urgency) == gates[::-1]


def test_gates_are_gathered_by_phase_and_those_ahead_by_what_they_wait_for(ledger: Ledger) -> None:
    found = launch(ledger)
    gates = inbox.status(ledger.database, found, ledger.clock.now(), "en", access=EVERYTHING)["gates"]
    phases = by_phase(gates, ["CAEN", "METZ"])
    assert [(one["phase"], len(one["own"]), [row["title"] for row in one["rows"]]) for one in phases] == [
        ("preparation", 2, ["Set-up"]),
        ("closure", 1, []),
    ]
    assert [cell["site"] for cell in phases[0]["rows"][0]["cells"]] == ["CAEN", "METZ"]
    assert [(one["title"], one["sites"]) for one in ahead(gates)] == [("Opinion", []), ("Set-up", ["CAEN", "METZ"]), ("Closure", [])]


# ------------------------------------------------------------------ journal and exports


def test_every_kind_of_fact_has_its_sentence() -> None:
    assert SENTENCES.keys() == KINDS.keys() == set(FactKind)


def test_the_journal_tells_facts_in_the_readers_language(visit: Visit, code: str, ledger: Ledger) -> None:
    visit.sign_in("project_manager")
    text = " ".join(visit.get(f"/experiments/{code}/journal").text.split())
    assert "nurse.caen completed “Set-up”." in text
    assert "ethics_officer signed the answers of “Opinion”: I certify" in text
    with ledger.database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == "project_manager").values(locale="fr"))
    assert "nurse.caen a complété «\u00a0Mise en place\u00a0»." in visit.get(f"/experiments/{code}/journal").text


def test_the_journal_is_turned_page_by_page(visit: Visit, code: str, ledger: Ledger) -> None:
    for number in range(60):
        ledger.report_incident(code, f"k{number}", "external", f"incident {number:02}")
    visit.sign_in("project_manager")
    first = visit.get(f"/experiments/{code}/journal").text
    assert "incident 59" in first
    assert "incident 05" not in first
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = visit.get(older).text
    assert "incident 05" in second
    newer = second.split('rel="prev" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "incident 59" in visit.get(newer).text


def test_the_journal_is_filtered_by_its_address(visit: Visit, code: str) -> None:
    visit.sign_in("project_manager")
    count = lambda query: visit.get(f"/experiments/{code}/journal?{query}").text.count('<li id="fact-')  # noqa: E731
    assert count("kind=AnswersSigned") == 2
    assert count("by=nurse.caen") == 1
    assert count("step=setup&site=METZ") == 3
    assert count("until=2026-03-01") == 0
    assert count("since=2026-03-02&until=2026-03-02&kind=ExperimentLaunched") == 1
    assert count("since=not-a-day&after=x&before=-1&kind=Nothing") == 0


def test_an_export_holds_what_is_seen_and_is_noted(visit: Visit, code: str) -> None:
    visit.sign_in("nurse.caen")
    facts = json.loads(visit.get(f"/experiments/{code}/journal.json?step=setup").text)
    assert {fact["site"] for fact in facts} == {"CAEN"}
    answer = visit.get(f"/experiments/{code}/journal.csv")
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{code}-journal.csv"
    rows = list(csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff"))))
    assert rows[0]["kind"] == "ExperimentLaunched"
    noted = entries(visit.doors.database, kind="Exported")
    assert [(one["by"], one["data"]["form"]) for one in noted] == [("nurse.caen", "csv"), ("nurse.caen", "json")]


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        *(("=1+1", "'=1+1"), (" @x", "' @x"), ("+33", "'+33"), ("-2", "'-2"), ("\t=1", "'\t=1"), ("a=1", "a=1"), ("", "")),
        *(("\uff1d1", "'\uff1d1"), ("\n=1", "'\n=1"), ("\u00a0+1", "'\u00a0+1"), ("\u22121", "'\u22121")),
    ],
)
def test_no_cell_is_a_formula(cell: str, kept: str) -> None:
    assert list(csv.reader(io.StringIO(as_csv(["a"], [[cell]]))))[1] == [kept]


@pytest.mark.parametrize(("text", "known"), [("2026-03-02", True), ("9999-12-31", False), ("0001-01-01", False), ("x", False), ("", False)])
def test_a_day_in_an_address_is_one_that_calendars_reach(text: str, known: bool) -> None:
    assert (day(text) is not None) is known


def test_the_chain_is_checked_on_the_page(visit: Visit, code: str, ledger: Ledger) -> None:
    page = f"/experiments/{code}/journal?check=chain"
    count = len(inbox.journal(ledger.database, code, EVERYTHING))
    assert f"The chain holds: {count} facts" in visit.sign_in("project_manager").get(page).text
    assert "The chain holds: nothing was changed" in visit.sign_in("nurse.caen").get(page).text
    with ledger.database.write() as connection:
        connection.execute(update(table(FactRow)).where(table(FactRow).c.seq == 3).values(by="m.rossi"))
    assert "The chain is broken. Tell" in visit.get(page).text
    assert "broken at fact 3" in visit.sign_in("project_manager").get(page).text


# ------------------------------------------------------------------ messages, documents, signatures


def test_messages_are_listed_with_their_reader_and_result(visit: Visit, code: str, ledger: Ledger) -> None:
    at = ledger.clock.now()
    with ledger.database.write() as connection:
        notice = {"key": "k", "kind": "opened", "experiment_id": 1, "step": "setup", "site": "CAEN", "created_at": at, "next_at": at}
        connection.execute(insert(table(Notice)).values(notice | {"id": 900, "roles": [], "persons": [], "details": {}}))
        delivery = {
            "notice_id": 900,
            "person": "nurse.caen",
            "channel": "email",
            "state": "refused",
            "error": "550",
            "attempts": 1,
            "at": at,
        }
        connection.execute(insert(table(Delivery)).values(delivery | {"subject": "<b>Complete</b>"}))
    text = visit.sign_in("project_manager").get(f"/experiments/{code}/messages?state=refused").text
    assert "&lt;b&gt;Complete" in text
    assert "could not be sent" in text
    assert "No message" in visit.get(f"/experiments/{code}/messages?state=sent").text


def test_a_document_is_saved_by_those_who_may_read_it(visit: Visit, ledger: Ledger) -> None:
    code = launch(ledger)
    to_setup(ledger, code)
    key = ledger.store_document("pack «1».html", "text/html", b"<script>alert(1)</script>")
    other = launch(ledger)
    ethics = to_ethics(ledger, other)
    ledger.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    for who in ("ethics_officer", "second.officer"):
        ledger.sign(ethics, who, prove=unasked)
    ledger.record_action(f"{other}:setup:METZ:1", 0, {"documents": [{"hash": key, "name": "pack «1».html"}]})
    address = f"/experiments/{other}/documents/{key}"
    answer = visit.sign_in("nurse.metz").get(address)
    assert (answer.status_code, answer.content) == (200, b"<script>alert(1)</script>")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''pack%20%C2%AB1%C2%BB.html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert address in visit.get(f"/experiments/{other}/documents").text
    assert visit.get(f"/experiments/{code}/documents/{key}").status_code == 404
    assert visit.sign_in("nurse.caen").get(address).status_code == 404


def test_the_manifest_says_who_signed_what_and_is_a_pdf(visit: Visit, code: str) -> None:
    visit.sign_in("project_manager")
    text = " ".join(visit.get(f"/experiments/{code}/signatures").text.split())
    assert "second.officer" in text
    assert "I certify" in text
    assert "valid" in text
    answer = visit.get(f"/experiments/{code}/signatures.pdf")
    assert (answer.headers["content-type"], answer.content[:5]) == ("application/pdf", b"%PDF-")
    assert entries(visit.doors.database)[0]["data"] == {"what": "signatures", "experiment": code, "form": "pdf", "rows": 2}


# ------------------------------------------------------------------ managers


def test_a_manager_holds_and_releases_a_site(visit: Visit, code: str, ledger: Ledger) -> None:
    page = f"/experiments/{code}/manage"
    visit.sign_in("project_manager")
    given = {"act": "hold", "site": "METZ", "reason": "flood"}
    answer = visit.post(page, given, of=page)
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    states = lambda: [one["state"] for one in inbox.status(ledger.database, code, ledger.clock.now(), access=EVERYTHING)["sites"]]  # noqa: E731
    assert states() == ["active", "on_hold"]
    twice = visit.post(page, given, of=page)
    assert twice.status_code == 422
    assert "already on hold" in twice.text
    assert "flood" in twice.text
    visit.post(page, given | {"act": "release"}, of=page)
    assert states() == ["active", "active"]


def test_an_early_end_wants_a_reason_and_to_be_meant(visit: Visit, code: str, ledger: Ledger) -> None:
    page = f"/experiments/{code}/manage"
    visit.sign_in("project_manager")
    answer = visit.post(page, {"act": "stop", "site": "SDEN"}, of=page)
    assert answer.status_code == 422
    assert all(message in answer.text for message in ("Give a reason", "Tick the box"))
    elsewhere = visit.post(page, {"act": "hold", "site": "SDEN", "reason": "flood"}, of=page)
    assert "Site SDEN takes no part" in elsewhere.text
    assert visit.post(page, {"act": "stop", "reason": "no money", "sure": "yes"}, of=page).status_code == 303
    assert inbox.status(ledger.database, code, ledger.clock.now(), access=EVERYTHING)["state"] == "stopped"


def test_only_a_manager_manages(visit: Visit, code: str, ledger: Ledger) -> None:
    visit.sign_in("methodologist")
    page = f"/experiments/{code}/manage"
    assert visit.get(page).status_code == 403
    assert "/manage" not in visit.get(f"/experiments/{code}").text
    assert visit.post(page, {"act": "hold", "reason": "x"}, of=f"/experiments/{code}").status_code == 403
    assert inbox.status(ledger.database, code, ledger.clock.now(), access=EVERYTHING)["state"] == "running"


def test_the_glass_opens_to_whoever_holds_a_role_and_tells_nobody_what_there_is(visit: Visit, code: str, ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        connection.execute(insert(table(Assignment)).values(person="nobody", role="methodologist", site="", experiment="OTHER-1"))
    visit.sign_in("nobody")
    assert visit.get(f"/experiments/{code}").status_code == 404
    for given in ({"code": code, "site": "SDEN"}, {"code": "SMALL-9", "site": ""}):
        wrong = visit.post("/glass", given | {"reason": "fall"}, of="/glass")
        assert wrong.status_code == 422
        assert "Nothing could be opened to you under this code and site" in wrong.text
    answer = visit.post("/glass", {"code": code, "site": "CAEN", "reason": "fall"}, of="/glass")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/experiments/{code}")
    text = visit.get(f"/experiments/{code}").text
    assert "CAEN" in text
    assert "METZ" not in text
    assert [len(entries(ledger.database, kind=kind)) for kind in ("GlassBroken", "RequestRefused")] == [1, 2]


def test_the_glass_stays_shut_without_a_role_or_a_reason(visit: Visit, code: str) -> None:
    visit.sign_in("nobody")
    answer = visit.post("/glass", {"code": code, "reason": "curious"}, of="/glass")
    assert answer.status_code == 422
    assert "Nothing could be opened to you" in answer.text
    empty = visit.post("/glass", {}, of="/glass")
    assert "Give the experiment’s code" in empty.text
    assert "Give a reason" in empty.text


def test_all_that_is_held_up_has_pages_of_its_own(visit: Visit, code: str) -> None:
    visit.sign_in("project_manager")
    text = visit.get(f"/experiments/{code}?held=1").text
    assert f'href="/checkpoints/{code}:setup:METZ:1"' in text
    assert 'class="matrix"' not in text
    assert visit.get(f"/experiments/{code}?held=99").status_code == 200


def test_a_page_says_what_is_late_while_prefect_is_away(visit: Visit, code: str, clock: SetClock) -> None:
    visit.sign_in("nurse.caen")
    sentence = "automated actions and Prefect’s own pages are late"
    assert sentence not in visit.get(f"/experiments/{code}").text
    clock.advance(timedelta(minutes=2))
    assert sentence in visit.get(f"/experiments/{code}").text
