"""A link stands for one purpose of one person; forged, expired, used or revoked it opens nothing, and that is journaled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import entries
from sites.identity.keys import Key
from sites.identity.links import create_link, links_of, open_link, path_of, revoke_link, revoke_links, token_of, use_link
from sites.letters import owe_letter

KEY = Key("a key of thirty-two characters or more, for tests")
OTHER = Key("another key of thirty-two characters or more")
NURSE, MANAGER = "nurse.caen", "project_manager"
TARGET = "EXP-1:setup:CAEN:1"


@pytest.fixture(autouse=True)
def people(registry: None) -> None:
    """Every test here has the small registry."""


def new_link(database: Database, clock: SetClock, lasts: timedelta | None = timedelta(days=1)) -> str:
    with database.write() as connection:
        return create_link(connection, "checkpoint", NURSE, clock.now(), by=MANAGER, target=TARGET, lasts=lasts)


def refusals(database: Database) -> list[tuple[str, str]]:
    return [(one["data"]["why"], one["person"]) for one in reversed(entries(database, kind="RequestRefused"))]


def test_a_link_opens_what_it_was_made_for(database: Database, clock: SetClock) -> None:
    nonce = new_link(database, clock)
    link = open_link(database, clock, KEY, "checkpoint", token_of(KEY, "checkpoint", nonce))
    assert link is not None
    assert (link.person, link.target, link.created_by, link.expires_at) == (NURSE, TARGET, MANAGER, clock.now() + timedelta(days=1))
    assert path_of(KEY, "checkpoint", nonce) == f"/l/{token_of(KEY, 'checkpoint', nonce)}"


def test_what_was_not_signed_here_for_this_purpose_opens_nothing(database: Database, clock: SetClock) -> None:
    nonce = new_link(database, clock)
    right = token_of(KEY, "checkpoint", nonce)
    forged = [
        "",
        nonce,
        # Not the last character: two of its bits are padding, and say nothing.
        right[:-2] + ("A" if right[-2] != "A" else "B") + right[-1],
        right + "x",
        token_of(OTHER, "checkpoint", nonce),
        token_of(KEY, "recovery", nonce),
        token_of(KEY, "checkpoint", "a nonce that was never made"),
        KEY.sign("form", nonce),
        "\0",
        "é" * 5000,
    ]
    assert [open_link(database, clock, KEY, "checkpoint", token) for token in forged] == [None] * len(forged)
    assert open_link(database, clock, KEY, "recovery", right) is None
    assert refusals(database) == [("forged", "")] * (len(forged) + 1)


def test_a_link_of_one_purpose_does_not_serve_another_even_signed_so(database: Database, clock: SetClock) -> None:
    """A checkpoint's nonce signed as a recovery would be the key to an account."""
    nonce = new_link(database, clock)
    assert open_link(database, clock, KEY, "recovery", token_of(KEY, "recovery", nonce)) is None


def test_an_expired_link_opens_nothing_and_is_not_used(database: Database, clock: SetClock) -> None:
    nonce = new_link(database, clock)
    clock.advance(timedelta(days=1))
    assert open_link(database, clock, KEY, "checkpoint", token_of(KEY, "checkpoint", nonce)) is None
    with database.write() as connection:
        assert not use_link(connection, nonce, clock.now())
    assert refusals(database) == [("expired", NURSE)]


def test_a_used_link_is_used_up(database: Database, clock: SetClock) -> None:
    nonce = new_link(database, clock)
    with database.write() as connection:
        assert use_link(connection, nonce, clock.now())
        assert not use_link(connection, nonce, clock.now())
        assert not revoke_link(connection, nonce, clock.now(), by=MANAGER)
    assert open_link(database, clock, KEY, "checkpoint", token_of(KEY, "checkpoint", nonce)) is None
    assert refusals(database) == [("used", NURSE)]


def test_a_calendar_lasts_until_it_is_revoked(database: Database, clock: SetClock) -> None:
    nonce = new_link(database, clock, lasts=None)
    clock.advance(timedelta(days=1000))
    assert open_link(database, clock, KEY, "checkpoint", token_of(KEY, "checkpoint", nonce)) is not None
    with database.write() as connection:
        assert revoke_link(connection, nonce, clock.now(), by=NURSE)
    assert open_link(database, clock, KEY, "checkpoint", token_of(KEY, "checkpoint", nonce)) is None
    assert refusals(database) == [("revoked", NURSE)]


def test_a_persons_links_are_revoked_together_and_no_one_elses(database: Database, clock: SetClock) -> None:
    mine = [new_link(database, clock) for _ in range(2)]
    with database.write() as connection:
        other = create_link(connection, "checkpoint", "nurse.metz", clock.now(), by=MANAGER, lasts=None)
        assert revoke_links(connection, NURSE, clock.now(), by=MANAGER, purposes=("recovery",)) == 0
        assert revoke_links(connection, NURSE, clock.now(), by=MANAGER) == 2
    assert {one["id"] for one in links_of(database, NURSE) if one["revoked_at"]} == set(mine)
    assert open_link(database, clock, KEY, "checkpoint", token_of(KEY, "checkpoint", other)) is not None


def test_no_working_link_lies_in_the_database(database: Database, clock: SetClock) -> None:
    nonce = new_link(database, clock)
    assert token_of(KEY, "checkpoint", nonce) not in str(links_of(database, NURSE)) + str(entries(database))


def test_a_letter_is_owed_once_for_its_key(database: Database, clock: SetClock) -> None:
    with database.write() as connection:
        assert owe_letter(connection, "digest:nurse:1", "digest", NURSE, clock.now(), items=[1, 2])
        assert not owe_letter(connection, "digest:nurse:1", "digest", NURSE, clock.now(), items=[3])
