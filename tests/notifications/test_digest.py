"""What is put off, gathered, muted, and told to deputies: with a real database and a real mail server."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from sqlalchemy import insert, select, update
from world import PROTOCOL, START, World, crash_while_sending

from notifications.attempts import LONGEST_BACK_OFF
from protocols.errors import InvalidInput, NotAssigned, UnknownThing
from sites import releases
from sites.database import table
from sites.digests import AT_ONCE, WINDOW
from sites.identity.access import entries
from sites.preferences import Wishes, mute, preference_of, set_channels, set_preference
from sites.tables import Assignment, Deputy, Person

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(params=["world", "world_on_postgresql"])
def each_world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


def only_alice(world: World) -> None:
    """Leave Alice as the only ethics officer."""
    with world.database.write() as connection:
        connection.execute(update(table(Assignment)).where(table(Assignment).c.person == "bob").values(role="sponsor"))


def text_of(world: World, number: int = -1) -> str:
    return str(world.mailbox.mails[number].get_body(("plain",)).get_content())


# ------------------------------------------------------------------ a digest


def test_a_digest_of_twelve_notices_is_one_mail(each_world: World) -> None:
    world = each_world
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    codes = [world.launch() for _ in range(12)]
    assert world.dispatch() == []
    assert world.log("state") == [("digested",)] * 12
    world.at("2026-03-02T11:00")
    assert world.dispatch() == ["alice"]
    [mail] = world.mailbox.mails
    assert str(mail["Subject"]).startswith("12 messages – MINI-1, MINI-2")
    for code in codes:
        assert f"/checkpoints/{code}:ethics::1" in text_of(world)
        assert f"Avis éthique – {code}" in text_of(world)
    assert Counter(world.log("state", "channel")) == {("sent", "email"): 12}
    world.clock.advance(2 * DAY)
    assert world.dispatch() == []


def test_a_reminder_due_at_the_hour_of_the_digest_is_in_it(each_world: World) -> None:
    """The protocol's reminder falls at 08:00, the hour at which digests go out by themselves."""
    world = each_world
    only_alice(world)
    early = PROTOCOL.replace("version: 1.0.0", "version: 1.1.0").replace("remind: [{before: 2d}]", "remind: [{before: 5d}]")
    releases.add(world.database, early, world.clock)
    world.wish("alice", digest=True)
    world.launch()
    world.dispatch()
    world.at("2026-03-03T08:00")
    assert world.dispatch() == ["alice"]
    world.at("2026-03-07T08:00:01")
    assert world.dispatch() == []  # the digest waits for what is due by its hour
    world.ledger.fire_timers()
    assert world.dispatch() == ["alice"]


def test_a_digest_leaves_out_what_was_overtaken_and_is_not_sent_empty(world: World) -> None:
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    codes = [world.launch() for _ in range(3)]
    world.dispatch()
    for code in codes[:2]:
        world.answer(code)
    world.at("2026-03-02T11:00")
    world.dispatch()
    to_alice = [mail for mail in world.mailbox.mails if mail["To"].addresses[0].username == "alice"]
    assert [str(mail["Subject"]) for mail in to_alice] == [f"Avis éthique – {codes[2]} : à compléter au plus tard le jeudi 12 mars 2026"]
    assert Counter(world.log("state", person="alice")) == {("dropped",): 2, ("sent",): 1}
    code = world.launch()
    world.dispatch()
    world.answer(code)
    world.at("2026-03-03T11:00")
    assert "alice" not in world.dispatch()
    assert world.letters("digest") == ["sent", "dropped"]


@pytest.mark.parametrize("others", [False, True])
def test_a_digest_for_someone_who_left_goes_nowhere_and_what_nobody_else_heard_is_an_incident(each_world: World, others: bool) -> None:
    world = each_world
    if not others:
        only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    for _ in range(2):
        world.launch()
    assert world.dispatch() == (["bob", "bob"] if others else [])
    world.close("alice")
    world.at("2026-03-02T11:00")
    assert world.dispatch() == ([] if others else ["manager", "manager"])
    assert world.letters("digest") == ["dropped"]
    assert world.open_incidents() == ([] if others else ["nobody:ethics_officer"] * 2)


def test_a_duty_comes_by_itself_on_a_day_of_digests(world: World) -> None:
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    world.launch()
    world.at("2026-03-02T11:00")
    world.dispatch()
    world.at("2026-03-13T00:00")
    world.ledger.fire_timers()
    assert "alice" in world.dispatch()
    assert "en retard" in str(world.mailbox.mails[-1]["Subject"])


def test_what_a_hold_stops_waits_in_its_digest(world: World) -> None:
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    codes = [world.launch() for _ in range(2)]
    world.dispatch()
    world.ledger.hold(codes[0], "manager", "summer")
    world.at("2026-03-02T11:00")
    assert world.dispatch() == ["alice"]
    assert world.log("state", key=f"{codes[0]}:ethics::1:opened") == [("digested",)]
    world.ledger.release(codes[0], "manager", "autumn")
    world.clock.advance(timedelta(minutes=15))
    assert world.dispatch() == ["alice"]
    assert Counter(world.log("state")) == {("sent",): 2}


def test_a_digest_that_a_server_refuses_for_now_comes_later(world: World) -> None:
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    for _ in range(2):
        world.launch()
    world.dispatch()
    world.at("2026-03-02T11:00")
    world.mailbox.answers = {"alice@example.org": "451 try later"}
    assert world.dispatch() == []
    assert Counter(world.log("state")) == {("digested",): 2}
    world.mailbox.answers = {}
    world.clock.advance(LONGEST_BACK_OFF)
    assert world.dispatch() == ["alice"]


def test_a_digest_refused_for_good_is_an_incident_of_each_experiment(world: World) -> None:
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    for _ in range(2):
        world.launch()
    world.dispatch()
    world.at("2026-03-02T11:00")
    world.mailbox.answers = {"alice@example.org": "550 no such user"}
    assert world.dispatch() == ["manager", "manager"]
    assert world.open_incidents() == ["undeliverable:alice"] * 2
    assert Counter(world.log("state", person="alice")) == {("refused",): 2}


def test_a_crash_in_the_middle_of_a_digest_costs_one_repeated_mail(each_world: World) -> None:
    world = each_world
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    for _ in range(3):
        world.launch()
    world.dispatch()
    world.at("2026-03-02T11:00")
    crash_while_sending(world)
    assert Counter(world.log("state")) == {("digested",): 3}
    assert world.dispatch() == ["alice"]
    assert Counter(world.log("state")) == {("sent",): 3}
    assert len(world.mailbox.mails) == 2


def test_a_digest_that_kills_twice_is_not_sent_a_third_time(world: World) -> None:
    only_alice(world)
    world.wish("alice", digest=True, digest_at="11:00")
    for _ in range(2):
        world.launch()
    world.dispatch()
    world.at("2026-03-02T11:00")
    crash_while_sending(world)
    crash_while_sending(world)
    assert world.dispatch() == ["manager", "manager"]
    assert Counter(world.log("state", person="alice")) == {("refused",): 2}


# ------------------------------------------------------------------ a flood


def test_more_than_five_at_once_go_as_one_message(each_world: World) -> None:
    world = each_world
    only_alice(world)
    for _ in range(AT_ONCE + 3):
        world.launch()
    assert world.dispatch() == []
    world.clock.advance(WINDOW)
    assert world.dispatch() == ["alice"]
    assert str(world.mailbox.mails[0]["Subject"]).startswith("8 messages – MINI-1")


def test_a_flood_that_comes_drop_by_drop_is_gathered_from_the_sixth_on(world: World) -> None:
    only_alice(world)
    told = []
    for _ in range(AT_ONCE + 3):
        world.launch()
        told += world.dispatch()
        world.clock.advance(timedelta(minutes=1))
    assert told == ["alice"] * AT_ONCE
    world.clock.advance(WINDOW)
    assert world.dispatch() == ["alice"]
    assert str(world.mailbox.mails[-1]["Subject"]).startswith("3 messages")


def test_five_at_once_are_no_flood(world: World) -> None:
    only_alice(world)
    for _ in range(AT_ONCE):
        world.launch()
    assert world.dispatch() == ["alice"] * AT_ONCE


# ------------------------------------------------------------------ hours and days


def test_a_night_is_waited_for_and_the_message_decided_again(each_world: World) -> None:
    world = each_world
    only_alice(world)
    world.wish("alice", quiet_from="20:00", quiet_until="07:00")
    world.at("2026-03-02T22:00")
    first, second = world.launch(), world.launch()
    assert world.dispatch() == []
    assert world.log("state", "attempts") == [("postponed", 0)] * 2
    world.answer(first)
    world.at("2026-03-03T06:59")
    assert "alice" not in world.dispatch()
    world.at("2026-03-03T07:00")
    assert world.dispatch() == ["alice"]
    assert second in str(world.mailbox.mails[-1]["Subject"])
    assert sorted(world.log("state", person="alice")) == [("dropped",), ("sent",)]


@pytest.mark.parametrize(("evening", "before", "morning"), [("2026-03-28", "05:59", "2026-03-29"), ("2026-10-24", "05:59", "2026-10-25")])
def test_a_night_in_which_the_clocks_change_ends_at_its_hour(world: World, evening: str, before: str, morning: str) -> None:
    only_alice(world)
    world.wish("alice", quiet_from="20:00", quiet_until="06:00")
    world.at(f"{evening}T23:00")
    world.launch()
    world.dispatch()
    world.at(f"{morning}T{before}")
    assert world.dispatch() == []
    world.at(f"{morning}T06:00")
    assert world.dispatch() == ["alice"]


def test_who_works_on_working_days_is_told_after_14_july(world: World) -> None:
    world.wish("alice", working_days=True)
    world.at("2026-07-14T10:00")
    world.launch()
    assert world.dispatch() == ["bob"]
    world.at("2026-07-15T08:00")
    assert world.dispatch() == ["alice"]


def test_only_who_wished_so_waits(world: World) -> None:
    world.wish("alice", quiet_from="08:00", quiet_until="12:00")
    world.launch()
    assert world.dispatch() == ["bob"]
    assert world.notices("opened") == ["owed"]
    world.at("2026-03-02T12:00")
    assert world.dispatch() == ["alice"]
    assert world.notices("opened") == ["done"]


# ------------------------------------------------------------------ muted, and duties


def test_what_is_muted_is_not_sent_and_duties_are(world: World) -> None:
    world.wish("alice", muted=["opened", "reminder"])
    world.launch()
    assert world.dispatch() == ["bob"]
    assert world.log("state", person="alice") == [("muted",)]
    world.at("2026-03-10T08:00")  # two days before the deadline
    world.ledger.fire_timers()
    assert world.dispatch() == ["alice", "bob"]
    world.at("2026-03-13T00:00")
    world.ledger.fire_timers()
    assert world.dispatch() == ["alice", "bob"]


def test_ordinary_messages_offer_a_way_out_and_duties_do_not(world: World) -> None:
    only_alice(world)
    world.launch()
    world.dispatch()
    world.at("2026-03-13T00:00")
    world.ledger.fire_timers()
    world.dispatch()
    to_alice = [mail for mail in world.mailbox.mails if mail["To"].addresses[0].username == "alice"]
    [opened] = [mail for mail in to_alice if "à compléter au plus tard" in str(mail["Subject"]) and "rappel" not in str(mail["Subject"])]
    [overdue] = [mail for mail in to_alice if "en retard" in str(mail["Subject"])]
    assert str(opened["List-Unsubscribe"]).startswith("<https://insitu.example.org/unsubscribe/")
    assert opened["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert str(opened["List-Unsubscribe"]).strip("<>") in opened.get_body(("plain",)).get_content()
    assert overdue["List-Unsubscribe"] is None
    assert "unsubscribe" not in overdue.get_body(("html",)).get_content()


def test_a_person_has_one_way_out_for_each_kind(world: World) -> None:
    only_alice(world)
    for _ in range(2):
        world.launch()
        world.dispatch()
    assert len({str(mail["List-Unsubscribe"]) for mail in world.mailbox.mails}) == 1
    assert [one["kind"] for one in entries(world.database)] == ["LinkCreated"]


# ------------------------------------------------------------------ deputies and escalations


def name_deputy(world: World, person: str, deputy: str, until: date = date(2026, 3, 31)) -> None:
    row = {"person": person, "deputy": deputy, "from_date": date(2026, 3, 1), "until_date": until}
    with world.database.write() as connection:
        connection.execute(insert(table(Deputy)).values(row | {"recorded_by": person, "recorded_at": START}))


def test_a_deputy_is_told_too_and_reads_for_whom(world: World) -> None:
    name_deputy(world, "alice", "caen")
    name_deputy(world, "bob", "caen")
    name_deputy(world, "alice", "bob")
    name_deputy(world, "alice", "nancy", until=date(2026, 3, 1))
    world.launch()
    assert world.dispatch() == ["alice", "bob", "caen"]
    said = {mail["To"].addresses[0].username: mail.get_body(("plain",)).get_content() for mail in world.mailbox.mails}
    assert "en tant que suppléant de Alice Martin, Bob Smith" in said["caen"]
    assert "deputy" not in said["bob"]


def test_no_deputy_who_left_is_told_and_none_of_whoever_left(world: World) -> None:
    name_deputy(world, "alice", "caen")
    name_deputy(world, "bob", "nancy")
    world.close("caen")
    world.close("bob")
    world.launch()
    assert world.dispatch() == ["alice"]


def climb(world: World) -> list[str]:
    """Let the deadline of 12 March pass and both rungs fire; who is told at the second."""
    world.launch()
    for at in ("2026-03-13T00:00", "2026-03-13T08:00"):
        world.at(at)
        world.ledger.fire_timers()
        world.dispatch()
    world.at("2026-03-21T08:00")
    world.ledger.fire_timers()
    return world.dispatch()


def test_each_rung_tells_its_role_and_names_those_before(world: World) -> None:
    only_alice(world)
    assert climb(world) == ["bob"]  # now the sponsor
    assert "Told before you: Project manager." in text_of(world)
    assert world.log("person", kind="escalated") == [("bob",), ("manager",)]


def test_an_escalation_to_a_role_nobody_holds_goes_to_the_managers_who_read_why(world: World) -> None:
    assert climb(world) == ["manager"]
    assert "Déjà prévenus : Chef de projet." in text_of(world)
    assert "Personne n'exerce aujourd'hui le rôle « Promoteur »" in text_of(world)
    assert world.open_incidents() == []


# ------------------------------------------------------------------ the wishes themselves


def test_wishes_are_kept_journaled_and_given_back(each_world: World) -> None:
    world = each_world
    given = set_preference(world.database, world.clock, "alice", "alice", quiet_from="20:00", quiet_until="07:00", muted=["opened"])
    assert given == Wishes(quiet_from="20:00", quiet_until="07:00", muted=frozenset({"opened"}))
    set_preference(world.database, world.clock, "alice", "manager", digest=True)
    set_preference(world.database, world.clock, "alice", "alice", digest=True)
    with world.database.read() as connection:
        assert preference_of(connection, "alice") == Wishes("Europe/Paris", "20:00", "07:00", digest=True, muted=frozenset({"opened"}))
        assert preference_of(connection, "bob") == Wishes()
    noted = [(one["kind"], one["by"], one["data"]) for one in entries(world.database, person="alice")]
    assert noted == [
        ("ContactChanged", "manager", {"what": ["digest"]}),
        ("ContactChanged", "alice", {"what": ["muted", "quiet_from", "quiet_until"]}),
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"quiet_from": "25:00", "quiet_until": "07:00"},
        {"quiet_from": "20:00"},
        {"digest_at": ""},
        {"timezone": "Mars/Base"},
        {"muted": ["overdue"]},
        {"muted": ["nonsense"]},
        {"colour": "red"},
    ],
)
def test_a_wish_that_cannot_be_is_refused(world: World, values: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        set_preference(world.database, world.clock, "alice", "alice", **values)


def test_only_oneself_and_managers_change_how_one_is_told(world: World) -> None:
    with pytest.raises(NotAssigned):
        set_preference(world.database, world.clock, "alice", "bob", digest=True)
    with pytest.raises(UnknownThing):
        set_preference(world.database, world.clock, "nobody", "manager", digest=True)


def test_a_duty_cannot_be_muted_by_a_link(world: World) -> None:
    assert not mute(world.database, world.clock, "alice", "overdue")
    assert mute(world.database, world.clock, "alice", "opened")
    assert mute(world.database, world.clock, "alice", "opened")
    with world.database.read() as connection:
        assert preference_of(connection, "alice").muted == {"opened"}


def test_the_journal_knows_a_channels_kind_and_not_its_address(world: World) -> None:
    set_channels(world.database, world.clock, "alice", "alice", ["ntfys://s3cret-topic", " ", "ntfys://s3cret-topic"])
    with world.database.read() as connection:
        kept = connection.execute(select(table(Person).c.channels).where(table(Person).c.id == "alice")).scalar_one()
    assert kept == ["ntfys://s3cret-topic"]
    assert "s3cret" not in str(entries(world.database))
    with pytest.raises(InvalidInput):
        set_channels(world.database, world.clock, "alice", "alice", [f"ntfys://{number}" for number in range(9)])
