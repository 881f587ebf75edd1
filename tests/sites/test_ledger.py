"""The ledger: each command once, whole or not at all, whoever else writes at the same moment."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from small import SMALL, gate, kinds, launch, to_ethics, to_setup
from sqlalchemy import event, func, select
from town import settle

from protocols.errors import (
    CheckpointAlreadyCompleted,
    CommandReused,
    DatabaseUnavailable,
    IllegalTransition,
    InsituError,
    InvalidAnswers,
    InvalidInput,
    NotAssigned,
    Refused,
    UnknownThing,
)
from sites import inbox, registry, releases
from sites.board import iso
from sites.clock import SetClock
from sites.database import Database, table
from sites.journal import verify
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked
from sites.tables import Command, Draft, Experiment, FactRow, Notice, Step, Timer


@pytest.fixture
def small(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    """A ledger with people, sites and the small protocol."""
    release(SMALL)
    return ledger


def counted(database: Database, model: Any) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table(model))).scalar_one())


def rows(database: Database) -> dict[str, int]:
    return {model.__name__: counted(database, model) for model in (FactRow, Step, Timer, Notice, Command, Experiment, Draft)}


# ------------------------------------------------------------------ a command is carried out once


def test_a_repeated_command_id_gets_the_first_result_and_writes_nothing(small: Ledger) -> None:
    code = launch(small, command_id="l")
    first = small.complete(f"{code}:review::1", {"sound": True}, "methodologist", command_id="c")
    before = rows(small.database)
    assert launch(small, command_id="l") == code
    assert small.complete(f"{code}:review::1", {"sound": True}, "methodologist", command_id="c") == first
    assert first["gate"] == "passed"
    assert rows(small.database) == before


@pytest.mark.parametrize("again", [{"sound": False}, {"sound": True, "comments": "x"}])
def test_a_command_id_is_not_used_for_two_things(small: Ledger, again: dict[str, Any]) -> None:
    code = launch(small)
    small.complete(f"{code}:review::1", {"sound": True}, "methodologist", command_id="c")
    with pytest.raises(CommandReused):
        small.complete(f"{code}:review::1", again, "methodologist", command_id="c")


def test_a_command_that_was_refused_may_be_corrected_under_the_same_id(small: Ledger) -> None:
    code = launch(small)
    with pytest.raises(InvalidAnswers):
        small.complete(f"{code}:review::1", {}, "methodologist", command_id="c")
    assert small.complete(f"{code}:review::1", {"sound": True}, "methodologist", command_id="c")["gate"] == "passed"


@pytest.mark.parametrize("command_id", ["", " ", "x" * 129])
def test_what_cannot_be_a_command_id_is_refused_before_anything_is_done(small: Ledger, command_id: str) -> None:
    code = launch(small)
    before = rows(small.database)
    for act in (
        lambda: launch(small, command_id=command_id),
        lambda: small.complete(f"{code}:review::1", {"sound": True}, "methodologist", command_id=command_id),
        lambda: small.sign(f"{code}:review::1", "methodologist", prove=unasked, command_id=command_id),
        lambda: small.hold(code, "project_manager", "x", command_id=command_id),
    ):
        with pytest.raises(InvalidInput, match="A command id"):
            act()
    assert rows(small.database) == before | {"Draft": rows(small.database)["Draft"]}


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each act gives, or its error, when all start together."""
    barrier = Barrier(len(acts))

    def begun(act: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return act()
        except InsituError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(begun, acts))


def test_the_same_command_sent_many_times_at_once_is_carried_out_once(small: Ledger) -> None:
    code = launch(small)
    act = lambda: small.complete(f"{code}:review::1", {"sound": True}, "methodologist", command_id="c")  # noqa: E731
    results = at_once(act, act, act, act)
    assert [result["gate"] for result in results] == ["passed"] * 4
    assert kinds(small, code, "CheckpointCompleted") == ["CheckpointCompleted"]


def test_the_same_launch_sent_many_times_at_once_starts_one_experiment(small: Ledger) -> None:
    codes = at_once(*[lambda: launch(small, command_id="l")] * 4)
    assert codes == ["SMALL-1"] * 4
    assert counted(small.database, Experiment) == 1


def test_many_launches_at_once_each_get_a_code(small: Ledger) -> None:
    codes = at_once(*[lambda: launch(small)] * 4)
    assert sorted(codes) == ["SMALL-1", "SMALL-2", "SMALL-3", "SMALL-4"]


def test_one_id_for_two_experiments_at_once_serves_one_of_them(small: Ledger) -> None:
    names = [f"{launch(small)}:review::1" for _ in "ab"]
    results = at_once(*[lambda name=name: small.complete(name, {"sound": True}, "methodologist", command_id="c") for name in names])
    assert sorted(type(result).__name__ for result in results) == ["CommandReused", "dict"]
    assert counted(small.database, FactRow) == 2 * 2 + 3


# ------------------------------------------------------------------ two people at once


def test_of_two_people_at_once_one_wins_and_the_other_keeps_a_draft(small: Ledger) -> None:
    code = launch(small)
    name = to_setup(small, code)[0]
    by = ["site_coordinator", "nurse.caen"]
    results = at_once(*[lambda who=who: small.complete(name, {"ready": True}, who) for who in by])
    lost = next(number for number, result in enumerate(results) if isinstance(result, CheckpointAlreadyCompleted))
    winner, loser = by[1 - lost], by[lost]
    assert results[1 - lost]["gate"] == "passed"
    assert f"already completed by {winner}" in str(results[lost])
    draft = inbox.checkpoint(small.database, name, small.clock.now(), person=loser, access=EVERYTHING)["draft"]
    assert draft["answers"] == {"ready": True}


COMPLETE = """
import sys, datetime
from protocols.errors import InsituError
from sites.clock import SetClock
from sites.database import Database
from sites.ledger import Ledger
ledger = Ledger(Database(sys.argv[1]), SetClock(datetime.datetime.fromisoformat(sys.argv[2])))
sys.stdin.readline()
try:
    print("won", ledger.complete(sys.argv[3], {"ready": True}, sys.argv[4])["gate"])
except InsituError as error:
    print("lost", error)
"""


def test_of_two_processes_at_once_one_wins_and_the_other_is_told_who(small: Ledger) -> None:
    code = launch(small)
    name = to_setup(small, code)[0]
    people = ["site_coordinator", "nurse.caen"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPLETE, small.database.url, small.clock.now().isoformat(), name, who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for who in people
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    won = [who for who, words in zip(people, said, strict=True) if words == "won passed"]
    assert len(won) == 1
    assert sum(f"already completed by {won[0]}" in words for words in said) == 1
    assert verify(small.database)["ok"]


def test_sites_completed_at_once_are_all_counted(small: Ledger) -> None:
    """Both make the join move: neither may miss the other."""
    code = launch(small, "CAEN", "METZ", "SDEN")
    names = to_setup(small, code, "CAEN", "METZ", "SDEN")
    results = at_once(*[lambda name=name: small.complete(name, {"ready": True}, "site_coordinator") for name in names])
    assert [result["gate"] for result in results] == ["passed"] * 3
    assert gate(small, code, "closure")["status"] == "open"
    assert kinds(small, code)[-2:] == ["GatePassed", "StepOpened"]


# ------------------------------------------------------------------ launching


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"sites": []}, InvalidInput, "at least one site"),
        ({"sites": ["CAEN", "NOWHERE"]}, UnknownThing, "NOWHERE"),
        ({"protocol": "smal"}, UnknownThing, "no protocol 'smal'"),
        ({"version": "9.9.9"}, UnknownThing, "version 9.9.9"),
        ({"launch": {}}, InvalidAnswers, "target: an answer is required"),
        ({"launch": {"target": 0}}, InvalidAnswers, "at least 1"),
        ({"launch": {"target": 1, "targt": 1}}, InvalidAnswers, "no such field"),
        ({"by": "methodologist"}, NotAssigned, "project_manager"),
        ({"by": "who?"}, NotAssigned, "There is no person 'who\\?'"),
    ],
)
def test_a_launch_that_cannot_be_is_refused_and_leaves_nothing(
    small: Ledger, changed: dict[str, Any], error: type[Exception], said: str
) -> None:
    usual: dict[str, Any] = {"protocol": "small", "sites": ["CAEN"], "launch": {"target": 1}, "by": "project_manager"}
    with pytest.raises(error, match=said):
        small.launch(**usual | changed)
    assert counted(small.database, Experiment) == counted(small.database, FactRow) == 0


def test_a_site_named_twice_takes_part_once(small: Ledger) -> None:
    code = launch(small, "CAEN", "METZ", "CAEN")
    assert [site["code"] for site in inbox.status(small.database, code, small.clock.now(), access=EVERYTHING)["sites"]] == ["CAEN", "METZ"]


# ------------------------------------------------------------------ names of things


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SMALL-1:nothing::1", "no step 'nothing'"),
        ("SMALL-1:setup::1", "each site"),
        ("SMALL-1:review:CAEN:1", "of the experiment"),
        ("SMALL-1:setup:SDEN:1", "SDEN"),
        ("SMALL-1:setup:NOWHERE:1", "NOWHERE"),
        ("SMALL-9:review::1", "no experiment 'SMALL-9'"),
        ("SMALL-1:review", "not a checkpoint"),
        ("SMALL-1:review::one", "not a checkpoint"),
        ("SMALL-1:review::99999999999999999999", "not a checkpoint"),
    ],
)
def test_a_name_of_nothing_is_said_to_be_one(small: Ledger, name: str, said: str) -> None:
    launch(small)
    acts: list[Callable[[], Any]] = [
        lambda: small.complete(name, {"ready": True}, "methodologist"),
        lambda: small.sign(name, "methodologist", prove=unasked),
        lambda: small.save_draft(name, "methodologist", {}),
        lambda: small.record_action(name, 0, {}),
        lambda: inbox.checkpoint(small.database, name, small.clock.now(), access=EVERYTHING),
    ]
    for act in acts:
        with pytest.raises(UnknownThing, match=said):
            act()


@pytest.mark.parametrize("act", ["hold", "stop", "release"])
def test_a_site_that_takes_no_part_cannot_be_held_or_stopped(small: Ledger, act: str) -> None:
    code = launch(small)
    with pytest.raises(IllegalTransition, match="SDEN takes no part"):
        getattr(small, act)(code, "project_manager", "because", site="SDEN")


# ------------------------------------------------------------------ signatures and rounds


def test_a_signature_must_be_another_persons(small: Ledger) -> None:
    name = to_ethics(small, launch(small))
    small.complete(name, {"opinion": "yes"}, "ethics_officer")
    assert small.sign(name, "ethics_officer", prove=unasked)["status"] == "open"
    with pytest.raises(Refused, match="must be another person's"):
        small.sign(name, "ethics_officer", prove=unasked)
    assert small.sign(name, "second.officer", prove=unasked)["gate"] == "passed"


def test_changing_the_answers_voids_the_signatures(small: Ledger) -> None:
    name = to_ethics(small, launch(small))
    small.complete(name, {"opinion": "again"}, "ethics_officer")
    small.sign(name, "ethics_officer", prove=unasked)
    with pytest.raises(CheckpointAlreadyCompleted, match="waits for signatures"):
        small.complete(name, {"opinion": "yes"}, "second.officer")
    small.complete(name, {"opinion": "yes"}, "second.officer", change=True)
    shown = inbox.checkpoint(small.database, name, small.clock.now(), locale="en", access=EVERYTHING)
    assert (shown["signatures"], shown["next_signature"]["meaning"]) == ([], "I certify")
    small.sign(name, "second.officer", prove=unasked)
    assert small.sign(name, "ethics_officer", prove=unasked)["gate"] == "passed"


def test_a_change_is_another_command_than_the_answers_it_replaces(small: Ledger) -> None:
    name = to_ethics(small, launch(small))
    small.complete(name, {"opinion": "yes"}, "ethics_officer", command_id="c")
    small.sign(name, "ethics_officer", prove=unasked)
    with pytest.raises(CommandReused):
        small.complete(name, {"opinion": "yes"}, "ethics_officer", command_id="c", change=True)


def test_an_earlier_round_stays_readable(small: Ledger) -> None:
    code = launch(small)
    name = to_ethics(small, code)
    small.complete(name, {"opinion": "again"}, "ethics_officer")
    small.sign(name, "ethics_officer", prove=unasked)
    assert small.sign(name, "second.officer", prove=unasked)["gate"] == "returned"
    with pytest.raises(IllegalTransition, match="Round 1 of 'review' is over"):
        small.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    small.complete(f"{code}:review::2", {"sound": True, "comments": "better"}, "methodologist")
    review = inbox.checkpoint(small.database, f"{code}:review::2", small.clock.now(), access=EVERYTHING)
    ethics = inbox.checkpoint(small.database, f"{code}:ethics::2", small.clock.now(), access=EVERYTHING)
    assert [(one["round"], one["status"], one["answers"]) for one in review["earlier_rounds"]] == [(1, "passed", {"sound": True})]
    assert [(one["round"], one["status"], one["completed_by"]) for one in ethics["earlier_rounds"]] == [(1, "returned", "ethics_officer")]
    assert [signature["by"] for signature in ethics["earlier_rounds"][0]["signatures"]] == ["ethics_officer", "second.officer"]


def test_answers_the_form_refuses_are_kept_as_a_draft(small: Ledger) -> None:
    code = launch(small)
    typed = {"sound": "perhaps", "comments": "half a \ud83d character, \x00 and", "number": float("nan"), "long": 10**40}
    with pytest.raises(InvalidAnswers, match="expected true or false"):
        small.complete(f"{code}:review::1", typed, "methodologist")
    draft = inbox.checkpoint(small.database, f"{code}:review::1", small.clock.now(), person="methodologist", access=EVERYTHING)["draft"]
    assert draft["answers"] == {"sound": "perhaps", "comments": "half a  character,  and", "number": None, "long": 1e40}


def test_only_who_may_answer_may_keep_a_draft(small: Ledger) -> None:
    code = launch(small)
    with pytest.raises(NotAssigned):
        small.save_draft(f"{code}:review::1", "nobody", {"sound": True})
    with pytest.raises(IllegalTransition, match="asks for no answers"):
        small.save_draft(f"{code}:review::2", "methodologist", {"sound": True})


# ------------------------------------------------------------------ the machine's reports


def test_a_report_repeated_or_come_too_late_changes_nothing(small: Ledger) -> None:
    code = launch(small)
    name = to_setup(small, code)[0]
    before = rows(small.database)
    assert small.record_action(name, 0, {"other": 1})["status"] == "open"
    assert small.record_action(f"{code}:setup:METZ:2", 0, {})["status"] == "open"
    small.stop(code, "project_manager", "over", site="METZ")
    small.stop(code, "project_manager", "over")
    after = rows(small.database)
    assert small.record_action(name, 0, {})["status"] == "stopped"
    assert (rows(small.database), after["FactRow"]) == (after, before["FactRow"] + 4)


def test_a_report_about_a_step_that_waits_again_is_taken_calmly(small: Ledger) -> None:
    code = launch(small)
    assert small.record_action(f"{code}:setup:CAEN:1", 0, {})["status"] == "waiting"
    assert small.record_action(f"{code}:closure::1", 0, {})["waiting_for"] == []


def test_a_failed_action_waits_for_a_project_manager(small: Ledger) -> None:
    code = launch(small)
    ethics = to_ethics(small, code)
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    small.sign(ethics, "ethics_officer", prove=unasked)
    small.sign(ethics, "second.officer", prove=unasked)
    name = f"{code}:setup:CAEN:1"
    assert small.record_action(name, 0, error="disk full")["status"] == "incident"
    assert inbox.owed_actions(small.database, code, "CAEN") == []
    with pytest.raises(NotAssigned):
        small.retry_action(name, "site_coordinator")
    assert small.retry_action(name, "project_manager")["status"] == "working"
    assert inbox.owed_actions(small.database, code, "CAEN")[0]["index"] == 0


def test_an_incident_is_reported_once_while_it_is_open(small: Ledger) -> None:
    code = launch(small)
    report = lambda: small.report_incident(code, "mail", "delivery", "Mail bounced")  # noqa: E731
    assert [report(), report()] == [True, False]
    assert [one["key"] for one in inbox.status(small.database, code, small.clock.now(), access=EVERYTHING)["incidents"]] == ["mail"]
    small.resolve_incident(code, "mail")
    assert inbox.status(small.database, code, small.clock.now(), access=EVERYTHING)["incidents"] == []
    assert report()
    assert kinds(small, code, "IncidentReported") == ["IncidentReported"] * 2


# ------------------------------------------------------------------ timers, holds and the clock

TIMED = ("ReminderDue", "DeadlineMissed", "Escalated")


def live(ledger: Ledger, days: int) -> None:
    """Let days pass, and the timers fire every hour of them."""
    clock = ledger.clock
    assert isinstance(clock, SetClock)
    for _ in range(days * 24):
        clock.advance(timedelta(hours=1))
        ledger.fire_timers()


def test_reminder_overdue_and_escalation_come_in_order_and_once(small: Ledger) -> None:
    code = launch(small)
    assert small.next_timer_at() == datetime(2026, 3, 9, 7, tzinfo=UTC)
    live(small, 20)
    assert kinds(small, code, *TIMED) == list(TIMED)
    assert gate(small, code, "review")["late"]
    assert small.next_timer_at() is None


def test_a_completed_step_is_not_reminded(small: Ledger) -> None:
    code = launch(small)
    to_ethics(small, code)
    live(small, 20)
    assert kinds(small, code, *TIMED) == []


def test_timers_fired_in_several_places_at_once_fire_once(small: Ledger) -> None:
    codes = [launch(small) for _ in range(3)]
    assert isinstance(small.clock, SetClock)
    small.clock.advance(timedelta(days=8))
    fired = at_once(*[small.fire_timers] * 3)
    assert sum(fired) == 3
    assert [kinds(small, code, *TIMED) for code in codes] == [["ReminderDue"]] * 3


def test_timers_and_a_release_at_once_do_not_block_each_other(small: Ledger) -> None:
    codes = [launch(small) for _ in range(4)]
    assert isinstance(small.clock, SetClock)
    for code in codes:
        small.hold(code, "project_manager", "holidays")
    small.clock.advance(timedelta(days=9))
    results = at_once(*[lambda code=code: small.release(code, "project_manager", "back") for code in codes], small.fire_timers)
    assert not [result for result in results if isinstance(result, InsituError)]
    assert verify(small.database)["ok"]


def test_a_hold_silences_reminders_and_moves_the_deadline(small: Ledger) -> None:
    code = launch(small)
    due = gate(small, code, "review")["due_at"]
    live(small, 5)
    small.hold(code, "project_manager", "strike")
    live(small, 10)
    assert kinds(small, code, *TIMED) == []
    assert not gate(small, code, "review")["late"]
    with pytest.raises(IllegalTransition, match="on hold"):
        small.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    small.release(code, "project_manager", "over")
    moved = datetime.fromisoformat(gate(small, code, "review")["due_at"])
    assert moved - datetime.fromisoformat(due) == timedelta(days=10)
    live(small, 20)
    assert kinds(small, code, *TIMED) == list(TIMED)


def test_what_a_hold_keeps_back_comes_after_the_release(small: Ledger) -> None:
    """An escalation due during a hold that came after the deadline: the deadline does not move, and the escalation must not be lost."""
    code = launch(small)
    live(small, 11)
    small.hold(code, "project_manager", "too late to help")
    assert small.next_timer_at() is None
    live(small, 5)
    assert kinds(small, code, *TIMED) == ["ReminderDue", "DeadlineMissed"]
    small.release(code, "project_manager", "again")
    live(small, 1)
    assert kinds(small, code, *TIMED) == list(TIMED)


def test_a_hold_of_one_site_leaves_the_others_their_deadlines(small: Ledger) -> None:
    code = launch(small)
    to_setup(small, code)
    small.hold(code, "project_manager", "flood", site="CAEN")
    live(small, 8)
    assert [gate(small, code, "setup", site)["late"] for site in ("CAEN", "METZ")] == [False, True]
    assert [item["blocked"] for item in inbox.inbox(small.database, "nurse.caen", small.clock.now())] == [True]
    missed = [fact["site"] for fact in inbox.journal(small.database, code, EVERYTHING) if fact["kind"] == "DeadlineMissed"]
    assert missed == ["METZ"]


def test_a_clock_set_back_a_little_does_not_undo_the_order_of_dates(small: Ledger) -> None:
    code = launch(small)
    assert isinstance(small.clock, SetClock)
    small.clock.advance(timedelta(minutes=-4))
    to_ethics(small, code)
    times = [fact["at"] for fact in inbox.journal(small.database, code, EVERYTHING)]
    assert times == sorted(times)


def test_a_clock_that_ran_ahead_does_not_date_what_follows_once_it_is_put_right(small: Ledger) -> None:
    code, right = launch(small), small.clock.now()
    assert isinstance(small.clock, SetClock)
    small.clock.advance(timedelta(days=700))
    ethics = to_ethics(small, code)
    small.clock.set(right + timedelta(hours=1))
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    facts = inbox.journal(small.database, code, EVERYTHING)
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert max(fact["at"] for fact in facts) == iso(right + timedelta(days=700))
    assert facts[-1]["at"] == iso(right + timedelta(hours=1))
    assert verify(small.database)["ok"]


# ------------------------------------------------------------------ a database in trouble


@pytest.fixture
def on_sqlite(sqlite_database: Database, clock: SetClock) -> Ledger:
    settle(sqlite_database)
    releases.add(sqlite_database, SMALL, clock)
    return Ledger(sqlite_database, clock)


@pytest.mark.parametrize("write", ["complete", "sign"])
def test_a_role_that_ended_while_the_turn_to_write_was_awaited_is_held_no_more(on_sqlite: Ledger, write: str) -> None:
    code, database = launch(on_sqlite), on_sqlite.database
    name, person = f"{code}:review::1", "methodologist"
    if write == "sign":
        name, person = to_ethics(on_sqlite, code), "ethics_officer"
        on_sqlite.complete(name, {"opinion": "yes"}, person)
    over = [lambda: registry.assign(database, person, person, until=date(2026, 1, 1))]

    def foreseen(*_: Any) -> None:
        """The command was thought through, and its reading connection is given back: now it waits for its turn."""
        if over:
            over.pop()()

    event.listen(database.engine, "checkin", foreseen)
    act = partial(on_sqlite.sign, prove=unasked) if write == "sign" else partial(on_sqlite.complete, answers={"sound": True})
    with pytest.raises(NotAssigned):
        act(name, by=person)
    assert kinds(on_sqlite, code)[-1] in ("StepOpened", "CheckpointCompleted")
    assert kinds(on_sqlite, code, "AnswersSigned", "GatePassed") == (["GatePassed"] if write == "sign" else [])


def each_connection(database: Database, *pragmas: str) -> None:
    """Prepare the connections that open from now on."""
    database.dispose()

    def prepare(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    event.listen(database.engine, "connect", prepare)


def test_a_full_disk_writes_nothing_and_says_so(on_sqlite: Ledger) -> None:
    code = launch(on_sqlite)
    before = rows(on_sqlite.database)
    with sqlite3.connect(on_sqlite.database.file or "") as direct:
        pages = direct.execute("PRAGMA page_count").fetchone()[0]
    each_connection(on_sqlite.database, f"max_page_count={pages}")
    with pytest.raises(DatabaseUnavailable, match="the disk is full"):
        on_sqlite.complete(f"{code}:review::1", {"sound": True, "comments": "long " * 1900}, "methodologist")
    assert rows(on_sqlite.database) == before
    assert verify(on_sqlite.database)["ok"]


def test_a_read_only_database_writes_nothing_and_says_so(on_sqlite: Ledger) -> None:
    code = launch(on_sqlite)
    before = rows(on_sqlite.database)
    each_connection(on_sqlite.database, "query_only=ON")
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        on_sqlite.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    assert rows(on_sqlite.database) == before


def test_a_locked_database_writes_nothing_and_says_so(on_sqlite: Ledger) -> None:
    code = launch(on_sqlite)
    before = rows(on_sqlite.database)
    each_connection(on_sqlite.database, "busy_timeout=50")
    holder = sqlite3.connect(on_sqlite.database.file or "", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        on_sqlite.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    holder.execute("ROLLBACK")
    holder.close()
    assert rows(on_sqlite.database) == before
    assert on_sqlite.complete(f"{code}:review::1", {"sound": True}, "methodologist")["gate"] == "passed"


def test_a_locked_server_writes_nothing_and_says_so(postgresql_database: Database, clock: SetClock) -> None:
    settle(postgresql_database)
    releases.add(postgresql_database, SMALL, clock)
    code = launch(Ledger(postgresql_database, clock))
    impatient = Database(f"{postgresql_database.url}&options=-c%20lock_timeout%3D50")
    with postgresql_database.write() as holder:
        holder.execute(select(table(Experiment)).with_for_update())
        with pytest.raises(DatabaseUnavailable, match="locked"):
            Ledger(impatient, clock).complete(f"{code}:review::1", {"sound": True}, "methodologist")
    impatient.dispose()
    assert kinds(Ledger(postgresql_database, clock), code) == ["ExperimentLaunched", "StepOpened"]


def test_writing_goes_on_where_the_writers_queue_cannot_be_made(on_sqlite: Ledger) -> None:
    file = on_sqlite.database.file
    assert file
    code = launch(on_sqlite)
    queue = file.with_name(file.name + ".queue")
    queue.unlink()
    queue.mkdir()
    elsewhere = Ledger(Database(on_sqlite.database.url), on_sqlite.clock)
    assert elsewhere.complete(f"{code}:review::1", {"sound": True}, "methodologist")["gate"] == "passed"
    elsewhere.database.dispose()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path, clock: SetClock) -> None:
    (tmp_path / "notes.db").write_text("Not a database at all, but long enough to look like something. " * 20)
    with pytest.raises(DatabaseUnavailable, match="not one of insitu's"):
        Ledger(Database(f"sqlite:///{tmp_path / 'notes.db'}"), clock).fire_timers()


def test_a_server_that_is_read_only_or_away_writes_nothing_and_says_so(postgresql_database: Database, clock: SetClock) -> None:
    settle(postgresql_database)
    releases.add(postgresql_database, SMALL, clock)
    ledger = Ledger(postgresql_database, clock)
    code = launch(ledger)
    before = rows(postgresql_database)
    frozen = Database(f"{postgresql_database.url}&options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        Ledger(frozen, clock).complete(f"{code}:review::1", {"sound": True}, "methodologist")
    frozen.dispose()
    away = Database(postgresql_database.url.replace("/test_", "/gone_"))
    with pytest.raises(DatabaseUnavailable, match="Nothing was written"):
        Ledger(away, clock).complete(f"{code}:review::1", {"sound": True}, "methodologist")
    assert rows(postgresql_database) == before


def test_a_read_sees_one_moment_while_others_write(small: Ledger) -> None:
    code = launch(small)
    with small.database.read() as connection:
        first = connection.execute(select(func.count()).select_from(table(FactRow))).scalar()
        to_ethics(small, code)
        assert connection.execute(select(func.count()).select_from(table(FactRow))).scalar() == first
