"""Evidence: what an answer, an action or a record names is there, is what it says, and is its person's to name; whatever the door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from small import SMALL, gate, to_ethics
from sqlalchemy import insert, select, text
from town import settle

from protocols.errors import InsituError, InvalidAnswers, InvalidInput, UnknownThing
from sites import evidence, inbox, qualifications, releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.files import file_field, store
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.releases import plan_of
from sites.signing import unasked
from sites.snapshot import find
from sites.tables import Draft, Upload

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
PROGRAM = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"
NOWHERE = "0" * 64
REVIEWER = "methodologist"

LETTERS = SMALL.replace(
    "- {id: comments, type: long_text",
    "- {id: letter, type: file, accept: [PDF, .Txt], max_mb: 0.001}\n"
    "        - {id: scans, type: table, columns: [{id: of, type: text}, {id: scan, type: file, accept: [pdf]}]}\n"
    "        - {id: marks, type: table, columns: [{id: hash, type: text}, {id: name, type: text}]}\n"
    "        - {id: expert, type: person, role: ethics_officer}\n"
    "        - {id: team, type: table, columns: [{id: who, type: person}]}\n"
    "        - {id: comments, type: long_text",
).replace("launch:\n", "launch:\n  - {id: contract, type: file, accept: [pdf]}\n")


@pytest.fixture
def letters(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(LETTERS)
    return ledger


@pytest.fixture
def checkpoint(letters: Ledger) -> str:
    code = letters.launch("small", ["CAEN"], {"target": 10}, "project_manager")["code"]
    return f"{code}:review::1"


def handed_in(ledger: Ledger, checkpoint: str, name: str = "letter.pdf", content: bytes = PDF, *, by: str = REVIEWER) -> dict[str, Any]:
    """A file that a person handed in for the checkpoint's `letter`, as an answer names it."""
    with ledger.database.read() as connection:
        plan = plan_of(connection, find(connection, checkpoint.partition(":")[0])["protocol"])
    return store(ledger, file_field(plan, "review", "letter"), name, content, by=by)


def refusals(ledger: Ledger, checkpoint: str, answers: dict[str, Any], *, by: str = REVIEWER) -> dict[str, str]:
    """What is wrong with answers, by path; nothing was completed then."""
    with pytest.raises(InvalidAnswers) as refused:
        ledger.complete(checkpoint, {"sound": True} | answers, by)
    assert gate(ledger, checkpoint.partition(":")[0], "review")["status"] == "open"
    return refused.value.errors


def draft(ledger: Ledger) -> dict[str, Any]:
    with ledger.database.read() as connection:
        return dict(connection.execute(select(table(Draft).c.answers).where(table(Draft).c.person == REVIEWER)).scalar_one())


# ------------------------------------------------------------------ answers


def test_a_file_that_is_there_and_fits_is_accepted(letters: Ledger, checkpoint: str) -> None:
    letter = handed_in(letters, checkpoint)
    answers = {"sound": True, "letter": letter, "scans": [{"of": "A-01", "scan": letter}]}
    assert letters.complete(checkpoint, answers, REVIEWER)["gate"] == "passed"


def test_a_file_that_is_not_there_opens_no_gate(letters: Ledger, checkpoint: str) -> None:
    missing = {"hash": NOWHERE, "name": "letter.pdf", "size": 3}
    assert "no such file" in refusals(letters, checkpoint, {"letter": missing})["letter"]
    rows = [{"of": "A-01"}, {"of": "A-02", "scan": missing}]
    assert list(refusals(letters, checkpoint, {"scans": rows})) == ["scans.1.scan"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "another.pdf"}, "no such file"),
        ({"hash": "{HASH}"}, "no such file"),
        ({"size": 3}, "bytes, not 3"),
        ({"size": 0}, "bytes, not 0"),
    ],
)
def test_a_file_is_named_as_it_was_handed_in(letters: Ledger, checkpoint: str, changed: dict[str, Any], said: str) -> None:
    letter = handed_in(letters, checkpoint)
    asked = {name: letter["hash"].upper() if value == "{HASH}" else value for name, value in changed.items()}
    assert said in refusals(letters, checkpoint, {"letter": letter | asked})["letter"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("letter.pdf", PROGRAM, "is not that of a pdf file"),
        ("letter.pdf", b"", "is empty"),
        ("letter.pdf", PDF + b" " * 2000, "larger than 0.001 MB"),
        ("letter.exe", PROGRAM, "expected a file of type pdf, txt"),
    ],
)
def test_what_a_field_does_not_accept_is_refused_however_it_was_stored(
    letters: Ledger, checkpoint: str, name: str, content: bytes, said: str
) -> None:
    key = letters.store_file(name, "application/pdf", content, REVIEWER)
    assert said in refusals(letters, checkpoint, {"letter": {"hash": key, "name": name}})["letter"]


def test_knowing_the_hash_of_a_file_gives_no_way_to_it(letters: Ledger, checkpoint: str) -> None:
    secret = handed_in(letters, checkpoint, by="nurse.metz")
    made = letters.store_document("letter.pdf", "application/pdf", PDF + b"made by the machine")
    for one in (secret, {"hash": made, "name": "letter.pdf"}):
        assert "no such file" in refusals(letters, checkpoint, {"letter": one})["letter"]
        assert "letter" not in draft(letters)
        letters.save_draft(checkpoint, REVIEWER, {"letter": one, "scans": [{"of": "x", "scan": one}], "comments": "typed"})
        assert draft(letters) == {"scans": [{"of": "x"}], "comments": "typed"}
        letters.save_draft_of_prefect(checkpoint, {"letter": one})
        shown = inbox.checkpoint(letters.database, checkpoint, letters.clock.now(), person="site_coordinator", access=EVERYTHING)
        assert shown["draft"]["answers"] == {}


def test_the_same_content_is_each_ones_own_under_their_own_name(letters: Ledger, checkpoint: str) -> None:
    handed_in(letters, checkpoint, "of-metz.pdf", by="nurse.metz")
    mine = handed_in(letters, checkpoint, "mine.pdf")
    assert "no such file" in refusals(letters, checkpoint, {"letter": mine | {"name": "of-metz.pdf"}})["letter"]
    assert letters.complete(checkpoint, {"sound": True, "letter": mine}, REVIEWER)["gate"] == "passed"


def test_a_file_that_stands_among_the_answers_may_be_kept_by_whoever_changes_them(letters: Ledger, checkpoint: str) -> None:
    letter = handed_in(letters, checkpoint)
    letters.complete(checkpoint, {"sound": True, "letter": letter}, REVIEWER)
    letters.reopen(checkpoint, REVIEWER, "a page was missing")
    with letters.database.write() as connection:
        connection.execute(text("UPDATE assignment SET role = 'methodologist' WHERE person = 'nurse.metz'"))
        connection.execute(text("UPDATE assignment SET site = '' WHERE person = 'nurse.metz'"))
    again = checkpoint.removesuffix("1") + "2"
    assert letters.complete(again, {"sound": True, "letter": letter}, "nurse.metz")["gate"] == "passed"


def test_a_text_that_looks_like_a_file_stays_a_text(letters: Ledger, checkpoint: str) -> None:
    rows = [{"hash": NOWHERE, "name": "letter.pdf"}]
    letters.save_draft(checkpoint, REVIEWER, {"marks": rows})
    assert draft(letters) == {"marks": rows}
    assert letters.complete(checkpoint, {"sound": True, "marks": rows}, REVIEWER)["gate"] == "passed"


def test_a_launch_names_files_by_the_same_rule(letters: Ledger) -> None:
    with pytest.raises(InvalidAnswers) as refused:
        letters.launch("small", ["CAEN"], {"target": 1, "contract": {"hash": NOWHERE, "name": "c.pdf"}}, "project_manager")
    assert list(refused.value.errors) == ["contract"]
    key = letters.store_file("c.pdf", "application/pdf", PDF, "project_manager")
    letters.launch("small", ["CAEN"], {"target": 1, "contract": {"hash": key, "name": "c.pdf"}}, "project_manager")


def test_answers_name_people_who_hold_the_role_that_is_asked_for(letters: Ledger, checkpoint: str) -> None:
    for person in ("nurse.caen", "sponsor", "no.one"):
        assert refusals(letters, checkpoint, {"expert": person}) == {"expert": "choose someone from the list"}
        assert list(refusals(letters, checkpoint, {"team": [{"who": REVIEWER}, {"who": person}]})) == ["team.1.who"]
    answers = {"sound": True, "expert": "second.officer", "team": [{"who": REVIEWER}]}
    letters.complete(checkpoint, answers, REVIEWER)
    letters.reopen(checkpoint, REVIEWER, "a page was missing")
    with letters.database.write() as connection:
        connection.execute(text("DELETE FROM assignment WHERE person = 'second.officer'"))
    assert letters.complete(checkpoint.removesuffix("1") + "2", answers, REVIEWER)["gate"] == "passed"


# ------------------------------------------------------------------ actions and records


def test_an_action_names_documents_that_are_stored(letters: Ledger, checkpoint: str) -> None:
    code = checkpoint.partition(":")[0]
    ethics = to_ethics(letters, code)
    letters.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    for signer in ("ethics_officer", "second.officer"):
        letters.sign(ethics, signer, prove=unasked)
    pack = f"{code}:setup:CAEN:1"
    for result in ({"documents": [{"hash": NOWHERE, "name": "pack.pdf"}]}, {"documents": [{"name": "pack.pdf"}]}, {"documents": ["x"]}):
        with pytest.raises(UnknownThing, match="not stored"):
            letters.record_action(pack, 0, result)
    assert gate(letters, code, "setup", "CAEN")["status"] == "working"
    key = letters.store_document("pack.pdf", "application/pdf", PDF)
    letters.record_action(pack, 0, {"documents": [{"hash": key, "name": "pack.pdf"}]})
    assert gate(letters, code, "setup", "CAEN")["status"] == "open"


def record(ledger: Ledger, code: str, key: str) -> int:
    new = qualifications.NewDelegation("nurse.caen", "site_coordinator", "CAEN", code, ledger.clock.now().date(), evidence=key)
    return qualifications.record(ledger.database, ledger.clock, new, by="project_manager")


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("sheet.pdf", PROGRAM, InvalidInput, "is not that of a pdf file"),
        ("sheet.pdf", b"", InvalidInput, "is empty"),
        ("sheet.txt", b"words", InvalidInput, "is expected"),
    ],
)
def test_the_evidence_of_a_record_is_what_it_says(
    letters: Ledger, checkpoint: str, name: str, content: bytes, error: type[InsituError], said: str
) -> None:
    key = letters.store_file(name, "application/pdf", content, "project_manager")
    with pytest.raises(error, match=said):
        record(letters, checkpoint.partition(":")[0], key)


def test_the_evidence_of_a_record_is_ones_own(letters: Ledger, checkpoint: str) -> None:
    code = checkpoint.partition(":")[0]
    secret = handed_in(letters, checkpoint)["hash"]
    for key in (secret, NOWHERE, "x"):
        with pytest.raises(UnknownThing, match="not a stored document"):
            record(letters, code, key)
    store(letters, evidence.OF_RECORD, "sheet.pdf", PDF, by="project_manager")
    assert record(letters, code, secret) == 1


# ------------------------------------------------------------------ installations that are older than this rule


def test_what_was_attached_to_a_draft_before_there_was_this_rule_may_still_be_sent(sqlite_database: Database, clock: SetClock) -> None:
    from alembic import command
    from alembic.config import Config

    database = sqlite_database
    settle(database)
    releases.add(database, LETTERS, clock)
    ledger = Ledger(database, clock)
    code = ledger.launch("small", ["CAEN"], {"target": 10}, "project_manager")["code"]
    key = ledger.store_document("letter.pdf", "application/pdf", PDF)
    letter, config = {"hash": key, "name": "letter.pdf", "size": len(PDF)}, Config()
    config.set_main_option("script_location", "sites:migrations")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        row = {"experiment_id": 1, "site": "", "step": "review", "round": 1, "origin": "person", "saved_at": clock.now()}
        for person, one in ((REVIEWER, letter), ("", letter), ("nurse.metz", letter | {"hash": NOWHERE})):
            connection.execute(insert(table(Draft)).values(row | {"person": person, "answers": {"letter": one}}))
    database.migrate()
    with database.read() as connection:
        found = [(one.person, one.name) for one in connection.execute(select(table(Upload)))]
    assert found == [(REVIEWER, "letter.pdf")]
    assert ledger.complete(f"{code}:review::1", {"sound": True, "letter": letter}, REVIEWER)["gate"] == "passed"
