"""Whom an OpenID provider vouches for is who they are to the letter, and whoever was unlinked stays so until somebody links them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from protocols.errors import InvalidInput, NotAssigned, NotProven, Refused, UnknownThing
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity import accounts, proofs, sessions, tokens
from sites.identity.access import entries, verify
from sites.identity.emails import is_same
from sites.identity.links import create_link, links_of
from sites.identity.subjects import Known, introduce, link_subject, person_of, subject_named, unlink_subject
from sites.tables import Letter, Person

ISSUER, GOOD = "https://issuer.example", "the tram stops at seven"
NURSE, OTHER, MANAGER = "nurse.caen", "nurse.metz", "project_manager"
EMAIL = "k.s.hoarau@example.org"
IMPOSTORS = {
    "the Kelvin sign": "\u212a.s.hoarau@example.org",
    "the long s": "k.\u017f.hoarau@example.org",
    "fullwidth letters": "\uff4b.s.hoarau@example.org",
    "a null character": "k.s.hoarau\0@example.org",
    "a null character at the end": EMAIL + "\0",
    "a zero-width space": "k.s.hoarau\u200b@example.org",
    "a soft hyphen": "k.s.hoa\u00adrau@example.org",
    "a blank at the end": EMAIL + " ",
    "a line's end": EMAIL + "\n",
    "half a character": EMAIL + "\ud800",
    "another form of the same letter": "k.s.hoar\u0061\u0301u@example.org",
}


@pytest.fixture(autouse=True)
def people(registry: None, database: Database) -> None:
    """The small registry, with a nurse whose e-mail is easy to imitate."""
    with database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == NURSE).values(email=EMAIL))


def come(database: Database, clock: SetClock, email: Any = EMAIL, sub: str = "s-1", claim: str = "email") -> Known:
    return person_of(database, clock, {"iss": ISSUER, "sub": sub, "email": email, "email_verified": True}, claim)


def test_nobody_comes_in_by_an_email_that_only_looks_like_one(database: Database, clock: SetClock) -> None:
    for name, email in IMPOSTORS.items():
        assert come(database, clock, email) == Known("", f"{ISSUER}|s-1", "unknown"), name
    assert come(database, clock, "K.S.Hoarau@EXAMPLE.org").person == NURSE


def test_nobody_signs_in_or_recovers_by_an_email_that_only_looks_like_one(database: Database, clock: SetClock) -> None:
    with database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=MANAGER)
    for name, email in IMPOSTORS.items():
        if email.strip() != EMAIL:  # what stands around a name as it is typed is no part of it
            accounts.recovery_of(database, clock, email)
            with pytest.raises(NotProven):
                pytest.fail(f"{name}: {proofs.check_password(database, clock, email, GOOD)}")
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(table(Letter))).scalar() == 0
    assert proofs.check_password(database, clock, f" {EMAIL.upper()}\n", GOOD) == (NURSE, False)


def test_an_email_with_other_letters_than_asciis_is_one_to_the_letter(database: Database, clock: SetClock) -> None:
    with database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == NURSE).values(email="É.Hoarau@example.org"))
    assert come(database, clock, "é.hoarau@example.org").why == "unknown"
    assert come(database, clock, "É.hoarau@example.org").why == "unknown"
    assert come(database, clock, "É.Hoarau@example.org").person == NURSE


def test_two_people_with_one_email_are_nobody(database: Database, clock: SetClock) -> None:
    with database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == OTHER).values(email=EMAIL.upper()))
    assert come(database, clock).why == "unknown"


def test_emails_are_alike_but_for_asciis_capitals_only() -> None:
    assert is_same("A@B.org", "a@b.ORG")
    assert is_same("É@b.org", "É@b.org")
    assert not is_same("É@b.org", "é@b.org")
    assert not is_same("straße@b.org", "strasse@b.org")
    assert not is_same("a\0@b.org", "a\0@b.org")


def test_what_is_no_name_there_names_nobody(database: Database, clock: SetClock) -> None:
    for value in ("", None, 7, True, ["s"], "s\0", "s\n", "s\ud800", "s" * 256):
        assert subject_named(ISSUER, value) == "", value
        assert person_of(database, clock, {"iss": ISSUER, "sub": "s", "x": value}, "x").why == "claims", value
    with pytest.raises(InvalidInput):
        introduce(database, clock, NURSE, "", by=MANAGER)
    assert verify(database)["ok"]


# ------------------------------------------------------------------ unlinking


def test_whoever_was_unlinked_stays_so_whatever_email_comes(database: Database, clock: SetClock) -> None:
    assert come(database, clock).person == NURSE
    assert unlink_subject(database, clock, NURSE, by=MANAGER)
    assert not unlink_subject(database, clock, NURSE, by=MANAGER)
    assert come(database, clock).why == "unlinked"
    assert come(database, clock, sub="another").why == "unlinked"
    (row,) = entries(database, kind="ProviderUnlinked")
    assert (row["person"], row["by"], row["data"]["subject"]) == (NURSE, MANAGER, f"{ISSUER}|s-1")
    assert [one["data"]["why"] for one in entries(database, kind="SignInFailed")] == ["unlinked", "unlinked"]


def test_a_wrong_link_is_put_right_by_a_manager(database: Database, clock: SetClock) -> None:
    come(database, clock, sub="not hers")
    with pytest.raises(Refused):
        introduce(database, clock, NURSE, f"{ISSUER}|hers", by=MANAGER)
    unlink_subject(database, clock, NURSE, by=MANAGER)
    introduce(database, clock, NURSE, f"{ISSUER}|hers", by=MANAGER)
    assert come(database, clock, sub="hers").person == NURSE
    assert come(database, clock, sub="not hers").why == "other_subject"


def test_a_person_links_themselves_again(database: Database, clock: SetClock) -> None:
    come(database, clock)
    unlink_subject(database, clock, NURSE, by=NURSE)
    link_subject(database, clock, NURSE, f"{ISSUER}|s-2", by=NURSE)
    assert come(database, clock, sub="s-2").person == NURSE


def test_only_the_person_and_a_manager_unlink_and_nobody_is_made_up(database: Database, clock: SetClock) -> None:
    come(database, clock)
    with pytest.raises(NotAssigned):
        unlink_subject(database, clock, NURSE, by=OTHER)
    with pytest.raises(UnknownThing):
        unlink_subject(database, clock, "who.ever", by=MANAGER)
    assert not unlink_subject(database, clock, OTHER, by=MANAGER)
    assert come(database, clock).person == NURSE


def session(database: Database, clock: SetClock, method: str) -> str:
    with database.write() as connection:
        return sessions.open_session(connection, NURSE, clock.now(), method=method)


def lives(database: Database, clock: SetClock, cookie: str) -> bool:
    found = sessions.read_session(database, clock, cookie)
    return found is not None and found.is_live


def test_what_came_by_a_link_ends_with_it_and_nothing_else(database: Database, clock: SetClock) -> None:
    before = tokens.create_token(database, clock, NURSE, "before", "read", 30)
    clock.advance(timedelta(hours=1))
    come(database, clock)
    theirs, own = session(database, clock, sessions.PROVIDER), session(database, clock, "password")
    since = tokens.create_token(database, clock, NURSE, "since", "read", 30)
    with database.write() as connection:
        create_link(connection, "calendar", NURSE, clock.now(), by=NURSE, lasts=None)
    clock.advance(timedelta(minutes=1))
    link_subject(database, clock, NURSE, f"{ISSUER}|s-1", by=NURSE)  # the same again: the link is still the one of then
    unlink_subject(database, clock, NURSE, by=MANAGER)
    assert [lives(database, clock, one) for one in (theirs, own)] == [False, True]
    assert [tokens.read_token(database, clock, one) is not None for one in (before, since)] == [True, False]
    assert [one["revoked_at"] is not None for one in links_of(database, NURSE)] == [True]


def test_nobody_comes_in_by_a_link_that_was_taken_away_on_the_way(database: Database, clock: SetClock) -> None:
    known = come(database, clock)
    unlink_subject(database, clock, NURSE, by=MANAGER)
    with pytest.raises(NotProven), database.write() as connection:
        sessions.open_session(connection, NURSE, clock.now(), method=sessions.PROVIDER, subject=known.subject)


def test_a_session_begun_while_its_link_is_taken_away_ends_with_it(database: Database, clock: SetClock) -> None:
    known = come(database, clock)
    unlinking = threading.Thread(target=unlink_subject, args=(database, clock, NURSE), kwargs={"by": MANAGER})
    with database.write() as connection:
        cookie = sessions.open_session(connection, NURSE, clock.now(), method=sessions.PROVIDER, subject=known.subject)
        unlinking.start()
        unlinking.join(0.5)  # it waits until this session is there
        assert unlinking.is_alive()
    unlinking.join(60)
    assert not lives(database, clock, cookie)
