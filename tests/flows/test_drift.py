"""What is asked of Prefect next, and what someone did there: tables of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flows.client import Run
from flows.drift import Call, External, done_by_hand, next_call
from flows.picture import Picture, Rest

RESTING = Picture("", "MINI-1", Rest.RESTS, "PAUSED", "Awaiting A", "m", (), {}, {})
WORKING = replace(RESTING, rest=Rest.WORKS, type="RUNNING", state="Working: A")
ENDED = replace(RESTING, rest=Rest.ENDED, type="COMPLETED", state="Closed")


def run(type_: str, state: str, message: str = "m") -> Run:
    return Run("r", type_, state, message, "s", datetime(2026, 3, 2, tzinfo=UTC), "d")


CALLS = [
    ("no run yet", RESTING, None, Call.CREATE),
    ("it rests under the right name", RESTING, run("PAUSED", "Awaiting A"), Call.LEAVE),
    ("under another", RESTING, run("PAUSED", "Awaiting B"), Call.SHOW),
    ("its deadline moved", RESTING, run("PAUSED", "Awaiting A", "old"), Call.SHOW),
    ("a worker has it: it will rest by itself", RESTING, run("RUNNING", "Running"), Call.WATCH),
    ("someone resumed it", RESTING, run("SCHEDULED", "Resuming"), Call.WATCH),
    ("someone cancelled it", RESTING, run("CANCELLED", "Cancelled"), Call.SHOW),
    ("an action is owed", WORKING, run("PAUSED", "Awaiting A"), Call.WAKE),
    ("and a worker is at it", WORKING, run("RUNNING", "Working: A"), Call.WATCH),
    ("and the worker crashed", WORKING, run("CRASHED", "Crashed"), Call.WAKE),
    ("and it was cancelled", WORKING, run("CANCELLED", "Cancelled"), Call.WAKE),
    ("it ended", ENDED, run("PAUSED", "Awaiting A"), Call.SHOW),
    ("and says so", ENDED, run("COMPLETED", "Closed"), Call.LEAVE),
    ("a site's track that ended begins a new round", RESTING, run("COMPLETED", "Closed"), Call.SHOW),
]


@pytest.mark.parametrize(("wanted", "found", "call"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_the_next_call_brings_the_run_to_its_picture(wanted: Picture, found: Run | None, call: Call) -> None:
    assert next_call(wanted, found) is call


SENT = ("PAUSED", "Awaiting A")
ACTS = [
    ("a run never sent is only new", RESTING, None, None, None),
    ("a run that was there is gone", RESTING, None, SENT, External.DELETED),
    ("as sent", RESTING, run("PAUSED", "Awaiting A"), SENT, None),
    ("as it should be", replace(RESTING, state="Awaiting B"), run("PAUSED", "Awaiting B"), SENT, None),
    ("the flow rested under an older name", RESTING, run("PAUSED", "Awaiting Z"), SENT, None),
    ("executing", RESTING, run("RUNNING", "Running"), SENT, None),
    ("cancelled", RESTING, run("CANCELLED", "Cancelled"), SENT, External.CANCELLED),
    ("suspended", RESTING, run("PAUSED", "Suspended"), SENT, External.SUSPENDED),
    ("crashed", WORKING, run("CRASHED", "Crashed"), SENT, External.FAILED),
    ("completed by hand", RESTING, run("COMPLETED", "Completed"), SENT, External.CHANGED),
    ("stopped by us", ENDED, run("CANCELLED", "Stopped"), ("CANCELLED", "Stopped"), None),
    ("a track that had ended goes on", RESTING, run("COMPLETED", "Closed"), ("COMPLETED", "Closed"), None),
]


@pytest.mark.parametrize(("wanted", "found", "sent", "act"), [case[1:] for case in ACTS], ids=[case[0] for case in ACTS])
def test_only_what_a_person_did_in_prefect_is_reported(
    wanted: Picture, found: Run | None, sent: tuple[str, str] | None, act: External | None
) -> None:
    assert done_by_hand(wanted, found, sent) is act
