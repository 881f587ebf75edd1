"""Remarks: a checkpoint declined with a reason, a question to the project manager, and the answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small import SMALL, gate, kinds, launch, to_ethics, to_setup
from sqlalchemy import insert, select

from protocols.errors import IllegalTransition, InvalidInput, NotAssigned, UnknownThing
from sites import inbox
from sites.checkpoints import CheckpointId
from sites.database import Database, table
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.remarks import about
from sites.snapshot import find
from sites.tables import Conflict, Notice


@pytest.fixture
def small(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(SMALL)
    return ledger


@pytest.fixture
def review(small: Ledger) -> str:
    return f"{launch(small)}:review::1"


def owed(database: Database, kind: str) -> list[tuple[list[str], list[str]]]:
    with database.read() as connection:
        rows = connection.execute(select(table(Notice)).where(table(Notice).c.kind == kind)).mappings()
        return [(row["roles"], row["persons"]) for row in rows]


def said(ledger: Ledger, checkpoint: str) -> list[dict[str, object]]:
    name = CheckpointId.parse(checkpoint)
    with ledger.database.read() as connection:
        return about(connection, find(connection, name.experiment)["id"], name)


def test_a_question_is_journaled_and_told_to_the_managers(small: Ledger, review: str) -> None:
    number = small.ask(review, "methodologist", "  Which version?\r\nThe <b>second</b>? ")
    (remark,) = said(small, review)
    assert (remark["id"], remark["text"], remark["by"]) == (number, "Which version?\nThe <b>second</b>?", "methodologist")
    assert kinds(small, review.split(":")[0], "QuestionAsked") == ["QuestionAsked"]
    assert owed(small.database, "question") == [(["project_manager"], [])]


def test_the_same_question_twice_is_one_question(small: Ledger, review: str) -> None:
    assert small.ask(review, "methodologist", "Which?") == small.ask(review, "methodologist", "Which?")
    assert len(said(small, review)) == 1


def test_an_answer_is_told_to_whoever_asked_and_given_once(small: Ledger, review: str) -> None:
    number = small.ask(review, "methodologist", "Which?")
    small.answer(review, number, "project_manager", "The second.")
    assert [(one["answer"], one["answered_by"]) for one in said(small, review)] == [("The second.", "project_manager")]
    assert owed(small.database, "answer") == [([], ["methodologist"])]
    with pytest.raises(IllegalTransition, match="answered already"):
        small.answer(review, number, "project_manager", "The third.")


def test_only_a_manager_answers_and_only_what_was_asked_there(small: Ledger, review: str) -> None:
    number = small.ask(review, "methodologist", "Which?")
    with pytest.raises(NotAssigned):
        small.answer(review, number, "methodologist", "I know.")
    with pytest.raises(UnknownThing):
        small.answer(review.replace("review", "ethics"), number, "project_manager", "The second.")


def test_a_stranger_cannot_ask(small: Ledger) -> None:
    setup = to_setup(small, launch(small))[0]
    for person in ("nobody", "nurse.metz"):
        with pytest.raises(NotAssigned, match="no part"):
            small.ask(setup, person, "What is this?")
    assert small.ask(setup, "nurse.caen", "When?")


def test_a_decline_keeps_the_checkpoint_open_and_tells_the_managers(small: Ledger, review: str) -> None:
    code = review.split(":")[0]
    small.decline(review, "methodologist", "I wrote the protocol myself.")
    fact = next(one for one in inbox.journal(small.database, code, EVERYTHING) if one["kind"] == "CheckpointDeclined")
    assert (fact["by"], fact["role"], fact["data"]["reason"]) == ("methodologist", "methodologist", "I wrote the protocol myself.")
    assert gate(small, code, "review")["status"] == "open"
    assert owed(small.database, "declined") == [(["project_manager"], [])]


def test_declining_twice_is_declining_once(small: Ledger, review: str) -> None:
    assert small.decline(review, "methodologist", "No.") == small.decline(review, "methodologist", "Still no.")
    assert kinds(small, review.split(":")[0], "CheckpointDeclined") == ["CheckpointDeclined"]


def test_whoever_declared_a_conflict_may_still_decline(small: Ledger, review: str) -> None:
    with small.database.write() as connection:
        row = {"person": "methodologist", "reason": "shares", "declared_by": "methodologist", "declared_at": small.clock.now()}
        connection.execute(insert(table(Conflict)).values(row))
    assert small.decline(review, "methodologist", "I own shares.")


def test_a_signature_may_be_declined_by_whoever_is_to_sign(small: Ledger) -> None:
    ethics = to_ethics(small, launch(small))
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    assert small.decline(ethics, "second.officer", "I have not seen the letter.")
    with pytest.raises(NotAssigned):
        small.decline(ethics, "methodologist", "It is not mine.")


def test_what_asks_nobody_cannot_be_declined(small: Ledger, review: str) -> None:
    small.complete(review, {"sound": True}, "methodologist")
    with pytest.raises(IllegalTransition, match="asks nobody"):
        small.decline(review, "methodologist", "Too late.")


@pytest.mark.parametrize("text", ["", " \n ", "x" * 10_001, "a\x00b", "half \ud800"])
def test_what_cannot_be_kept_is_refused(small: Ledger, review: str, text: str) -> None:
    with pytest.raises(InvalidInput):
        small.ask(review, "methodologist", text)
    with pytest.raises(InvalidInput):
        small.decline(review, "methodologist", text)
    assert said(small, review) == []
