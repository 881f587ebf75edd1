"""The access review, and what needs a manager's eye: rights, roles that nobody holds, who sees which of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from small import SMALL, launch
from sqlalchemy import update

from protocols.errors import InvalidInput, NotAssigned, Refused, UnknownThing
from sites import attention, deputies, people, policy, registry, review, sheets
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity import accounts, links, proofs, sessions, subjects, tokens
from sites.identity.access import entries
from sites.identity.accounts import create_account
from sites.identity.keys import Key
from sites.ledger import Ledger
from sites.signing import unasked
from sites.tables import Account

PASSWORD = "a long sentence nobody guesses"


@pytest.fixture
def codes(ledger: Ledger, registry: None, release: Callable[[str], str]) -> tuple[str, str]:
    """Two experiments: one at CAEN and METZ, one at SDEN."""
    release(SMALL)
    return launch(ledger, "CAEN", "METZ"), launch(ledger, "SDEN")


@pytest.fixture
def some_manager(database: Database, codes: tuple[str, str]) -> str:
    """A manager of the first experiment alone."""
    registry.assign(database, "nobody", "project_manager", None, codes[0])
    return "nobody"


def reader(ledger: Ledger, person: str) -> policy.Reader:
    with ledger.database.read() as connection:
        return policy.reader(connection, person, ledger.clock.now())


def held(ledger: Ledger, person: str, **narrowed: Any) -> set[tuple[str, str, str, str, str]]:
    found = review.rights(ledger.database, reader(ledger, person), **narrowed)["items"]
    return {(one["person"], one["role"], one["site"], one["experiment"], one["of"]) for one in found}


# ------------------------------------------------------------------ rights


def test_rights_are_assignments_in_force_and_those_of_deputies(ledger: Ledger, clock: SetClock, codes: tuple[str, str]) -> None:
    registry.assign(ledger.database, "nurse.metz", "site_coordinator", "METZ", until=date(2026, 1, 1))
    deputies.name_deputy(ledger.database, clock, "nurse.caen", "second.officer", date(2026, 3, 1), date(2026, 3, 9), by="project_manager")
    found = held(ledger, "project_manager", role="site_coordinator")
    assert found == {
        ("site_coordinator", "site_coordinator", "", "", ""),
        ("nurse.caen", "site_coordinator", "CAEN", "", ""),
        ("second.officer", "site_coordinator", "CAEN", "", "nurse.caen"),
    }
    clock.advance(timedelta(days=10))
    assert ("second.officer", "site_coordinator", "CAEN", "", "nurse.caen") not in held(ledger, "project_manager")


def test_a_manager_of_one_experiment_reviews_its_rights_alone(ledger: Ledger, codes: tuple[str, str], some_manager: str) -> None:
    ours, theirs = codes
    registry.assign(ledger.database, "nurse.metz", "site_coordinator", "SDEN")
    registry.assign(ledger.database, "nurse.metz", "site_coordinator", "CAEN", theirs)
    found = held(ledger, some_manager)
    assert {site for _, _, site, _, _ in found} == {"", "CAEN", "METZ"}
    assert {experiment for _, _, _, experiment, _ in found} == {"", ours}


def test_whoever_has_not_come_for_ninety_days_is_named(ledger: Ledger, clock: SetClock, codes: tuple[str, str]) -> None:
    now, account = clock.now(), table(Account)
    with ledger.database.write() as connection:
        for person, days in (("nurse.caen", 89), ("nurse.metz", 91)):
            create_account(connection, person, "a long sentence nobody guesses", now, by="project_manager")
            connection.execute(update(account).where(account.c.person == person).values(seen_at=now - timedelta(days=days)))
    with ledger.database.read() as connection:
        assert review.dormant(connection, reader(ledger, "project_manager")) == 1
    dormant = {person for person, *_ in held(ledger, "project_manager", only="dormant")}
    assert ("nurse.metz" in dormant, "nurse.caen" in dormant) == (True, False)


@pytest.mark.parametrize("way", ["password", "provider", "invitation", "recovery", "token", "link", "session"])
def test_whoever_came_by_any_way_is_not_called_dormant(ledger: Ledger, clock: SetClock, codes: tuple[str, str], way: str) -> None:
    """Ten minutes ago, and again when the session itself has been forgotten."""
    if way not in ("invitation", "link"):
        with ledger.database.write() as connection:
            create_account(connection, "nurse.caen", PASSWORD, clock.now(), by="project_manager")
    assert "nurse.caen" in dormant(ledger)
    come(ledger, codes[0], way)
    for later in (timedelta(minutes=10), timedelta(days=80)):
        clock.advance(later)
        with ledger.database.write() as connection:
            sessions.forget_old(connection, clock.now())
        assert "nurse.caen" not in dormant(ledger)
    clock.advance(timedelta(days=10))
    assert "nurse.caen" in dormant(ledger)


def dormant(ledger: Ledger) -> set[str]:
    found = review.rights(ledger.database, reader(ledger, "project_manager"), size=500)["items"]
    named = {one["person"] for one in found if one["dormant"]}
    assert {person for person, *_ in held(ledger, "project_manager", only="dormant", size=500)} == named
    return named


def come(ledger: Ledger, code: str, way: str) -> None:
    """Let the nurse of CAEN come in, as the doors let her."""
    database, clock, person, key = ledger.database, ledger.clock, "nurse.caen", Key("a key of thirty-two characters or more, for tests")
    if way == "password":
        assert proofs.check_password(database, clock, person, PASSWORD) == (person, False)
    elif way == "provider":
        claims = {"iss": "https://sso", "sub": "1", "email": f"{person}@example.org", "email_verified": True}
        assert subjects.person_of(database, clock, claims, "email").person == person
    elif way == "invitation":
        nonce = accounts.invite(database, clock, person, by="project_manager")
        with_link = links.open_link(database, clock, key, "invitation", links.token_of(key, "invitation", nonce))
        assert with_link
        assert accounts.accept_invitation(database, clock, with_link, PASSWORD)
    elif way == "recovery":
        nonce = accounts.recover(database, clock, person) or ""
        with_link = links.open_link(database, clock, key, "recovery", links.token_of(key, "recovery", nonce))
        assert with_link
        assert accounts.accept_recovery(database, clock, with_link, "another long sentence of hers")
    elif way == "token":
        assert tokens.read_token(database, clock, tokens.create_token(database, clock, person, "mine", "read", 300))
    else:
        with database.write() as connection:
            if way == "session":
                sessions.open_session(connection, person, clock.now(), method="password")
            else:
                lasts = timedelta(days=1)
                nonce = links.create_link(connection, "checkpoint", person, clock.now(), by=person, target=f"{code}:x:CAEN:1", lasts=lasts)
                assert links.use_link(connection, nonce, clock.now())


def test_rights_are_narrowed_and_paged(ledger: Ledger, codes: tuple[str, str]) -> None:
    manager = reader(ledger, "project_manager")
    assert {person for person, *_ in held(ledger, "project_manager", q="NURSE")} == {"nurse.caen", "nurse.metz"}
    assert held(ledger, "project_manager", q="%") == set()
    pages = [review.rights(ledger.database, manager, page=page, size=4) for page in (1, 2, 99)]
    assert [found["page"] for found in pages] == [1, 2, pages[0]["pages"]]
    assert pages[0]["items"][0] not in pages[1]["items"]


# ------------------------------------------------------------------ the signature


def test_a_review_leaves_a_mark_that_changes_with_the_rights(ledger: Ledger, clock: SetClock, codes: tuple[str, str]) -> None:
    database = ledger.database

    def sign() -> dict[str, Any]:
        return review.sign_review(database, clock, by="project_manager", prove=unasked)

    first, second = sign(), sign()
    registry.assign(database, "nobody", "sponsor")
    third = sign()
    assert first == second
    assert (third["rights"], third["mark"] != first["mark"]) == (first["rights"] + 1, True)
    assert [entry["data"]["mark"] for entry in entries(database, kind="AccessReviewed")] == [third["mark"], first["mark"], first["mark"]]


def test_a_review_counts_for_those_whose_rights_it_covered(
    ledger: Ledger, clock: SetClock, codes: tuple[str, str], some_manager: str
) -> None:
    database = ledger.database
    review.sign_review(database, clock, by=some_manager, prove=unasked)
    assert review.last_review(database, reader(ledger, "project_manager")) is None
    found = review.last_review(database, reader(ledger, some_manager))
    assert found is not None
    assert found["data"]["experiments"] == [codes[0]]


def test_a_review_is_a_managers_and_has_a_meaning(ledger: Ledger, clock: SetClock, codes: tuple[str, str]) -> None:
    with pytest.raises(NotAssigned):
        review.sign_review(ledger.database, clock, by="nurse.caen", prove=unasked)
    with pytest.raises(InvalidInput):
        review.sign_review(ledger.database, clock, by="project_manager", prove=unasked, meaning=" ")


# ------------------------------------------------------------------ roles that nobody holds


def missing(ledger: Ledger, person: str) -> list[tuple[str, str, str]]:
    with ledger.database.read() as connection:
        found = attention.vacancies(connection, reader(ledger, person))
    return [(one["experiment"], one["site"], one["role"]) for one in found]


def test_a_role_that_somebody_holds_everywhere_is_not_missing(ledger: Ledger, codes: tuple[str, str]) -> None:
    assert missing(ledger, "project_manager") == []


def test_roles_are_missed_at_active_sites_of_running_experiments(ledger: Ledger, codes: tuple[str, str], some_manager: str) -> None:
    (ours, theirs), over = codes, date(2026, 1, 1)
    for role in ("site_coordinator", "methodologist"):
        registry.assign(ledger.database, role, role, until=over)
    expected = [(ours, "", "methodologist"), (theirs, "", "methodologist"), (theirs, "SDEN", "site_coordinator")]
    assert missing(ledger, "project_manager") == expected
    assert missing(ledger, some_manager) == expected[:1]
    registry.assign(ledger.database, "nobody", "methodologist", None, ours)
    registry.assign(ledger.database, "nobody", "site_coordinator", "SDEN", theirs)
    assert missing(ledger, "project_manager") == expected[1:2]
    ledger.stop(theirs, "project_manager", "over")
    assert missing(ledger, "project_manager") == []


# ------------------------------------------------------------------ people


def test_people_are_listed_by_the_state_of_their_account(ledger: Ledger, clock: SetClock, codes: tuple[str, str]) -> None:
    with ledger.database.write() as connection:
        for person in ("nurse.caen", "nurse.metz", "sponsor"):
            create_account(connection, person, "a long sentence nobody guesses", clock.now(), by="project_manager")
        locked = update(table(Account)).where(table(Account).c.person == "sponsor")
        connection.execute(locked.values(locked_until=clock.now() + timedelta(minutes=5)))
    accounts.disable(ledger.database, clock, "nurse.metz", by="project_manager")
    accounts.invite(ledger.database, clock, "nobody", by="project_manager")
    manager = reader(ledger, "project_manager")

    def found(state: str) -> set[str]:
        items = people.people(ledger.database, manager, account=state)["items"]
        assert {item["account"] for item in items} <= {state}
        return {item["id"] for item in items}

    states = {state: found(state) for state in people.ACCOUNT_STATES}
    assert (states["open"], states["closed"], states["invited"], states["locked"]) == (
        {"nurse.caen"},
        {"nurse.metz"},
        {"nobody"},
        {"sponsor"},
    )
    assert sum(map(len, states.values())) == people.people(ledger.database, manager)["total"]


def test_a_manager_of_one_experiment_sees_its_people_alone(ledger: Ledger, codes: tuple[str, str], some_manager: str) -> None:
    values = {"id": "nurse.sden", "name": "Sidonie", "email": "s@example.org", "locale": "fr"}
    registry.save_person(ledger.database, ledger.clock, values, by="project_manager", new=True)
    registry.assign(ledger.database, "nurse.sden", "site_coordinator", "SDEN")
    manager = reader(ledger, some_manager)
    assert "nurse.sden" not in {one["id"] for one in people.people(ledger.database, manager)["items"]}
    with ledger.database.read() as connection, pytest.raises(UnknownThing):
        people.person(connection, manager, "nurse.sden")
    assert people.assignments(ledger.database, manager, person="nurse.sden")["total"] == 0


# ------------------------------------------------------------------ single rows of the registry


def test_rows_are_changed_by_whoever_manages_everything(ledger: Ledger, clock: SetClock, codes: tuple[str, str], some_manager: str) -> None:
    site = {"code": "CAEN", "name": "Renamed", "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"}
    with pytest.raises(NotAssigned):
        registry.save_site(ledger.database, clock, site, by=some_manager, new=False)
    with pytest.raises(NotAssigned):
        registry.import_file(ledger.database, "sites: []\n", "x.yaml", by=some_manager, clock=clock)
    registry.save_site(ledger.database, clock, site, by="project_manager", new=False)
    registry.save_site(ledger.database, clock, site, by="project_manager", new=False)
    assert len(entries(ledger.database, kind="SiteChanged")) == 1
    with pytest.raises(UnknownThing):
        registry.save_site(ledger.database, clock, site | {"code": "NONE"}, by="project_manager", new=False)


def test_the_last_manager_of_everything_cannot_be_ended(ledger: Ledger, clock: SetClock, codes: tuple[str, str]) -> None:
    with ledger.database.write() as connection:
        create_account(connection, "project_manager", "a long sentence nobody guesses", clock.now(), by="")
    manager = reader(ledger, "project_manager")
    (one,) = people.assignments(ledger.database, manager, role="project_manager")["items"]
    with pytest.raises(Refused):
        registry.end_assignment(ledger.database, clock, one["id"], by="project_manager")
    registry.assign(ledger.database, "nobody", "project_manager")
    with pytest.raises(Refused):  # nobody has no account: they could not come in
        registry.end_assignment(ledger.database, clock, one["id"], by="project_manager")
    with ledger.database.write() as connection:
        create_account(connection, "nobody", "a long sentence nobody guesses", clock.now(), by="")
    assert registry.end_assignment(ledger.database, clock, one["id"], by="project_manager")["until_date"] == date(2026, 3, 2)
    assert registry.end_assignment(ledger.database, clock, one["id"], by="project_manager")["until_date"] == date(2026, 3, 2)
    assert len(entries(ledger.database, kind="RoleEnded")) == 1


# ------------------------------------------------------------------ cells

CELLS = [
    "=1+1",
    "+33",
    "-5",
    "@x",
    "\tx",
    "\rx",
    "'=1",
    "''=1",
    "'quoted'",
    "plain",
    "",
    " =1",
    "é",
    "\n=1",
    "\u00a0+1",
    "＝1",
    "’=1",
    "−1",
]


@pytest.mark.parametrize("text", CELLS)
def test_a_cell_is_never_a_formula_and_is_read_back_as_it_was(text: str) -> None:
    cell = sheets.safe_cell(text)
    assert not cell.strip().startswith(("=", "+", "-", "@", "＝", "−"))
    assert not cell.startswith(("\t", "\r"))
    assert sheets.typed_cell(cell) == text
