"""What a deputy does not get: the power to stay. And whose names stand in the journals when one acts for another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from small import SMALL, launch
from sqlalchemy import select

from protocols.errors import NotAssigned
from sites import conflicts, deputies, glass, inbox, policy, preferences, qualifications, registry, review
from sites.checkpoint_links import send_link, take_back
from sites.clock import SetClock
from sites.database import table
from sites.identity import accounts, subjects
from sites.identity.access import entries
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.qualifications import NewDelegation, NewTraining
from sites.signing import unasked
from sites.tables import Account, Assignment, Deputy, Link, Person, Site

MONDAY, UNTIL = date(2026, 3, 2), date(2026, 3, 9)
DEPUTY, MANAGER = "nobody", "project_manager"
PERSON = {"id": "nurse.caen", "name": "Nurse", "email": "moved@example.org", "locale": "en"}
SITE = {"code": "CAEN", "name": "Renamed", "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"}


@pytest.fixture
def code(ledger: Ledger, registry: None, release: Callable[[str], str]) -> str:
    """An experiment, and somebody who stands in for the manager of everything for a week."""
    release(SMALL)
    found = launch(ledger)
    deputies.name_deputy(ledger.database, ledger.clock, MANAGER, DEPUTY, MONDAY, UNTIL, by=MANAGER)
    with ledger.database.write() as connection:
        accounts.create_account(connection, "nurse.metz", "a long sentence nobody guesses", ledger.clock.now(), by=MANAGER)
    return found


Act = Callable[[Ledger, str, str], object]

# What gives power, or a way to it, to stay: by whom it is done is the last argument.
LASTING: dict[str, Act] = {
    "a role": lambda ledger, code, by: registry.assign(ledger.database, by, MANAGER, by=by, clock=ledger.clock),
    "a role in an experiment": lambda ledger, code, by: registry.assign(
        ledger.database, by, "methodologist", None, code, by=by, clock=ledger.clock
    ),
    "the end of a role": lambda ledger, code, by: registry.end_assignment(ledger.database, ledger.clock, 4, by=by),
    "an import": lambda ledger, code, by: registry.import_file(
        ledger.database, "people: [{id: new, name: New, email: n@example.org}]\n", "x.yaml", by=by, clock=ledger.clock
    ),
    "an address": lambda ledger, code, by: registry.save_person(ledger.database, ledger.clock, PERSON, by=by, new=False),
    "a new person": lambda ledger, code, by: registry.save_person(ledger.database, ledger.clock, PERSON | {"id": "new"}, by=by, new=True),
    "channels": lambda ledger, code, by: preferences.set_channels(ledger.database, ledger.clock, "nurse.caen", by, ["ntfy://x/y"]),
    "wishes": lambda ledger, code, by: preferences.set_preference(ledger.database, ledger.clock, "nurse.caen", by, muted=["opened"]),
    "an invitation": lambda ledger, code, by: accounts.invite(ledger.database, ledger.clock, "nurse.caen", by=by),
    "a recovery": lambda ledger, code, by: accounts.recover(ledger.database, ledger.clock, "nurse.metz", by=by),
    "a closing": lambda ledger, code, by: accounts.disable(ledger.database, ledger.clock, "nurse.metz", by=by),
    "an opening": lambda ledger, code, by: accounts.enable(ledger.database, ledger.clock, "nurse.metz", by=by),
    "a second factor": lambda ledger, code, by: accounts.require_account_manager(ledger.database, ledger.clock, by, "nurse.metz"),
    "a provider": lambda ledger, code, by: subjects.introduce(ledger.database, ledger.clock, "nurse.caen", "https://sso|1", by=by),
    "a deputy": lambda ledger, code, by: deputies.name_deputy(ledger.database, ledger.clock, "sponsor", by, MONDAY, UNTIL, by=by),
    "a longer time": lambda ledger, code, by: deputies.name_deputy(
        ledger.database, ledger.clock, MANAGER, DEPUTY, MONDAY, date(2026, 12, 31), by=by
    ),
}


def kept(ledger: Ledger) -> list[Any]:
    """Every row that such an act may change."""
    with ledger.database.read() as connection:
        return [connection.execute(select(table(one))).all() for one in (Person, Assignment, Account, Deputy, Link, Site)]


@pytest.mark.parametrize("what", LASTING)
def test_nothing_that_lasts_is_given_or_changed_as_a_deputy(ledger: Ledger, code: str, what: str) -> None:
    before, told = kept(ledger), entries(ledger.database)
    with pytest.raises(NotAssigned, match="deputy"):
        LASTING[what](ledger, code, DEPUTY)
    assert (kept(ledger), entries(ledger.database)) == (before, told)
    registry.assign(ledger.database, DEPUTY, MANAGER)  # in one's own right it is done, deputy or not
    LASTING[what](ledger, code, DEPUTY)


def test_a_managers_deputy_in_one_experiment_gives_no_role_there(ledger: Ledger, code: str) -> None:
    registry.assign(ledger.database, "sponsor", MANAGER, None, code)
    deputies.name_deputy(ledger.database, ledger.clock, "sponsor", "nurse.caen", MONDAY, UNTIL, by=MANAGER)
    with pytest.raises(NotAssigned, match="As the deputy of sponsor"):
        registry.assign(ledger.database, "nurse.caen", MANAGER, None, code, by="nurse.caen", clock=ledger.clock)


# ------------------------------------------------------------------ both names in the journals

OF_A_MANAGER: dict[str, Act] = {
    "a site": lambda ledger, code, by: registry.save_site(ledger.database, ledger.clock, SITE, by=by, new=False),
    "a conflict": lambda ledger, code, by: conflicts.declare(ledger.database, ledger.clock, "nurse.caen", code, "shares", by=by),
    "a review": lambda ledger, code, by: review.sign_review(ledger.database, ledger.clock, by=by, prove=unasked),
    "a delegation": lambda ledger, code, by: qualifications.record(ledger.database, ledger.clock, delegation(code), by=by),
    "its end": lambda ledger, code, by: qualifications.end_delegation(
        ledger.database, ledger.clock, recorded(ledger, delegation(code)), by=by, on=MONDAY, why="Left"
    ),
    "a training": lambda ledger, code, by: qualifications.record(ledger.database, ledger.clock, TRAINING, by=by),
    "a training's end": lambda ledger, code, by: qualifications.end_training(
        ledger.database, ledger.clock, recorded(ledger, TRAINING), by=by, on=MONDAY, why="Again"
    ),
    "a link": lambda ledger, code, by: send_link(ledger.database, ledger.clock, f"{code}:review::1", "methodologist", by=by),
    "a link taken back": lambda ledger, code, by: take_back(
        ledger.database, ledger.clock, f"{code}:review::1", linked(ledger, code), by=by
    ),
    "the glass": lambda ledger, code, by: glass.break_glass(ledger.database, ledger.clock, by, code, "CAEN", "An alarm"),
}
TRAINING = NewTraining("nurse.caen", "small", "1.0.0", "CAEN", MONDAY)


def delegation(code: str) -> NewDelegation:
    return NewDelegation("nurse.caen", "site_coordinator", "CAEN", code, MONDAY)


def recorded(ledger: Ledger, new: NewDelegation | NewTraining) -> int:
    return qualifications.record(ledger.database, ledger.clock, new, by=MANAGER)


def linked(ledger: Ledger, code: str) -> str:
    send_link(ledger.database, ledger.clock, f"{code}:review::1", "methodologist", by=MANAGER)
    with ledger.database.read() as connection:
        return str(connection.execute(select(table(Link).c.id).where(table(Link).c.target == f"{code}:review::1")).scalar_one())


@pytest.mark.parametrize("what", OF_A_MANAGER)
def test_what_a_deputy_does_is_in_the_access_journal_under_both_names(ledger: Ledger, code: str, what: str) -> None:
    OF_A_MANAGER[what](ledger, code, DEPUTY)
    (entry, *_) = entries(ledger.database)
    assert (entry["by"], entry["data"].get("of")) == (DEPUTY, MANAGER)
    registry.assign(ledger.database, DEPUTY, MANAGER)
    number = len(entries(ledger.database))
    OF_A_MANAGER[what](ledger, launch(ledger), DEPUTY)
    assert not any("of" in entry["data"] for entry in entries(ledger.database)[: -number or None])


def test_what_a_deputy_says_is_in_the_experiments_journal_under_both_names(ledger: Ledger, clock: SetClock, code: str) -> None:
    deputies.name_deputy(ledger.database, clock, "methodologist", "sponsor", MONDAY, UNTIL, by=MANAGER)
    number = ledger.ask(f"{code}:review::1", "methodologist", "How long?")
    ledger.answer(f"{code}:review::1", number, DEPUTY, "A week")
    ledger.decline(f"{code}:review::1", "sponsor", "Away")
    told = {fact["kind"]: (fact["by"], fact["data"].get("of")) for fact in inbox.journal(ledger.database, code, EVERYTHING)}
    assert told["QuestionAnswered"] == (DEPUTY, MANAGER)
    assert told["CheckpointDeclined"] == ("sponsor", "methodologist")
    assert told["QuestionAsked"] == ("methodologist", None)


def test_a_reader_knows_what_is_their_own_and_what_is_lent(ledger: Ledger, code: str) -> None:
    with ledger.database.read() as connection:
        found = policy.reader(connection, DEPUTY, ledger.clock.now())
    assert (found.is_manager, found.in_own_right.is_manager, found.deputises, found.manages_for()) == (True, False, (MANAGER,), MANAGER)
