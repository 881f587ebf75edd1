"""The dispatcher with a real ledger, database and mail server: everyone once, whatever fails on the way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from world import START, World, crash_while_sending

from notifications.attempts import GIVE_UP_AFTER_ATTEMPTS, LEASE, LONGEST_BACK_OFF, REPORT_AFTER_ATTEMPTS, back_off
from notifications.dispatch import sent
from sites.digests import AT_ONCE
from sites.policy import EVERYTHING

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(params=["world", "world_on_postgresql"])
def each_world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


def test_everyone_who_holds_the_role_is_told_in_their_language(world: World) -> None:
    code = world.launch()
    assert world.dispatch() == ["alice", "bob"]
    subjects = {mail["To"].addresses[0].username: mail["Subject"] for mail in world.mailbox.mails}
    assert subjects["alice"] == f"Avis éthique – {code} : à compléter au plus tard le jeudi 12 mars 2026"
    assert subjects["bob"] == f"Ethics opinion – {code}: complete by Thursday 12 March 2026"
    for mail in world.mailbox.mails:
        assert f"https://insitu.example.org/checkpoints/{code}:ethics::1" in mail.get_body(("plain",)).get_content()


def test_what_was_sent_is_logged_and_never_sent_again(world: World) -> None:
    code = world.launch()
    world.dispatch()
    world.clock.advance(DAY)
    assert world.dispatch() == []
    [first, second] = sent(world.database, code, EVERYTHING)
    assert (first["person"], second["person"]) == ("alice", "bob")
    assert first | {"subject": ""} == {
        "experiment": code,
        "key": f"{code}:ethics::1:opened",
        "kind": "opened",
        "step": "ethics",
        "site": "",
        "round": 1,
        "person": "alice",
        "channel": "email",
        "subject": "",
        "state": "sent",
        "attempts": 1,
        "error": "",
        "at": START,
    }
    assert sent(world.database, "OTHER-1", EVERYTHING) == []


def test_a_site_step_tells_that_sites_people(world: World) -> None:
    code = world.launch()
    world.answer(code)
    world.sign(code)
    world.dispatch()
    assert world.log("person", "site", step="onboarding") == [("caen", "CAEN"), ("nancy", "NANCY")]


def test_the_signer_is_asked_to_sign(world: World) -> None:
    code = world.launch()
    world.dispatch()
    world.answer(code)
    assert world.dispatch() == ["manager"]
    assert world.log("subject", person="manager") == [(f"Avis éthique – {code} : à signer au plus tard le jeudi 12 mars 2026",)]


def test_a_server_that_was_down_gets_the_message_later(world: World) -> None:
    world.launch()
    world.mailbox.stop()
    assert world.dispatch() == []
    assert world.log("person", "state", "attempts") == [("alice", "failed", 1), ("bob", "failed", 1)]
    world.mailbox.start()
    assert world.dispatch() == []
    world.clock.advance(back_off(1))
    assert world.dispatch() == ["alice", "bob"]
    assert world.log("person", "state", "attempts", "error") == [("alice", "sent", 2, ""), ("bob", "sent", 2, "")]


def test_only_who_was_not_reached_is_told_again(world: World) -> None:
    world.launch()
    world.mailbox.answers = {"bob@example.org": "451 try later"}
    assert world.dispatch() == ["alice"]
    world.mailbox.answers = {}
    world.clock.advance(back_off(1))
    assert world.dispatch() == ["bob"]
    assert world.open_incidents() == []


def test_a_refused_address_becomes_an_incident_and_costs_the_others_nothing(world: World) -> None:
    code = world.launch()
    world.mailbox.answers = {"alice@example.org": "550 no such user"}
    assert world.dispatch() == ["bob", "manager"]
    assert world.log("state", "error", person="alice") == [("refused", "email: the mail server refuses this address: 550 no such user")]
    assert world.open_incidents() == ["undeliverable:alice"]
    assert world.notices("opened") == ["done"]
    assert world.log("subject", person="manager") == [(f"Avis éthique – {code} : incident à examiner",)]


def test_an_incident_is_over_when_a_message_arrives(world: World) -> None:
    code = world.launch()
    world.change("alice", email="nobody")
    world.dispatch()
    assert world.open_incidents() == ["undeliverable:alice"]
    world.change("alice", email="alice@example.org")
    world.answer(code, favourable=False)
    world.sign(code)
    world.dispatch()
    assert world.open_incidents() == []


def test_an_incident_nobody_can_be_told_of_ends_there(world: World) -> None:
    world.launch()
    world.mailbox.answers = {f"{person}@example.org": "550 no such user" for person in ("alice", "manager")}
    assert world.dispatch() == ["bob"]
    assert world.notices("incident") == ["done"]
    assert world.log("person", "kind", state="refused") == [("alice", "opened"), ("manager", "incident")]


@pytest.mark.parametrize(
    ("attempts", "state", "reported"),
    [
        (REPORT_AFTER_ATTEMPTS - 1, "failed", False),
        (REPORT_AFTER_ATTEMPTS, "failed", True),
        (GIVE_UP_AFTER_ATTEMPTS - 1, "failed", True),
        (GIVE_UP_AFTER_ATTEMPTS, "refused", True),
    ],
)
def test_a_message_that_keeps_failing_is_reported_and_in_the_end_given_up(world: World, attempts: int, state: str, reported: bool) -> None:
    world.launch()
    world.mailbox.answers = {"bob@example.org": "451 try later"}
    world.dispatch()
    world.tried(attempts - 1)
    world.clock.advance(LONGEST_BACK_OFF)
    world.dispatch()
    assert world.log("state", "attempts", person="bob", kind="opened") == [(state, attempts)]
    assert world.open_incidents() == (["undeliverable:bob"] if reported else [])
    assert world.notices("opened") == ["done" if state == "refused" else "owed"]


def test_a_role_nobody_holds_is_reported_once(world: World) -> None:
    code = world.launch()
    world.dispatch()
    for occasion in ("one", "two"):
        world.ledger.owe_notice(f"{code}:ethics::1", "notify", ["sponsor"], occasion=occasion, details={"notice": "experiment-closed"})
        world.dispatch()
    assert world.notices("notify") == ["done", "done"]
    assert world.open_incidents() == ["nobody:sponsor"]
    assert world.log("person", kind="incident") == [("manager",)]


# ------------------------------------------------------------------ whoever has left


def test_nothing_is_sent_to_a_closed_account_and_the_others_are_told(each_world: World) -> None:
    each_world.close("bob")
    each_world.launch()
    assert each_world.dispatch() == ["alice"]
    assert each_world.open_incidents() == []
    each_world.open_again("bob")
    each_world.launch()
    assert each_world.dispatch() == ["alice", "bob"]


def test_where_a_leaver_alone_holds_the_role_it_is_an_incident_told_to_the_managers(each_world: World) -> None:
    world = each_world
    world.close("alice")
    world.close("bob")
    world.launch()
    assert world.dispatch() == ["manager"]
    assert world.open_incidents() == ["nobody:ethics_officer"]
    world.open_again("bob")
    world.launch()
    world.ledger.fire_timers()
    assert world.dispatch() == ["bob"]


def test_what_is_overdue_is_told_to_the_managers_once_its_holder_has_left(world: World) -> None:
    """As it was found: the leaver alone was mailed, no manager, no incident."""
    world.launch()
    assert world.dispatch() == ["alice", "bob"]
    for person in ("alice", "bob"):
        world.close(person)
    for at in ("2026-03-10T08:00", "2026-03-13T00:30", "2026-03-14T08:00"):
        world.at(at)
        world.ledger.fire_timers()
        assert set(world.dispatch()) <= {"manager"}
    assert world.open_incidents() == ["nobody:ethics_officer"]
    assert {person for (person,) in world.log("person", kind="overdue")} <= {"manager"}
    assert ("manager",) in world.log("person", kind="incident")


def test_who_was_asked_for_by_name_and_left_is_told_nothing_and_missed_by_nobody(world: World) -> None:
    code = world.launch()
    world.dispatch()
    number = world.ledger.ask(f"{code}:ethics::1", "alice", "How long?")
    world.dispatch()
    world.close("alice")
    world.ledger.answer(f"{code}:ethics::1", number, "manager", "Ten days")
    assert world.dispatch() == []
    assert world.open_incidents() == []


def test_a_notify_action_tells_the_role_at_every_site_and_each_person_once(world: World) -> None:
    code = world.launch()
    world.dispatch()
    roles = ["site_coordinator", "ethics_officer", "project_manager"]
    world.ledger.owe_notice(f"{code}:ethics::1", "notify", roles, persons=["bob"], details={"notice": "experiment-closed"})
    assert world.dispatch() == ["alice", "bob", "caen", "manager", "nancy"]


def test_a_notice_without_words_is_reported_and_does_not_block_the_others(world: World) -> None:
    code = world.launch()
    world.ledger.owe_notice(f"{code}:ethics::1", "notify", ["project_manager"], details={"notice": "party"})
    assert world.dispatch() == ["alice", "bob", "manager"]
    assert world.open_incidents() == [f"unsendable:{code}:ethics::1:notify"]


OVERTAKEN: dict[str, tuple[str, timedelta, Callable[[World, str], object]]] = {
    "answered since": ("opened", timedelta(0), lambda world, code: world.answer(code)),
    "a new round since": ("opened", timedelta(0), lambda world, code: (world.answer(code, favourable=False), world.sign(code))),
    "stopped since": ("opened", timedelta(0), lambda world, code: world.ledger.stop(code, "manager", "enough")),
    "reminder, answered since": ("reminder", 9 * DAY, lambda world, code: world.answer(code)),
    "overdue, passed since": ("overdue", 11 * DAY, lambda world, code: (world.answer(code), world.sign(code))),
    "escalated, passed since": ("escalated", 13 * DAY, lambda world, code: (world.answer(code), world.sign(code))),
}


@pytest.mark.parametrize(("kind", "after", "since"), OVERTAKEN.values(), ids=OVERTAKEN)
def test_what_has_been_overtaken_is_dropped(world: World, kind: str, after: timedelta, since: Callable[[World, str], object]) -> None:
    code = world.launch()
    world.clock.advance(after)
    world.ledger.fire_timers()
    since(world, code)
    world.dispatch()
    assert world.notices(kind)[0] == "dropped"
    assert world.log("person", key=f"{code}:ethics::1:{kind}") == []


@pytest.mark.parametrize(
    ("kind", "after", "told"),
    [("reminder", 9 * DAY, ["alice", "bob"]), ("overdue", 11 * DAY, ["alice", "bob"]), ("escalated", 13 * DAY, ["manager"])],
)
def test_what_still_holds_is_told(world: World, kind: str, after: timedelta, told: list[str]) -> None:
    world.launch()
    world.clock.advance(after)
    world.ledger.fire_timers()
    world.dispatch()
    assert [person for (person,) in world.log("person", kind=kind)] == told


def test_during_a_hold_nobody_is_asked_and_nothing_is_lost(world: World) -> None:
    code = world.launch()
    world.ledger.hold(code, "manager", "summer")
    for _ in range(3):
        assert world.dispatch() == []
        world.clock.advance(DAY)
    assert sent(world.database, None, EVERYTHING) == []
    world.ledger.release(code, "manager", "autumn")
    assert world.dispatch() == ["alice", "bob"]
    assert "dimanche 15 mars 2026" in str(world.mailbox.mails[0]["Subject"]) + str(world.mailbox.mails[1]["Subject"])


def test_lateness_that_a_hold_has_lifted_is_not_told(world: World) -> None:
    code = world.launch()
    world.dispatch()
    world.clock.advance(5 * DAY)
    world.ledger.hold(code, "manager", "summer")
    world.clock.advance(20 * DAY)
    world.ledger.fire_timers()
    world.ledger.release(code, "manager", "autumn")
    assert world.dispatch() == []


def test_nothing_that_people_typed_is_in_a_message(world: World) -> None:
    code = world.launch()
    world.answer(code, favourable=False, remarks="SECRET of Mrs Durand")
    world.sign(code)
    world.ledger.hold(code, "manager", "SECRET reason")
    world.ledger.release(code, "manager", "SECRET reason")
    world.ledger.stop(code, "manager", "SECRET reason", site="CAEN")
    world.ledger.stop(code, "manager", "SECRET reason")
    world.dispatch()
    assert {kind for (kind,) in world.log("kind")} >= {"returned", "stopped"}
    for mail in world.mailbox.mails:
        assert "SECRET" not in str(mail["Subject"]) + "".join(mail.get_body((part,)).get_content() for part in ("plain", "html"))


@pytest.mark.parametrize("on", ["world", "world_on_postgresql"])
def test_several_dispatchers_at_once_tell_everyone_once(on: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(on)
    codes = [world.launch() for _ in range(AT_ONCE)]
    ready = threading.Barrier(4)

    def work() -> None:
        dispatcher = world.dispatcher()
        ready.wait()
        while dispatcher.run_once():
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = Counter((mail["To"].addresses[0].username, str(mail["Subject"])[:40]) for mail in world.mailbox.mails)
    told = Counter((person, code) for person, subject in told.elements() for code in codes if code in subject)
    assert told == {(person, code): 1 for person in ("alice", "bob") for code in codes}
    assert world.notices("opened") == ["done"] * len(codes)


@pytest.mark.parametrize("on", ["world", "world_on_postgresql"])
def test_a_claim_takes_one_notice_only(on: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(on)
    codes = [world.launch() for _ in range(3)]
    assert world.dispatcher().run_once(limit=1) == 1
    assert world.dispatcher().run_once() == len(codes) - 1


def test_a_notice_under_lease_is_left_alone_until_the_lease_is_over(world: World) -> None:
    world.launch()
    taken = world.dispatcher()._claim()
    assert taken is not None
    assert world.dispatch() == []
    world.clock.advance(LEASE)
    assert world.dispatch() == ["alice", "bob"]


def test_a_dispatcher_that_lost_its_lease_while_sending_stops_there(world: World) -> None:
    world.launch()
    taken_over = threading.Event()

    def slow() -> None:
        if not taken_over.is_set():
            taken_over.set()
            world.clock.advance(LEASE)
            world.dispatch()

    world.mailbox.when_mail_comes = slow
    world.dispatch()
    told = Counter(world.mailbox.recipients)
    assert told == {"alice@example.org": 2, "bob@example.org": 1}
    assert world.log("person", "state") == [("alice", "sent"), ("bob", "sent")]
    assert world.notices("opened") == ["done"]


def test_a_dispatcher_killed_while_sending_costs_one_repeated_message(world: World) -> None:
    world.launch()
    crash_while_sending(world)
    assert world.mailbox.recipients == ["alice@example.org"]
    assert world.dispatch() == ["alice", "bob"]
    assert world.log("person", "state", "attempts") == [("alice", "sent", 2), ("bob", "sent", 1)]


def test_a_message_that_kills_twice_is_not_sent_a_third_time(world: World) -> None:
    world.launch()
    crash_while_sending(world)
    crash_while_sending(world)
    assert world.dispatch() == ["bob", "manager"]
    assert world.log("person", "state", kind="opened") == [("alice", "refused"), ("bob", "sent")]
    assert world.open_incidents() == ["undeliverable:alice"]


def test_the_loop_fires_timers_and_sends_until_it_is_stopped(world: World) -> None:
    world.launch()
    world.clock.advance(9 * DAY)
    stop = threading.Event()
    loop = threading.Thread(target=world.dispatcher().run, args=(stop,))
    loop.start()
    try:
        for _ in range(4):
            assert world.mailbox.arrived.acquire(timeout=20)
    finally:
        stop.set()
        loop.join()
    assert [kind for (kind,) in world.log("kind")] == ["opened", "opened", "reminder", "reminder"]


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)])
def test_each_failure_waits_longer_up_to_an_hour(attempts: int, minutes: int) -> None:
    assert back_off(attempts) == timedelta(minutes=minutes)
