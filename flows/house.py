"""What a flow or an action works on: this process's settings, database and ledger."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock

from sites.clock import Clock, SystemClock
from sites.database import Database
from sites.ledger import Ledger
from sites.occupied import occupying
from sites.private import close_folder
from sites.settings import Settings

RETRY_DELAYS_S = (2.0, 10.0, 60.0)


@dataclass(frozen=True, slots=True)
class House:
    """`retry_delays_s`: how long to wait before each new attempt of a failed action; after the last it failed for good."""

    settings: Settings
    database: Database
    ledger: Ledger
    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S

    @classmethod
    def open(cls, settings: Settings, clock: Clock | None = None) -> House:
        close_folder(settings.data)
        database = Database(settings.database_url)
        return cls(settings, database, Ledger(database, clock or SystemClock()))


_lock = Lock()
_at_work = ExitStack()  # never left: it ends with the process
_house: House | None = None


def house() -> House:
    """The house of this process: the one moved into, else the one the environment describes (a flow run in its own process)."""
    global _house
    with _lock:
        if _house is None:
            _house = House.open(Settings.load())
            _at_work.enter_context(occupying(_house.database, "a flow run of Prefect"))
        return _house


def move_into(new: House) -> None:
    """Let every flow of this process work on `new`: what an in-process worker, a demonstration or a test starts with."""
    global _house
    with _lock:
        _house = new
