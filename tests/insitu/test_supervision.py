"""Threads that start over when they end by themselves, and what is said of them meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from prefect.exceptions import Pause

from insitu.supervision import Condition, Parts, State, supervised

WITHIN_S = 30


class Mortal:
    """Ends as told in its first life; lives on in its second."""

    def __init__(self, parts: Parts, end: Callable[[], None]) -> None:
        self.lives, self.second = 0, threading.Event()
        self._parts, self._end = parts, end

    def run(self, stop: threading.Event) -> None:
        self.lives += 1
        self._parts.say("mortal", State.OK)
        if self.lives == 1:
            self._end()
            return
        self.second.set()
        stop.wait()


def returns() -> None:
    pass


def raises() -> None:
    raise ValueError("broken")


def exits() -> None:
    raise SystemExit(3)


def pauses() -> None:
    raise Pause("another took it")


@pytest.mark.parametrize("end", [returns, raises, exits, pauses])
def test_a_part_that_ends_by_itself_is_said_and_starts_over(end: Callable[[], None]) -> None:
    parts = Parts()
    mortal = Mortal(parts, end)
    with supervised(parts, "mortal", mortal.run):
        assert parts.wait(lambda now: now.get("mortal", Condition(State.STARTING)).state is State.RESTARTING, WITHIN_S)
        assert mortal.second.wait(WITHIN_S)
        assert parts.all()["mortal"].state is State.OK
    assert mortal.lives == 2


def test_a_part_that_is_told_to_stop_is_not_started_over() -> None:
    parts = Parts()
    mortal = Mortal(parts, returns)
    mortal.lives = 1
    with supervised(parts, "mortal", mortal.run):
        assert mortal.second.wait(WITHIN_S)
    assert (mortal.lives, parts.all()["mortal"].state) == (2, State.OK)
    assert "mortal" not in [thread.name for thread in threading.enumerate()]


def test_since_when_a_part_is_so_is_kept_until_it_changes() -> None:
    parts = Parts()
    parts.say("worker", State.OK)
    first = parts.all()["worker"]
    parts.say("worker", State.OK)
    assert parts.all()["worker"] is first
    parts.say("worker", State.AWAY)
    assert parts.all()["worker"].state is State.AWAY
