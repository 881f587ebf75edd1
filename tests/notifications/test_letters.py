"""Letters of the installation: sent by mail, once, with an address that works only while its link does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from world import KEY, World, crash_while_sending

from notifications.attempts import GIVE_UP_AFTER_ATTEMPTS, LEASE, LONGEST_BACK_OFF, back_off
from sites.anchors.keeper import Keeper
from sites.database import table
from sites.identity.keys import Key
from sites.identity.links import Purpose, create_link, open_link, path_of, revoke_link, use_link
from sites.letters import owe_letter
from sites.settings import Settings
from sites.tables import Letter

HOUR = timedelta(hours=1)


@pytest.fixture(params=["world", "world_on_postgresql"])
def each_world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


def owe(world: World, kind: Purpose = "recovery", person: str = "alice", target: str = "", letter: str = "") -> str:
    """Owe a letter with a link that lasts an hour; the link's nonce."""
    now = world.clock.now()
    with world.database.write() as connection:
        nonce = create_link(connection, kind, person, now, by="manager", target=target, lasts=HOUR)
        owe_letter(connection, f"{kind}:{nonce}", letter or kind, person, now, link=nonce)
    return nonce


def text_of(world: World) -> str:
    return str(world.mailbox.mails[-1].get_body(("plain",)).get_content())


def test_a_letter_goes_out_once_with_an_address_that_opens(each_world: World) -> None:
    world = each_world
    nonce = owe(world)
    assert world.dispatch() == ["alice"]
    address = path_of(Key(KEY), "recovery", nonce)
    assert f"https://insitu.example.org{address}" in text_of(world)
    assert "lundi 2 mars 2026 à 11 h 00" in text_of(world)
    found = open_link(world.database, world.clock, Key(KEY), "recovery", address.rpartition("/")[2])
    assert found is not None
    assert found.person == "alice"
    assert world.dispatch() == []
    assert world.letters("recovery") == ["sent"]


def test_no_working_address_lies_in_the_database(world: World) -> None:
    nonce = owe(world)
    world.dispatch()
    token = path_of(Key(KEY), "recovery", nonce).rpartition("/")[2]
    with world.database.read() as connection:
        rows = connection.execute(select(table(Letter))).all()
    assert token not in str(rows)


def test_an_anchor_goes_by_mail_with_all_that_proves_it(world: World, tmp_path: Path) -> None:
    world.change("alice", channels=["ntfys://a-topic-that-anybody-reads"])
    settings = Settings(tmp_path, world.database.url, anchors=tmp_path / "anchors", anchor_mail_to=("alice", "bob"))
    world.launch()
    world.dispatch()
    line = Keeper(world.database, world.clock, settings).anchor()
    assert world.dispatch() == ["alice", "bob"]
    text = "".join(text_of(world).split())  # as a mail program may break it
    assert [one for one in (line.hash, line.root, line.signer, line.key, line.text.decode()) if one not in text] == []
    assert world.dispatch() == []
    assert "ancrage 1 du 2026-03-02" in [str(mail["Subject"]) for mail in world.mailbox.mails]


def test_each_reads_their_own_language(world: World) -> None:
    owe(world, "invitation", "bob")
    world.dispatch()
    assert str(world.mailbox.mails[0]["Subject"]) == "your access to insitu"


def test_a_checkpoints_link_says_step_site_and_experiment(world: World) -> None:
    code = world.launch()
    world.dispatch()
    owe(world, "checkpoint", "caen", f"{code}:onboarding:CAEN:1", "checkpoint_link")
    assert world.dispatch() == ["caen"]
    assert str(world.mailbox.mails[-1]["Subject"]) == f"Mise en place – CAEN – {code} : lien personnel pour répondre"
    assert "https://insitu.example.org/l/" in text_of(world)
    assert "CHU Caen (CAEN)" in text_of(world)


def test_a_link_over_used_or_revoked_by_then_sends_nothing(each_world: World) -> None:
    world = each_world
    nonces = [owe(world, person=person) for person in ("alice", "bob", "caen")]
    with world.database.write() as connection:
        use_link(connection, nonces[0], world.clock.now())
        revoke_link(connection, nonces[1], world.clock.now(), by="bob")
    world.clock.advance(HOUR)
    assert world.dispatch() == []
    assert world.letters("recovery") == ["dropped"] * 3


def test_no_letter_goes_to_a_closed_account(each_world: World) -> None:
    world = each_world
    owe(world)
    with world.database.write() as connection:
        owe_letter(connection, "test:alice", "test", "alice", world.clock.now())
    world.close("alice")
    assert world.dispatch() == []
    assert world.letters("recovery") + world.letters("test") == ["dropped", "dropped"]


def test_a_secret_goes_by_mail_and_never_to_a_channel(world: World) -> None:
    world.change("alice", channels=["ntfys://a-topic-that-anybody-reads"])
    owe(world)
    assert world.dispatch() == ["alice"]


def test_a_letter_waits_for_no_hours(world: World) -> None:
    world.wish("alice", quiet_from="00:00", quiet_until="23:59", digest=True, working_days=True)
    owe(world)
    assert world.dispatch() == ["alice"]


def test_a_server_that_is_away_gets_the_letter_later(world: World) -> None:
    owe(world)
    world.mailbox.stop()
    assert world.dispatch() == []
    assert world.letters("recovery") == ["owed"]
    world.mailbox.start()
    assert world.dispatch() == []
    world.clock.advance(back_off(1))
    assert world.dispatch() == ["alice"]


def test_an_address_refused_is_given_up_at_once(world: World) -> None:
    owe(world)
    world.mailbox.answers = {"alice@example.org": "550 no such user"}
    world.dispatch()
    assert world.letters("recovery") == ["refused"]


def test_a_letter_that_keeps_failing_is_given_up_in_the_end(world: World) -> None:
    with world.database.write() as connection:
        owe_letter(connection, "test", "channel_test", "alice", world.clock.now())
        connection.execute(table(Letter).update().values(attempts=GIVE_UP_AFTER_ATTEMPTS - 1))
    world.mailbox.answers = {"alice@example.org": "451 try later"}
    world.dispatch()
    assert world.letters("channel_test") == ["refused"]


def test_a_letter_without_words_is_tried_again_and_blocks_nobody(world: World) -> None:
    with world.database.write() as connection:
        owe_letter(connection, "party", "party", "alice", world.clock.now())
    owe(world)
    assert world.dispatch() == ["alice"]
    assert world.letters("party") == ["owed"]


def test_a_letter_under_lease_is_left_alone_until_the_lease_is_over(each_world: World) -> None:
    world = each_world
    owe(world)
    assert world.dispatcher().letters._claim() is not None
    assert world.dispatch() == []
    world.clock.advance(LEASE)
    assert world.dispatch() == ["alice"]


def test_a_dispatcher_killed_while_sending_a_letter_costs_one_repeated_mail(world: World) -> None:
    owe(world)
    crash_while_sending(world)
    assert world.dispatch() == ["alice"]
    assert world.letters("recovery") == ["sent"]


def test_a_letter_that_kills_twice_is_not_sent_a_third_time(world: World) -> None:
    owe(world)
    crash_while_sending(world)
    crash_while_sending(world)
    world.clock.advance(LONGEST_BACK_OFF / 2)
    assert world.dispatch() == []
    assert world.letters("recovery") == ["refused"]
