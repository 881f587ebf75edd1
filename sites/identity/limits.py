"""How often a door may be tried from one network address: in this process's memory, beside the lock-out of an account."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from protocols.errors import TooOften
from protocols.phrase import Phrase


class Door(StrEnum):
    """What may be tried, with what is counted."""

    SIGN_IN = "sign_in"  # failures: a hospital stands behind one address
    PROVIDER = "provider"  # answers of the OpenID provider that do not hold
    STRAY = "stray"  # what comes back from the provider to a browser that never went, as any page can make it: how often it is noted
    RECOVERY = "recovery"  # every asking
    LINK = "link"  # links that do not open
    SETUP = "setup"  # wrong codes
    CHANNEL = "channel"  # tests of channels, by person
    TOKEN = "token"  # noqa: S105 - tokens of the API that are not in force
    REFUSAL = "refusal"  # requests whose refusal is journaled
    REFUSALS = "refusals"  # the same from all addresses together


RATES = {
    Door.SIGN_IN: "50/10 minutes",
    Door.PROVIDER: "50/10 minutes",
    Door.STRAY: "20/10 minutes",
    Door.RECOVERY: "20/hour",
    Door.LINK: "50/10 minutes",
    Door.SETUP: "10/10 minutes",
    Door.CHANNEL: "10/10 minutes",
    Door.TOKEN: "50/10 minutes",
    Door.REFUSAL: "50/10 minutes",
    Door.REFUSALS: "1000/hour",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The tries of one process. Time is the machine's own: nobody waits for a demonstration's clock."""

    rates: dict[Door, RateLimitItem] = field(default_factory=lambda: {door: parse(rate) for door, rate in RATES.items()})
    counter: MovingWindowRateLimiter = field(default_factory=lambda: MovingWindowRateLimiter(MemoryStorage()))

    def check(self, door: Door, address: str) -> None:
        """Raise TooOften when the address has no try left."""
        if not self.counter.test(self.rates[door], door.value, _counted_as(address)):
            raise TooOften(Phrase("There were too many tries from your network. Wait ten minutes, then try again."))

    def count(self, door: Door, address: str) -> bool:
        """Count a try of the address; False when it had none left."""
        return self.counter.hit(self.rates[door], door.value, _counted_as(address))


def _counted_as(address: str) -> str:
    """An address of IPv6 stands for its network: one machine may use 2^64 of them (RFC 4291, 2.5.1)."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address
