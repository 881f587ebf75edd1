"""Time as an object, so that a demonstration or a test can live a year in a minute, and say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

# Clocks of several machines, or one put right a little, may stand so long before the last fact; more is a clock that was wrong.
TOLERANCE = timedelta(minutes=5)


def dated(now: datetime, last: datetime) -> datetime:
    """The date of a fact that follows one dated `last`: never a little before it, and not dragged along after a clock that ran ahead.

    The order of facts is that of their numbers; a date says what the clock said (docs/adr/0023).
    """
    return last if now < last <= now + TOLERANCE else now


class Clock(Protocol):
    """Gives the present, aware UTC. `is_real` is False when the time shown is not the time it is."""

    is_real: bool

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    is_real = True

    def now(self) -> datetime:
        return datetime.now(UTC)


class SetClock:
    """A clock that stands where it is set."""

    is_real = False

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by

    def set(self, to: datetime) -> None:
        self._now = to.astimezone(UTC)
