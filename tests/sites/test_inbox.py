"""What people read: the gate board, the inbox and one checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from small import SMALL, gate, launch, to_ethics, to_setup

from protocols.errors import UnknownThing
from sites import inbox
from sites.clock import SetClock
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked


@pytest.fixture
def small(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(SMALL)
    return ledger


def waits(ledger: Ledger, code: str, step: str, site: str | None = None) -> list[tuple[str, str]]:
    return [(one["what"], one["role"]) for one in gate(ledger, code, step, site)["waiting_for"]]


def mine(ledger: Ledger, person: str) -> list[dict[str, Any]]:
    return inbox.inbox(ledger.database, person, ledger.clock.now())


def test_the_board_shows_every_gate_in_the_protocols_order(small: Ledger) -> None:
    code = launch(small)
    board = inbox.status(small.database, code, small.clock.now(), "en", access=EVERYTHING)
    assert {name: board[name] for name in ("code", "protocol", "version", "state", "phase", "title")} == {
        "code": "SMALL-1",
        "protocol": "small",
        "version": "1.0.0",
        "state": "running",
        "phase": "preparation",
        "title": "Small",
    }
    assert [(site["code"], site["state"]) for site in board["sites"]] == [("CAEN", "active"), ("METZ", "active")]
    assert [(row["step"], row["site"], row["round"], row["status"]) for row in board["gates"]] == [
        ("review", None, 1, "open"),
        ("ethics", None, 1, "waiting"),
        ("setup", "CAEN", 1, "waiting"),
        ("setup", "METZ", 1, "waiting"),
        ("closure", None, 1, "waiting"),
    ]
    review = board["gates"][0]
    assert (review["opened_at"], review["due_at"]) == ("2026-03-02T09:00:00Z", "2026-03-12T22:59:59Z")
    assert review["waiting_for"] == [{"what": "Answers awaited", "role": "methodologist", "since": "2026-03-02T09:00:00Z"}]


def test_a_closed_gate_says_all_it_waits_for(small: Ledger) -> None:
    code = launch(small)
    assert waits(small, code, "ethics") == [("Étape préalable : Relecture", "methodologist")]
    assert waits(small, code, "closure") == [("Mise en place : 0 site(s) sur 2", "")]
    small.complete(f"{code}:review::1", {"sound": False}, "methodologist")
    assert waits(small, code, "review") == [("Condition non remplie : answers.sound", "methodologist")]
    names = to_setup(small, code)
    small.hold(code, "project_manager", "strike")
    assert waits(small, code, "setup", "CAEN") == [("Suspendu", "project_manager"), ("Réponses attendues", "site_coordinator")]
    small.release(code, "project_manager", "over")
    small.complete(names[0], {"ready": True}, "nurse.caen")
    assert waits(small, code, "setup", "CAEN") == []
    assert waits(small, code, "closure") == [("Mise en place : 1 site(s) sur 2", "")]


def test_a_stopped_site_shows_what_it_did_and_will_not_do(small: Ledger) -> None:
    code = launch(small)
    small.stop(code, "project_manager", "no staff", site="CAEN")
    assert gate(small, code, "setup", "CAEN")["status"] == "stopped"
    small.stop(code, "project_manager", "no money")
    board = inbox.status(small.database, code, small.clock.now(), access=EVERYTHING)
    assert board["state"] == "stopped"
    assert {(row["status"], len(row["waiting_for"])) for row in board["gates"]} == {("stopped", 0)}
    assert mine(small, "methodologist") == []


def test_an_inbox_lists_the_nearest_deadline_first_and_what_is_late(small: Ledger, clock: SetClock) -> None:
    first = launch(small)
    clock.advance(timedelta(days=2))
    second = launch(small)
    clock.advance(timedelta(days=9))
    items = mine(small, "methodologist")
    assert [(item["id"], item["late"], item["needs"], item["blocked"]) for item in items] == [
        (f"{first}:review::1", True, "answers", False),
        (f"{second}:review::1", False, "answers", False),
    ]
    assert {"experiment", "step", "site", "round", "due_at"} <= items[0].keys()
    assert items[0]["site"] is None
    with pytest.raises(UnknownThing):
        mine(small, "m.rossi")


def test_nobody_is_late_while_a_hold_forbids_to_act(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    clock.advance(timedelta(days=9))
    small.hold(code, "project_manager", "strike")
    clock.advance(timedelta(days=30))
    assert [(item["late"], item["blocked"]) for item in mine(small, "methodologist")] == [(False, True)]
    assert not gate(small, code, "review")["late"]


def test_a_signature_is_asked_of_those_who_may_put_it(small: Ledger) -> None:
    """Whoever completed or signed before is not asked for another person's signature."""
    name = to_ethics(small, launch(small))
    small.complete(name, {"opinion": "yes"}, "ethics_officer")
    assert [[item["needs"] for item in mine(small, who)] for who in ("ethics_officer", "second.officer")] == [["signature"]] * 2
    small.sign(name, "ethics_officer", prove=unasked)
    assert [[item["needs"] for item in mine(small, who)] for who in ("ethics_officer", "second.officer")] == [[], ["signature"]]


def test_a_checkpoint_is_shown_with_its_form_in_the_readers_language(small: Ledger) -> None:
    name = f"{launch(small)}:review::1"
    shown = inbox.checkpoint(small.database, name, small.clock.now(), person="methodologist", locale="en", access=EVERYTHING)
    assert (shown["id"], shown["title"], shown["role"], shown["answers"], shown["draft"]) == (name, "Review", "methodologist", None, None)
    assert [(field["id"], field["label"], field["required"]) for field in shown["form"]] == [
        ("sound", "Sound", True),
        ("comments", "Comments", False),
    ]


def test_a_draft_is_shown_until_its_writer_completes(small: Ledger, clock: SetClock) -> None:
    name = f"{launch(small)}:review::1"
    small.save_draft(name, "methodologist", {"comments": "so far"})
    read = lambda: inbox.checkpoint(small.database, name, clock.now(), person="methodologist", access=EVERYTHING)["draft"]  # noqa: E731
    assert read()["answers"] == {"comments": "so far"}
    clock.advance(timedelta(minutes=5))
    small.complete(name, {"sound": False, "comments": "done"}, "methodologist")
    assert read() is None


def test_the_name_of_an_earlier_round_shows_that_round(small: Ledger) -> None:
    code = launch(small)
    name = to_ethics(small, code)
    small.complete(name, {"opinion": "again"}, "ethics_officer")
    for who in ("ethics_officer", "second.officer"):
        small.sign(name, who, prove=unasked)
    shown = inbox.checkpoint(small.database, name, small.clock.now(), access=EVERYTHING)
    assert (shown["round"], shown["status"], shown["answers"], shown["completed_by"]) == (
        1,
        "returned",
        {"opinion": "again"},
        "ethics_officer",
    )
    assert (shown["next_signature"], shown["waiting_for"]) == (None, [])
    assert inbox.checkpoint(small.database, f"{code}:ethics::2", small.clock.now(), access=EVERYTHING)["status"] == "waiting"
    with pytest.raises(UnknownThing, match="round 2"):
        inbox.checkpoint(small.database, f"{code}:ethics::3", small.clock.now(), access=EVERYTHING)


def test_owed_actions_stop_while_a_site_or_the_experiment_is_held(small: Ledger) -> None:
    code = launch(small)
    ethics = to_ethics(small, code)
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    for who in ("ethics_officer", "second.officer"):
        small.sign(ethics, who, prove=unasked)
    owed = lambda site: [one["checkpoint"] for one in inbox.owed_actions(small.database, code, site)]  # noqa: E731
    assert owed("CAEN") == [f"{code}:setup:CAEN:1"]
    small.hold(code, "project_manager", "flood", site="CAEN")
    assert (owed("CAEN"), owed("METZ")) == ([], [f"{code}:setup:METZ:1"])
    small.hold(code, "project_manager", "strike")
    assert owed("METZ") == []


def test_the_list_of_experiments_tells_how_far_each_has_come(small: Ledger) -> None:
    codes = [launch(small), launch(small, "SDEN")]
    to_setup(small, codes[0])
    assert [(one["code"], one["state"], one["progress"], one["open"], one["active"]) for one in inbox.experiments(small.database)] == [
        (codes[0], "running", 0.4, 2, 2),
        (codes[1], "running", 0.0, 1, 1),
    ]


def test_what_was_typed_in_prefect_is_marked_for_whoever_may_complete_it(small: Ledger) -> None:
    code = launch(small)
    small.save_draft_of_prefect(f"{code}:review::1", {"sound": True})
    [item] = inbox.inbox(small.database, "methodologist", small.clock.now())
    assert item["draft_of_prefect"] is True
    found = inbox.checkpoint(small.database, f"{code}:review::1", small.clock.now(), person="methodologist", access=EVERYTHING)
    assert (found["draft"]["origin"], found["draft"]["answers"]) == ("prefect", {"sound": True})
    small.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    assert inbox.inbox(small.database, "methodologist", small.clock.now()) == []
