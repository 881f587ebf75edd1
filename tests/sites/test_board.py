"""What each reader is told of an experiment: its board, journal, messages, documents and signatures."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from small import SMALL, launch, to_ethics, to_setup
from sqlalchemy import insert

from notifications.sent import sent
from protocols.errors import UnknownThing
from sites import inbox, policy
from sites.board import summary
from sites.clock import SetClock
from sites.database import Database, table
from sites.disclosure import Foreign
from sites.documents import content, documents
from sites.ledger import Ledger
from sites.names import names
from sites.policy import EVERYTHING, Access
from sites.releases import plan_of
from sites.signatures import signatures
from sites.signing import unasked
from sites.snapshot import find
from sites.tables import Assignment, BrokenGlass, Delivery, Notice, Person


@pytest.fixture
def small(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(SMALL)
    return ledger


def access(ledger: Ledger, person: str, code: str) -> Access:
    """How much of the experiment a person sees now."""
    with ledger.database.read() as connection:
        found = policy.access_to(connection, policy.reader(connection, person, ledger.clock.now()), find(connection, code))
    assert found is not None
    return found


def board(ledger: Ledger, person: str, code: str) -> dict[str, Any]:
    return inbox.status(ledger.database, code, ledger.clock.now(), "en", access=access(ledger, person, code))


def journal(ledger: Ledger, person: str, code: str, **chosen: Any) -> list[dict[str, Any]]:
    return inbox.journal(ledger.database, code, access(ledger, person, code), **chosen)


def marched(ledger: Ledger, *sites: str) -> str:
    """An experiment whose site CAEN has answered, with METZ (or those named) beside it."""
    code = launch(ledger, *(sites or ("CAEN", "METZ")))
    names = to_setup(ledger, code, *(sites or ("CAEN", "METZ")))
    ledger.complete(names[0], {"ready": True}, "nurse.caen")
    return code


# ------------------------------------------------------------------ the board


def test_a_person_of_one_site_is_told_of_that_site_alone(small: Ledger) -> None:
    code = marched(small)
    small.report_incident(code, "sensor:METZ", "external", "the kit of METZ is lost", step="setup", site="METZ")
    small.report_incident(code, "mail", "undeliverable", "Messages to METZ do not arrive")
    found = board(small, "nurse.caen", code)
    assert [(one["step"], one["site"]) for one in found["gates"]] == [
        ("review", None),
        ("ethics", None),
        ("setup", "CAEN"),
        ("closure", None),
    ]
    assert [one["code"] for one in found["sites"]] == ["CAEN"]
    assert [(one["key"], one["message"]) for one in found["incidents"]] == [("undeliverable", "")]
    assert "METZ" not in json.dumps(found)


def test_a_join_tells_a_person_of_one_site_no_figures(small: Ledger) -> None:
    code = marched(small)
    waits = {who: board(small, who, code)["gates"][-1]["waiting_for"][0]["what"] for who in ("nurse.caen", "project_manager")}
    assert waits == {"nurse.caen": "Set-up: other sites are awaited", "project_manager": "Set-up: 1 of 2 site(s)"}


def test_progress_and_phase_count_only_what_is_seen(small: Ledger) -> None:
    code = marched(small)
    assert board(small, "nurse.caen", code)["progress"] == 0.75
    assert board(small, "project_manager", code)["progress"] == 0.6
    # The gate of METZ keeps the experiment in its preparation; who does not see it reads the phase of what they see.
    assert (board(small, "nurse.caen", code)["phase"], board(small, "project_manager", code)["phase"]) == ("closure", "preparation")


def test_a_sponsor_reads_codes_and_statuses_only(small: Ledger) -> None:
    code = marched(small)
    small.report_incident(code, "mail", "undeliverable", "Messages to Alice do not arrive", site="METZ")
    found = board(small, "sponsor", code)
    assert [(one["code"], one["name"]) for one in found["sites"]] == [("CAEN", "CAEN"), ("METZ", "METZ")]
    assert found["launched_by"] == ""
    assert [one["status"] for one in found["gates"]] == ["passed", "passed", "passed", "open", "waiting"]
    assert [one["message"] for one in found["incidents"]] == [""]


def test_the_words_of_a_failed_action_are_for_those_who_may_read_them(small: Ledger) -> None:
    code = launch(small)
    ethics = to_ethics(small, code)
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    for who in ("ethics_officer", "second.officer"):
        small.sign(ethics, who, prove=unasked)
    small.record_action(f"{code}:setup:CAEN:1", 0, error="the disk of CAEN is full")
    told = {who: board(small, who, code)["gates"][2]["waiting_for"][0]["what"] for who in ("nurse.caen", "sponsor")}
    assert told == {"nurse.caen": "Automated action failed: the disk of CAEN is full", "sponsor": "Automated action failed"}
    assert board(small, "sponsor", code)["gates"][2]["why"] == ""


def test_a_held_gate_says_that_its_clock_stands_still(small: Ledger) -> None:
    code = marched(small)
    small.hold(code, "project_manager", "flood", site="METZ")
    assert [one["held"] for one in board(small, "project_manager", code)["gates"]] == [False, False, False, True, False]


def test_the_head_of_a_page_agrees_with_the_board(small: Ledger, database: Database) -> None:
    code = marched(small)
    small.stop(code, "project_manager", "no staff", site="METZ")
    for who in ("project_manager", "nurse.caen", "sponsor"):
        seen = access(small, who, code)
        whole = inbox.status(database, code, small.clock.now(), "en", access=seen)
        with database.read() as connection:
            row = find(connection, code)
            head = summary(connection, row, plan_of(connection, row["protocol"]), "en", seen)
        assert {name: head[name] for name in ("code", "title", "state", "phase", "progress", "launched_by")} == {
            name: whole[name] for name in ("code", "title", "state", "phase", "progress", "launched_by")
        }
        assert [(one["code"], one["name"], one["state"]) for one in head["sites"]] == [
            (one["code"], one["name"], one["state"]) for one in whole["sites"]
        ]


# ------------------------------------------------------------------ the journal


def test_the_command_line_reads_the_whole_journal(small: Ledger, database: Database) -> None:
    code = marched(small)
    found = inbox.journal(database, code, EVERYTHING)
    assert [fact["seq"] for fact in found] == list(range(1, len(found) + 1))
    assert "withheld" not in found[0]
    assert found[0]["data"]["launch"] == {"target": 10}


def test_a_person_of_one_site_reads_nothing_of_another(small: Ledger) -> None:
    code = marched(small)
    small.hold(code, "project_manager", "as at METZ, or Site of METZ")
    found = journal(small, "nurse.caen", code)
    assert {fact["site"] for fact in found} == {"", "CAEN"}
    assert "METZ" not in json.dumps(found)
    assert found[-1]["data"] == {"reason": "as at […], or […]"}


def test_facts_are_numbered_among_those_seen_so_that_gaps_tell_nothing(small: Ledger) -> None:
    code = marched(small)
    found = journal(small, "nurse.caen", code)
    assert [fact["seq"] for fact in found] == list(range(1, len(found) + 1))
    assert len(found) < len(journal(small, "project_manager", code))


def test_a_launch_tells_one_site_neither_the_others_nor_what_was_filled_in(small: Ledger) -> None:
    launched = journal(small, "nurse.caen", marched(small))[0]
    assert [site["code"] for site in launched["data"]["sites"]] == ["CAEN"]
    assert launched["withheld"] == ["launch", "pending", "territory", "timezone"]


def test_answers_are_read_by_those_who_may(small: Ledger) -> None:
    code = marched(small)

    def answers(person: str, step: str) -> list[Any]:
        return [fact["data"].get("answers") for fact in journal(small, person, code, kinds=["CheckpointCompleted"], step=step)]

    assert answers("nurse.caen", "review") == [None]
    assert answers("nurse.caen", "setup") == [{"ready": True}]
    assert answers("methodologist", "review") == answers("project_manager", "review") == [{"sound": True}]
    assert answers("sponsor", "review") == answers("sponsor", "setup") == [None]


def test_a_sponsor_reads_no_name_and_cannot_ask_by_name(small: Ledger) -> None:
    code = marched(small)
    small.hold(code, "project_manager", "Alice is ill")
    found = journal(small, "sponsor", code)
    assert {fact["by"] for fact in found} == {""}
    assert [word for word in ("Alice", "nurse.caen", "Site of METZ", "project_manager ") if word in json.dumps(found)] == []
    assert found[0]["data"]["sites"] == [{"code": "CAEN"}, {"code": "METZ"}]
    assert journal(small, "sponsor", code, by="nurse.caen") == []


def test_who_broke_the_glass_of_a_site_reads_that_site(small: Ledger) -> None:
    code = marched(small)
    now = small.clock.now()
    glass = {"person": "nobody", "experiment": code, "site": "CAEN", "reason": "fall", "at": now, "until": now + timedelta(hours=1)}
    with small.database.write() as connection:
        connection.execute(insert(table(BrokenGlass)).values(glass))
    found = journal(small, "nobody", code)
    assert {fact["site"] for fact in found} == {"", "CAEN"}
    assert "METZ" not in json.dumps(found)


@pytest.mark.parametrize("person", ["project_manager", "nurse.caen"])
def test_the_journal_is_read_a_page_at_a_time_and_chosen_from(small: Ledger, clock: SetClock, person: str) -> None:
    code = launch(small)
    clock.advance(timedelta(days=1))
    to_setup(small, code)
    whole = journal(small, person, code)
    assert journal(small, person, code, after=3, limit=2) == whole[3:5]
    assert journal(small, person, code, newest_first=True, limit=2) == whole[:-3:-1]
    assert journal(small, person, code, newest_first=True, before=4) == whole[2::-1]
    assert journal(small, person, code, step="ethics", kinds=["AnswersSigned"]) == [one for one in whole if one["kind"] == "AnswersSigned"]
    assert journal(small, person, code, site="-") == [one for one in whole if not one["site"]]
    assert journal(small, person, code, site="METZ" if person == "nurse.caen" else "SDEN") == []
    assert journal(small, person, code, by="ethics_officer") == [one for one in whole if one["by"] == "ethics_officer"]
    assert journal(small, person, code, until=clock.now()) == whole[:2]
    assert journal(small, person, code, since=clock.now()) == whole[2:]
    assert journal(small, person, code, step="\x00") == []


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("at METZ, METZ-2 and METZING", "at […], […]-2 and METZING"),
        (["CAEN", "METZ"], ["CAEN"]),
        ([{"code": "METZ"}, {"site": "CAEN"}], [{"site": "CAEN"}]),
        ({"METZ": 1, "CAEN": 2}, {"CAEN": 2}),
        ({"deep": [{"said": "metz (1)"}]}, {"deep": [{"said": "[…] (1)"}]}),
        (3, 3),
    ],
)
def test_a_site_not_seen_is_left_out_of_any_value(value: Any, kept: Any) -> None:
    assert Foreign.of(["METZ"]).left_out(value) == kept


# ------------------------------------------------------------------ messages


@pytest.fixture
def told(small: Ledger) -> str:
    """Messages of a site each, one of the whole experiment to a nurse of each site and the sponsor."""
    code = marched(small)
    at = small.clock.now()
    with small.database.write() as connection:
        experiment = find(connection, code)["id"]
        for site, persons in (("CAEN", ["nurse.caen"]), ("METZ", ["nurse.metz"]), ("", ["nurse.caen", "nurse.metz", "sponsor"])):
            notice = {"key": f"key {site}", "kind": "opened", "experiment_id": experiment, "step": "setup", "site": site}
            lists = {"roles": [], "persons": [], "details": {}, "created_at": at, "next_at": at}
            key = connection.execute(insert(table(Notice)).values(notice | lists)).inserted_primary_key
            assert key is not None
            sending = {"notice_id": key[0], "state": "sent", "at": at, "error": "550 a@b.c", "channel": "email", "subject": "s"}
            connection.execute(insert(table(Delivery)), [sending | {"person": person, "attempts": 1} for person in persons])
    return code


@pytest.mark.parametrize(
    ("reader", "persons", "error"),
    [
        ("project_manager", ["nurse.caen", "nurse.metz", "nurse.caen", "nurse.metz", "sponsor"], "550 a@b.c"),
        ("nurse.caen", ["nurse.caen", "nurse.caen", "sponsor"], ""),
        ("sponsor", ["sponsor"], ""),
    ],
)
def test_messages_are_told_to_those_who_see_their_site_and_their_reader(
    small: Ledger, told: str, reader: str, persons: list[str], error: str
) -> None:
    found = sent(small.database, told, access(small, reader, told))
    assert [one["person"] for one in found] == persons
    assert {one["error"] for one in found} == {error}


def test_messages_are_read_a_page_at_a_time_the_newest_first(small: Ledger, told: str) -> None:
    manager = access(small, "project_manager", told)
    first = sent(small.database, told, manager, limit=2)
    assert [one["person"] for one in first] == ["sponsor", "nurse.metz"]
    assert [one["person"] for one in sent(small.database, told, manager, limit=9, before=first[-1]["id"])] == [
        "nurse.caen",
        "nurse.metz",
        "nurse.caen",
    ]
    assert len(sent(small.database, told, manager, person="nurse.caen", site="CAEN", state="sent", step="setup")) == 1
    assert sent(small.database, told, manager, person="\x00") == []


# ------------------------------------------------------------------ documents and signatures


def test_documents_are_listed_for_those_who_may_read_the_step(small: Ledger) -> None:
    code = launch(small)
    ethics = to_ethics(small, code)
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    for who in ("ethics_officer", "second.officer"):
        small.sign(ethics, who, prove=unasked)
    keys = {}
    for site in ("CAEN", "METZ"):
        keys[site] = small.store_document(f"{site}.html", "text/html", site.encode())
        small.record_action(f"{code}:setup:{site}:1", 0, {"documents": [{"hash": keys[site], "name": f"{site}.html"}]})

    def listed(person: str) -> list[str]:
        with small.database.read() as connection:
            row = find(connection, code)
            return [one["name"] for one in documents(connection, row, plan_of(connection, row["protocol"]), access(small, person, code))]

    assert {who: listed(who) for who in ("project_manager", "nurse.caen", "sponsor")} == {
        "project_manager": ["CAEN.html", "METZ.html"],
        "nurse.caen": ["CAEN.html"],
        "sponsor": [],
    }
    with small.database.read() as connection:
        row = find(connection, code)
        plan, nurse = plan_of(connection, row["protocol"]), access(small, "nurse.caen", code)
        assert content(connection, row, plan, nurse, keys["CAEN"]) == ("CAEN.html", "text/html", b"CAEN")
        for key in (keys["METZ"], "0" * 64):
            with pytest.raises(UnknownThing, match="no such document here"):
                content(connection, row, plan, nurse, key)


def test_a_signature_counts_until_its_answers_change_or_its_gate_reopens(small: Ledger) -> None:
    code = launch(small)
    name = to_ethics(small, code)
    validity = lambda: [(one.by, one.round, one.validity, one.why) for one in signatures(small.database, code, EVERYTHING)]  # noqa: E731
    small.complete(name, {"opinion": "yes"}, "ethics_officer")
    small.sign(name, "ethics_officer", prove=unasked)
    assert validity() == [("ethics_officer", 1, "valid", "")]
    small.complete(name, {"opinion": "again"}, "ethics_officer", change=True)
    assert validity() == [("ethics_officer", 1, "void", "changed")]
    small.sign(name, "ethics_officer", prove=unasked)
    small.sign(name, "second.officer", prove=unasked)
    assert validity()[1:] == [("ethics_officer", 1, "earlier", "returned"), ("second.officer", 1, "earlier", "returned")]
    small.complete(f"{code}:review::2", {"sound": True}, "methodologist")
    again = f"{code}:ethics::2"
    small.complete(again, {"opinion": "yes"}, "ethics_officer")
    for who in ("ethics_officer", "second.officer"):
        small.sign(again, who, prove=unasked)
    small.reopen(again, "project_manager", "the letter was another's")
    last = signatures(small.database, code, EVERYTHING)[-1]
    assert (last.validity, last.why, last.ended_by, last.reason) == ("void", "reopened", "project_manager", "the letter was another's")


def test_a_sponsor_reads_signatures_without_their_signers(small: Ledger) -> None:
    code = marched(small)
    found = signatures(small.database, code, access(small, "sponsor", code))
    assert [(one.by, one.role, one.meaning) for one in found] == [("", "ethics_officer", "I certify"), ("", "ethics_officer", "Seen")]


def test_names_are_found_once_for_those_there_are(small: Ledger) -> None:
    with small.database.read() as connection:
        assert names(connection, ["nurse.caen", "", "m.rossi", "nurse.caen"]) == {"nurse.caen": "nurse.caen"}
        assert names(connection, [""]) == {}


def test_a_role_for_another_experiment_shows_nothing_here(small: Ledger) -> None:
    code, other = marched(small), launch(small)
    with small.database.write() as connection:
        connection.execute(insert(table(Person)).values({"id": "x", "name": "X", "email": "x@example.org", "locale": "en", "channels": []}))
        connection.execute(insert(table(Assignment)).values({"person": "x", "role": "methodologist", "site": "", "experiment": other}))
    with small.database.read() as connection:
        assert policy.access_to(connection, policy.reader(connection, "x", small.clock.now()), find(connection, code)) is None
