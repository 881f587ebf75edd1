"""What the pages and the API work on: one installation's settings, database, ledger and key."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from sites.clock import Clock
from sites.database import Database
from sites.identity.keys import Key
from sites.ledger import Ledger
from sites.settings import Settings


@dataclass(frozen=True, slots=True)
class Doors:
    """`loopback` says that only this machine can reach the doors: the first manager is then created without a code."""

    settings: Settings
    database: Database
    ledger: Ledger
    key: Key
    loopback: bool = True

    @classmethod
    def of(cls, settings: Settings, database: Database, ledger: Ledger, *, loopback: bool = True) -> Doors:
        return cls(settings, database, ledger, Key.of(settings), loopback)

    @property
    def clock(self) -> Clock:
        return self.ledger.clock


def doors_of(request: Request) -> Doors:
    """The doors a request came through."""
    found: Doors = request.app.state.doors
    return found
