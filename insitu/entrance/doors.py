"""What the pages and the API work on: one installation's settings, database, ledger and key."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from fastapi import Request

from insitu.entrance.provider import Provider
from insitu.supervision import Parts
from sites.clock import Clock
from sites.database import Database
from sites.identity.keys import Key
from sites.identity.limits import Limits
from sites.identity.proofs import Ways, ways_of
from sites.ledger import Ledger
from sites.settings import Settings
from sites.skew import ClockWatch


@dataclass(frozen=True, slots=True)
class Doors:
    """`loopback` says that only this machine can reach the doors: its own account then creates the first manager without a code.

    `parts` is how the rest of this process is.
    `provider` is the OpenID provider of the settings, with what it said of itself; None without one.
    `watch` looks at the machine's clock; None where the clock is set. `code_told` is set once the code of the set-up stands in the log.
    """

    settings: Settings
    database: Database
    ledger: Ledger
    key: Key
    loopback: bool = True
    limits: Limits = field(default_factory=Limits)
    parts: Parts = field(default_factory=Parts)
    provider: Provider | None = None
    watch: ClockWatch | None = None
    code_told: Event = field(default_factory=Event)

    @classmethod
    def of(cls, settings: Settings, database: Database, ledger: Ledger, *, loopback: bool = True, parts: Parts | None = None) -> Doors:
        provider = Provider(settings) if settings.has_provider else None
        watch = ClockWatch(ledger.clock) if ledger.clock.is_real else None
        return cls(settings, database, ledger, Key.of(settings), loopback, parts=parts or Parts(), provider=provider, watch=watch)

    @property
    def clock(self) -> Clock:
        return self.ledger.clock

    def ways_of(self, person: str) -> Ways:
        """By what a person can prove who they are, for the page that asks."""
        return ways_of(self.database, person)


def doors_of(request: Request) -> Doors:
    """The doors a request came through."""
    found: Doors = request.app.state.doors
    return found
