"""A signature means what the protocol or the record says, the same by every door; the signer's own words are refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from caller import Caller, kind_of
from office import PASSWORD, Office
from small import SMALL
from sqlalchemy import update
from visit import Visit, doors_on

from insitu.entrance.doors import Doors
from protocols.errors import InvalidInput
from sites import qualifications, releases, review
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.access import entries
from sites.identity.accounts import create_account
from sites.policy import reader
from sites.signing import meaning_to_keep, meanings_of, unasked
from sites.tables import Person

WORDS = "the words that only I know"
PROTEST = "I do NOT approve; signed under protest"
DAYS = date(2026, 3, 1), date(2026, 3, 20)


@pytest.fixture
def doors(database: Database, clock: SetClock, registry: None) -> Doors:
    releases.add(database, SMALL, clock)
    with database.write() as connection:
        for person in ("ethics_officer", "second.officer"):
            create_account(connection, person, WORDS, clock.now(), by="")
    return doors_on(database, clock)


@pytest.fixture
def checkpoint(doors: Doors) -> str:
    """A checkpoint whose answers wait for two signatures: `I certify` and, by another person, `Seen`."""
    code = doors.ledger.launch("small", ["CAEN"], {"target": 10}, "project_manager")["code"]
    doors.ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    doors.ledger.complete(f"{code}:ethics::1", {"opinion": "yes"}, "ethics_officer")
    return f"{code}:ethics::1"


def kept(doors: Doors, checkpoint: str) -> list[str]:
    signer = Caller(doors, "ethics_officer")
    return [one["meaning"] for one in signer.ok(signer.get(f"/checkpoints/{checkpoint}"))["signatures"]]


# ------------------------------------------------------------------ checkpoints


def test_the_signers_own_words_are_refused_and_open_no_gate(doors: Doors, checkpoint: str) -> None:
    signer = Caller(doors, "ethics_officer")
    for words in (PROTEST, "I certify.", "Seen", "i certify", "I certify " + PROTEST):
        refused = signer.post(f"/checkpoints/{checkpoint}/sign", {"meaning": words, "password": WORDS})
        assert kind_of(refused) == (422, "InvalidInput"), words
        assert "I certify" in refused.json()["detail"]
    assert kept(doors, checkpoint) == []


@pytest.mark.parametrize(("sent", "said"), [("I certify", "I certify"), ("Je certifie", "Je certifie"), (None, "I certify")])
def test_a_text_that_was_shown_is_kept_in_the_language_it_was_shown_in(doors: Doors, checkpoint: str, sent: str | None, said: str) -> None:
    signer = Caller(doors, "ethics_officer")
    signer.ok(signer.post(f"/checkpoints/{checkpoint}/sign", {"meaning": sent, "password": WORDS}))
    assert kept(doors, checkpoint) == [said]


def test_without_a_text_it_means_the_protocols_in_the_signers_language(doors: Doors, checkpoint: str) -> None:
    with doors.database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == "ethics_officer").values(locale="fr"))
    doors.ledger.sign(checkpoint, "ethics_officer", prove=unasked)
    assert kept(doors, checkpoint) == ["Je certifie"]


def test_a_page_signs_what_it_showed_and_not_the_signature_that_is_next_by_now(doors: Doors, checkpoint: str) -> None:
    visit = Visit(doors).sign_in("second.officer")
    path = f"/checkpoints/{checkpoint}"
    page = visit.get(path).text
    form = {name: page.split(f'name="{name}" value="', 1)[1].split('"', 1)[0] for name in ("shown", "meaning")}
    assert form["meaning"] == "I certify"
    doors.ledger.sign(checkpoint, "ethics_officer", prove=unasked)
    answer = visit.post(f"{path}/sign", form | {"password": WORDS}, of=path)
    assert (answer.status_code, "A signature here means" in answer.text, "Seen" in answer.text) == (422, True, True)
    assert kept(doors, checkpoint) == ["I certify"]


def test_a_text_comes_back_from_a_form_with_its_lines_ended_otherwise() -> None:
    meanings = meanings_of({"fr": "Je certifie\nces données.\n", "en": "I certify\nthese data.\n"})
    assert meaning_to_keep(meanings, "I certify\r\nthese data.", "fr") == "I certify\nthese data.\n"
    assert meaning_to_keep(meanings_of("Vu"), None, "en") == "Vu"
    with pytest.raises(InvalidInput):
        meaning_to_keep(meanings, "", "fr")


# ------------------------------------------------------------------ records


def record(office: Office, kind: str, number: int) -> dict[str, Any]:
    with office.doors.database.read() as connection:
        who = reader(connection, "project_manager", office.doors.clock.now())
    read = {"delegations": qualifications.delegation, "trainings": qualifications.training}[kind]
    return read(office.doors.database, who, number, locale="en")


def new_record(office: Office, kind: str) -> int:
    delegation = qualifications.NewDelegation("nurse.caen", "site_coordinator", "CAEN", office.ours, *DAYS)
    training = qualifications.NewTraining("nurse.caen", "small", "1.0.0", "CAEN", *DAYS)
    new = delegation if kind == "delegations" else training
    return qualifications.record(office.doors.database, office.doors.clock, new, by="project_manager")


@pytest.mark.parametrize("kind", ["delegations", "trainings"])
def test_a_record_means_the_same_by_every_door(office: Office, kind: str) -> None:
    sign = {"delegations": qualifications.sign_delegation, "trainings": qualifications.sign_training}[kind]
    said = set()
    visit, program = office.visit("inv.caen"), Caller(office.doors, "inv.caen")

    def by_the_page(number: int) -> None:
        path = f"/admin/{kind}/{number}"
        shown = visit.get(path).text.split('name="meaning" value="', 1)[1].split('"', 1)[0]
        assert visit.post(f"{path}/sign", {"meaning": shown, "password": PASSWORD}, of=path).status_code == 303

    def by_the_api(number: int) -> None:
        shown = program.ok(program.get(f"/{kind}/{number}"))["means"]
        program.ok(program.post(f"/{kind}/{number}/sign", {"meaning": shown, "password": PASSWORD}))

    def by_the_command(number: int) -> None:
        sign(office.doors.database, office.doors.clock, number, by="inv.caen", prove=unasked)

    for door in (by_the_page, by_the_api, by_the_command):
        number = new_record(office, kind)
        means = record(office, kind, number)["means"]
        door(number)
        found = record(office, kind, number)
        assert (found["meaning"], found["means"], found["signed_by"]) == (means, "", "inv.caen")
        said.add(found["meaning"])
    assert len(said) == 1
    assert "nurse.caen" in said.pop()


@pytest.mark.parametrize("kind", ["delegations", "trainings"])
def test_a_record_is_not_signed_in_the_signers_own_words(office: Office, kind: str) -> None:
    number, program, visit = new_record(office, kind), Caller(office.doors, "inv.caen"), office.visit("inv.caen")
    refused = program.post(f"/{kind}/{number}/sign", {"meaning": PROTEST, "password": PASSWORD})
    assert kind_of(refused) == (422, "InvalidInput")
    path = f"/admin/{kind}/{number}"
    assert visit.post(f"{path}/sign", {"meaning": PROTEST, "password": PASSWORD}, of=path).status_code == 422
    assert record(office, kind, number)["signed_by"] == ""


def test_a_delegation_for_the_whole_experiment_names_no_site(office: Office) -> None:
    new = qualifications.NewDelegation("nurse.caen", "methodologist", "", office.ours, DAYS[0])
    number = qualifications.record(office.doors.database, office.doors.clock, new, by="project_manager")
    assert record(office, "delegations", number)["means"] == (
        f"I delegate to nurse.caen the tasks of the role “Methodologist” in experiment {office.ours}, from Sunday 1 March 2026 on."
    )


def test_the_access_review_means_one_thing(office: Office) -> None:
    doors = office.doors
    with pytest.raises(InvalidInput):
        review.sign_review(doors.database, doors.clock, by="project_manager", prove=unasked, meaning=PROTEST)
    review.sign_review(doors.database, doors.clock, by="project_manager", prove=unasked)
    (entry,) = entries(doors.database, kind="AccessReviewed")
    assert entry["data"]["meaning"].startswith("I have reviewed today who may do what")
