"""Whoever is invited can prove who they are; whoever guesses is locked out, and told nothing."""

from __future__ import annotations

import time
from datetime import timedelta
from statistics import median

import pyotp
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from protocols.errors import InvalidInput, NotAssigned, NotProven, Refused, TooOften, UnknownThing
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity import accounts, passwords, proofs, second_factor, sessions, tokens
from sites.identity.access import entries, verify
from sites.identity.keys import Key
from sites.identity.limits import Door, Limits
from sites.identity.links import open_link, token_of
from sites.tables import Account, Letter, Person

KEY = Key("a key of thirty-two characters or more, for tests")
GOOD = "the tram stops at seven"
NURSE, MANAGER = "nurse.caen", "project_manager"


@pytest.fixture(autouse=True)
def people(registry: None) -> None:
    """Every test here has the small registry."""


def give_account(database: Database, clock: SetClock, person: str = NURSE, password: str = GOOD) -> None:
    with database.write() as connection:
        accounts.create_account(connection, person, password, clock.now(), by=MANAGER)


def prove(database: Database, clock: SetClock, password: str = GOOD, code: str = "", person: str = NURSE) -> None:
    accounts.prove(database, clock, KEY, person, password=password, code=code)


def fail(database: Database, clock: SetClock, times: int) -> None:
    for _ in range(times):
        with pytest.raises(NotProven):
            prove(database, clock, "a wrong password")


def account(database: Database, person: str = NURSE) -> dict[str, object]:
    with database.read() as connection:
        found = accounts.account_of(connection, person)
    assert found is not None
    return dict(found)


def kinds(database: Database) -> list[str]:
    return [one["kind"] for one in reversed(entries(database))]


def set_factor(database: Database, clock: SetClock) -> tuple[pyotp.TOTP, list[str]]:
    secret = second_factor.new_secret()
    totp = pyotp.TOTP(secret)
    codes = second_factor.set_second_factor(database, clock, KEY, NURSE, secret, totp.at(clock.now()))
    clock.advance(timedelta(seconds=60))
    return totp, codes


# ------------------------------------------------------------------ passwords


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("eleven char", "at least 12"),
        ("x" * 1001, "at most 1000"),
        ("Nurse.Caen2026", "made of your name"),
        ("nurse.caen@example.org", "made of your name"),
        ("motdepasse2026", "tried first"),
        ("Motdepassé2026!", "tried first"),
        ("123456789012", "tried first"),
        ("aaaaaaaaaaaaaaaa", "tried first"),
        ("passwordpassword", "tried first"),
        ("abcdefghijklm", "tried first"),
    ],
)
def test_a_password_that_is_guessed_first_is_refused(password: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        passwords.check(password, NURSE, "Nurse Caen", "nurse.caen@example.org")


@pytest.mark.parametrize("password", [GOOD, "plume cadran nurse orage", "𝄞 une clé de sol 𝄞", "   spaces   count   ", "Zr4$kq!mwP0x"])
def test_length_is_enough_without_a_mixture_of_characters(password: str) -> None:
    passwords.check(password, NURSE, "Nurse Caen", "nurse.caen@example.org")


def test_a_password_lies_in_the_database_as_argon2id_with_owasps_parameters(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    assert str(account(database)["password"]).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_password_typed_on_another_keyboard_is_the_same(database: Database, clock: SetClock) -> None:
    give_account(database, clock, password="éléphant sans défense")
    prove(database, clock, "e\u0301le\u0301phant sans de\u0301fense")


def test_a_hash_of_other_parameters_is_made_anew_when_its_person_comes(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    with database.write() as connection:
        old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(GOOD)
        connection.execute(update(table(Account)).values(password=old))
    prove(database, clock)
    assert "m=19456" in str(account(database)["password"])
    prove(database, clock)


def test_a_stranger_is_told_the_same_as_a_wrong_password_and_waits_as_long(database: Database, clock: SetClock) -> None:
    give_account(database, clock)

    def told(name: str) -> tuple[str, float]:
        begun = time.process_time()
        with pytest.raises(NotProven) as caught:
            proofs.check_password(database, clock, name, "a wrong password")
        return str(caught.value), time.process_time() - begun

    told("warm.up")
    known, unknown, without = ([told(name) for _ in range(5)] for name in (NURSE, "who.ever", "methodologist"))
    assert len({message for message, _ in (*known, *unknown, *without)}) == 1
    # One Argon2 each, some 20 ms; without it an answer would come in two.
    times = [median(taken for _, taken in each) for each in (known, unknown, without)]
    assert max(times) < 3 * min(times)


def test_a_person_comes_in_by_id_or_by_email_in_any_case(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    for name in (NURSE, " nurse.caen ", "Nurse.Caen@Example.ORG"):
        assert proofs.check_password(database, clock, name, GOOD) == (NURSE, False)
    assert account(database)["seen_at"] == clock.now()


def test_an_email_that_two_people_share_lets_neither_in(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    with database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == "nurse.metz").values(email="nurse.caen@example.org"))
    with pytest.raises(NotProven):
        proofs.check_password(database, clock, "nurse.caen@example.org", GOOD)


# ------------------------------------------------------------------ lock-out


def test_ten_failures_in_a_row_lock_an_account_for_a_quarter_of_an_hour(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    fail(database, clock, 9)
    prove(database, clock)
    fail(database, clock, 10)
    with pytest.raises(NotProven):
        prove(database, clock)
    clock.advance(timedelta(minutes=14, seconds=59))
    with pytest.raises(NotProven):
        prove(database, clock)
    clock.advance(timedelta(seconds=1))
    prove(database, clock)
    assert kinds(database).count("AccountLocked") == 1


def test_the_lock_lasts_twice_as_long_the_next_time(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    fail(database, clock, 10)
    clock.advance(timedelta(minutes=15))
    fail(database, clock, 10)
    clock.advance(timedelta(minutes=29))
    with pytest.raises(NotProven):
        prove(database, clock)
    clock.advance(timedelta(minutes=1))
    prove(database, clock)
    assert account(database)["failures"] == 0


def test_guesses_during_the_lock_are_not_looked_at_and_do_not_prolong_it(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    fail(database, clock, 25)
    assert account(database)["failures"] == 10
    clock.advance(timedelta(minutes=15))
    prove(database, clock)


def test_every_failure_is_journaled_without_what_was_typed(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    fail(database, clock, 1)
    with pytest.raises(NotProven):
        proofs.check_password(database, clock, "my password typed in the wrong field", "x", address="192.0.2.7")
    failed = entries(database, kind="SignInFailed")
    assert [(one["person"], one["data"]["why"], one["address"]) for one in failed] == [
        ("", "unknown", "192.0.2.7"),
        (NURSE, "password", ""),
    ]
    assert "wrong field" not in str(failed)
    assert verify(database)["ok"]


def test_an_address_is_held_back_after_its_tries_and_another_is_not() -> None:
    limits = Limits()
    for _ in range(10):
        limits.check(Door.SETUP, "192.0.2.7")
        limits.count(Door.SETUP, "192.0.2.7")
    with pytest.raises(TooOften):
        limits.check(Door.SETUP, "192.0.2.7")
    limits.check(Door.SETUP, "192.0.2.8")
    limits.check(Door.SIGN_IN, "192.0.2.7")


# ------------------------------------------------------------------ second factor


def test_a_second_factor_is_asked_beside_the_password(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    totp, _ = set_factor(database, clock)
    assert proofs.check_password(database, clock, NURSE, GOOD) == (NURSE, True)
    for code in ("", "000000", "not a code", "１２３４５６"):
        with pytest.raises(NotProven):
            prove(database, clock, code=code)
    prove(database, clock, code=totp.at(clock.now()))


def test_a_right_password_alone_does_not_forget_the_failures(database: Database, clock: SetClock) -> None:
    """Else whoever has the password could guess codes for ever."""
    give_account(database, clock)
    set_factor(database, clock)
    for _ in range(10):
        proofs.check_password(database, clock, NURSE, GOOD)
        with pytest.raises(NotProven):
            proofs.check_code(database, clock, KEY, NURSE, "000000")
    with pytest.raises(NotProven):
        proofs.check_password(database, clock, NURSE, GOOD)


def test_a_code_works_once_and_so_does_an_older_one(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    totp, _ = set_factor(database, clock)
    now, before = totp.at(clock.now()), totp.at(clock.now() - timedelta(seconds=30))
    prove(database, clock, code=now)
    for code in (now, before):
        with pytest.raises(NotProven):
            prove(database, clock, code=code)


@pytest.mark.parametrize(("seconds", "is_taken"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_code_is_taken_from_a_clock_half_a_minute_wrong(database: Database, clock: SetClock, seconds: int, is_taken: bool) -> None:
    give_account(database, clock)
    totp, _ = set_factor(database, clock)
    clock.advance(timedelta(minutes=5))
    code = totp.at(clock.now() + timedelta(seconds=seconds))
    if is_taken:
        prove(database, clock, code=f"{code[:3]} {code[3:]}")
    else:
        with pytest.raises(NotProven):
            prove(database, clock, code=code)


def test_a_recovery_code_works_once_in_place_of_a_code(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    _, codes = set_factor(database, clock)
    assert len(set(codes)) == 10
    prove(database, clock, code=codes[3].upper().replace("-", " "))
    with pytest.raises(NotProven):
        prove(database, clock, code=codes[3])
    assert second_factor.codes_left(database, NURSE) == 9
    renewed = second_factor.renew_codes(database, clock, NURSE)
    with pytest.raises(NotProven):
        prove(database, clock, code=codes[4])
    prove(database, clock, code=renewed[4])


def test_neither_the_secret_nor_a_recovery_code_lies_readable_in_the_database(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    totp, codes = set_factor(database, clock)
    kept = str(account(database)) + str(entries(database))
    assert totp.secret not in kept
    assert not [code for code in codes if code in kept or code.replace("-", "") in kept]


def test_a_second_factor_is_set_only_by_a_code_of_it_and_not_over_another(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    with pytest.raises(InvalidInput):
        second_factor.set_second_factor(database, clock, KEY, NURSE, second_factor.new_secret(), "123456")
    set_factor(database, clock)
    secret = second_factor.new_secret()
    with pytest.raises(Refused):
        second_factor.set_second_factor(database, clock, KEY, NURSE, secret, pyotp.TOTP(secret).at(clock.now()))
    assert second_factor.remove_second_factor(database, clock, NURSE, by=NURSE)
    assert not second_factor.remove_second_factor(database, clock, NURSE, by=NURSE)
    prove(database, clock)


# ------------------------------------------------------------------ invitation and recovery


def test_an_invitation_is_owed_once_and_makes_an_account(database: Database, clock: SetClock) -> None:
    nonce = accounts.invite(database, clock, NURSE, by=MANAGER)
    with database.read() as connection:
        letter = connection.execute(select(table(Letter))).mappings().one()
    assert (letter["kind"], letter["person"], letter["link"], letter["state"]) == ("invitation", NURSE, nonce, "owed")
    link = open_link(database, clock, KEY, "invitation", token_of(KEY, "invitation", nonce))
    assert link is not None
    with pytest.raises(InvalidInput):
        accounts.accept_invitation(database, clock, link, "too short")
    assert accounts.accept_invitation(database, clock, link, GOOD)
    prove(database, clock)
    assert not accounts.accept_invitation(database, clock, link, "another password of mine")
    with pytest.raises(Refused):
        accounts.invite(database, clock, NURSE, by=MANAGER)


def test_an_invitation_revokes_the_earlier_one(database: Database, clock: SetClock) -> None:
    first = accounts.invite(database, clock, NURSE, by=MANAGER)
    second = accounts.invite(database, clock, NURSE, by=MANAGER)
    assert open_link(database, clock, KEY, "invitation", token_of(KEY, "invitation", first)) is None
    assert open_link(database, clock, KEY, "invitation", token_of(KEY, "invitation", second)) is not None


def test_only_a_project_manager_invites_closes_and_opens(database: Database, clock: SetClock) -> None:
    for act in (accounts.invite, accounts.disable, accounts.enable):
        with pytest.raises(NotAssigned):
            act(database, clock, "nurse.metz", by=NURSE)
        with pytest.raises(UnknownThing):
            act(database, clock, "who.ever", by=MANAGER)


def test_a_recovery_ends_every_session_and_lifts_the_lock_but_keeps_the_second_factor(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    totp, _ = set_factor(database, clock)
    with database.write() as connection:
        cookie = sessions.open_session(connection, NURSE, clock.now(), method="password")
    fail(database, clock, 10)
    accounts.recovery_of(database, clock, "NURSE.CAEN@example.org")
    with database.read() as connection:
        nonce = connection.execute(select(table(Letter).c.link)).scalar_one()
    link = open_link(database, clock, KEY, "recovery", token_of(KEY, "recovery", nonce))
    assert link is not None
    assert accounts.accept_recovery(database, clock, link, "another password of mine")
    assert not accounts.accept_recovery(database, clock, link, "and yet another one")
    found = sessions.read_session(database, clock, cookie)
    assert found is not None
    assert not found.is_live
    prove(database, clock, "another password of mine", totp.at(clock.now()))


def test_asking_over_and_over_sends_one_letter_in_five_minutes(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    for _ in range(3):
        accounts.recovery_of(database, clock, NURSE)
    accounts.recovery_of(database, clock, "who.ever")
    accounts.recovery_of(database, clock, "methodologist")
    accounts.recovery_of(database, clock, "nul\0l")
    with database.read() as connection:
        assert len(connection.execute(select(table(Letter))).all()) == 1
    clock.advance(timedelta(minutes=5))
    accounts.recovery_of(database, clock, NURSE)
    with database.read() as connection:
        assert len(connection.execute(select(table(Letter))).all()) == 2


# ------------------------------------------------------------------ closing and opening


def test_a_closed_account_ends_sessions_tokens_and_links_at_once(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    with database.write() as connection:
        cookie = sessions.open_session(connection, NURSE, clock.now(), method="password")
    token = tokens.create_token(database, clock, NURSE, "mine", "read", 30)
    accounts.recovery_of(database, clock, NURSE)
    assert accounts.disable(database, clock, NURSE, by=MANAGER)
    assert not accounts.disable(database, clock, NURSE, by=MANAGER)
    found = sessions.read_session(database, clock, cookie)
    assert found is not None
    assert not found.is_live
    assert tokens.read_token(database, clock, token) is None
    with pytest.raises(NotProven):
        prove(database, clock)
    assert accounts.recover(database, clock, NURSE, by=MANAGER) is None
    assert accounts.enable(database, clock, NURSE, by=MANAGER)
    prove(database, clock)
    assert tokens.read_token(database, clock, token) is None


def test_nobody_closes_their_own_account(database: Database, clock: SetClock) -> None:
    with pytest.raises(Refused):
        accounts.disable(database, clock, MANAGER, by=MANAGER)


def test_the_list_says_how_each_person_signs_in(database: Database, clock: SetClock) -> None:
    give_account(database, clock)
    accounts.disable(database, clock, "nobody", by=MANAGER)
    listed = {one["person"]: one for one in accounts.accounts(database)}
    assert (listed[NURSE]["password"], listed[NURSE]["second_factor"], listed[NURSE]["oidc"]) == (True, False, False)
    assert not listed["methodologist"]["has_account"]
    assert listed["nobody"]["disabled_at"] == clock.now()


# ------------------------------------------------------------------ the first manager


def test_the_first_manager_is_made_once(database: Database, clock: SetClock) -> None:
    assert not accounts.has_accounts(database)
    person = {"id": "a.martin", "name": "Alice Martin", "email": "a.martin@example.org", "locale": "fr"}
    assert accounts.set_up(database, clock, person, GOOD)
    assert not accounts.set_up(database, clock, person | {"id": "b.petit"}, GOOD)
    assert accounts.person_of(database, "b.petit") is None
    prove(database, clock, person="a.martin")
    assert accounts.invite(database, clock, NURSE, by="a.martin")
    assert kinds(database)[:2] == ["AccountCreated", "RoleAssigned"]


def test_an_account_closed_beforehand_does_not_keep_the_first_manager_out(database: Database, clock: SetClock) -> None:
    accounts.disable(database, clock, NURSE, by=MANAGER)
    assert not accounts.has_accounts(database)


def test_a_refused_password_leaves_no_half_made_manager(database: Database, clock: SetClock) -> None:
    person = {"id": "a.martin", "name": "Alice Martin", "email": "a.martin@example.org", "locale": "fr"}
    with pytest.raises(InvalidInput):
        accounts.set_up(database, clock, person, "alice martin")
    assert accounts.person_of(database, "a.martin") is None


def test_an_imported_person_can_be_the_first_manager(database: Database, clock: SetClock) -> None:
    given = {"id": "nobody", "name": "Some Body", "email": "some@example.org", "locale": "fr"}
    assert accounts.set_up(database, clock, given, GOOD)
    assert accounts.person_of(database, "nobody") == given | {"channels": []}
    accounts.invite(database, clock, NURSE, by="nobody")
