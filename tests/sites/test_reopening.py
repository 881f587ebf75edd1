"""A passed gate taken back: its answers may change, and what was built on them is asked again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small import SMALL, gate, kinds, launch, to_ethics, to_setup

from protocols.engine import answers_hash
from protocols.errors import IllegalTransition, InvalidInput, NotAssigned
from sites import inbox
from sites.database import Database, table
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked
from sites.tables import Notice


@pytest.fixture
def small(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(SMALL)
    return ledger


def owed(database: Database, kind: str) -> list[str]:
    with database.read() as connection:
        notices = connection.execute(table(Notice).select().where(table(Notice).c.kind == kind)).mappings()
        return sorted(role for notice in notices for role in notice["roles"])


def test_a_reopened_gate_asks_again_and_keeps_what_was_answered(small: Ledger) -> None:
    code = launch(small)
    to_setup(small, code)
    small.reopen(f"{code}:ethics::1", "ethics_officer", "the wrong letter was entered")
    ethics = inbox.checkpoint(small.database, f"{code}:ethics::2", small.clock.now(), access=EVERYTHING)
    assert (ethics["status"], ethics["answers"], ethics["signatures"]) == ("open", None, [])
    assert [(one["round"], one["answers"]) for one in ethics["earlier_rounds"]] == [(1, {"opinion": "yes"})]
    assert [gate(small, code, "setup", site)["status"] for site in ("CAEN", "METZ")] == ["waiting", "waiting"]
    assert owed(small.database, "reopened") == ["ethics_officer", "project_manager"]


def test_the_reason_and_the_role_are_in_the_journal(small: Ledger) -> None:
    code = launch(small)
    to_ethics(small, code)
    small.reopen(f"{code}:review::1", "project_manager", "  a page was missing ")
    fact = next(one for one in inbox.journal(small.database, code, EVERYTHING) if one["kind"] == "GateReopened")
    assert (fact["by"], fact["role"], fact["data"]) == ("project_manager", "project_manager", {"reason": "a page was missing"})
    assert kinds(small, code, "GateReopened", "RoundOpened") == ["GateReopened", "RoundOpened", "RoundOpened"]


def test_whoever_neither_answers_it_nor_manages_cannot_reopen_it(small: Ledger) -> None:
    code = launch(small)
    to_ethics(small, code)
    with pytest.raises(NotAssigned, match="reopen"):
        small.reopen(f"{code}:review::1", "sponsor", "I would rather not")


def test_a_reason_is_needed(small: Ledger) -> None:
    code = launch(small)
    to_ethics(small, code)
    with pytest.raises(InvalidInput, match="reason"):
        small.reopen(f"{code}:review::1", "methodologist", " ")


def test_only_a_gate_that_has_passed_is_reopened_and_once(small: Ledger) -> None:
    code = launch(small)
    with pytest.raises(IllegalTransition, match="only a checkpoint whose gate has passed"):
        small.reopen(f"{code}:review::1", "methodologist", "too early")
    to_ethics(small, code)
    small.reopen(f"{code}:review::1", "methodologist", "a page was missing", command_id="one")
    again = small.reopen(f"{code}:review::1", "methodologist", "a page was missing", command_id="one")
    assert again["step"] == "review"
    with pytest.raises(IllegalTransition, match="latest round"):
        small.reopen(f"{code}:review::1", "methodologist", "a page was missing")


def test_answers_that_changed_since_they_were_shown_are_not_signed(small: Ledger) -> None:
    ethics = to_ethics(small, launch(small))
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    shown = answers_hash({"opinion": "yes"})
    small.complete(ethics, {"opinion": "no"}, "ethics_officer", change=True)
    with pytest.raises(IllegalTransition, match="changed since you read them"):
        small.sign(ethics, "ethics_officer", shown=shown, prove=unasked)
    assert small.sign(ethics, "ethics_officer", shown=answers_hash({"opinion": "no"}), prove=unasked)["status"] == "open"
