"""What a digest says at the moment of sending: each notice in it is decided again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from notifications.occasions import Row, Verdict, audience, decide_again, occasion, situation
from notifications.render import Line, Occasion, line
from sites import digests

LOOK_AGAIN_DURING_HOLD = timedelta(minutes=15)
# What one message can say; the rest goes in the next, at once.
MOST_LINES = 100


@dataclass(slots=True)
class Gathered:
    """The notices of a letter: those it says, with what it says of each; the deliveries that are overtaken; when others can be said.

    `unheard` still hold, and reach nobody any more: their managers must know.
    """

    sent: list[Row] = field(default_factory=list)
    occasions: list[Occasion] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    overtaken: list[int] = field(default_factory=list)
    unheard: list[Row] = field(default_factory=list)
    look_again: datetime | None = None


def gather(connection: Connection, letter: Row, person: Row, public_url: str, now: datetime) -> Gathered:
    """The notices that a letter gathers for a person, as they stand now."""
    found = Gathered()
    for notice in digests.gathered(connection, letter["key"]):
        if len(found.lines) == MOST_LINES:
            found.look_again = now
            break
        _weigh(connection, found, notice, person, public_url, now)
    return found


def _weigh(connection: Connection, found: Gathered, notice: dict[str, Any], person: Row, public_url: str, now: datetime) -> None:
    now_is = situation(connection, notice)
    verdict = decide_again(now_is, now)
    if verdict is Verdict.WAIT:
        found.look_again = now + LOOK_AGAIN_DURING_HOLD
        return
    told = audience(connection, now_is, now) if verdict is Verdict.TELL else None
    to = next((one for one in told.addressees if one.person["id"] == person["id"]), None) if told else None
    if to is None or told is None:
        found.overtaken.append(notice["delivery"])
        if told and not told.addressees:
            found.unheard.append(notice)
        return
    said = replace(occasion(now_is, public_url, told.nobody), deputised=to.deputised)
    found.sent.append(notice)
    found.occasions.append(said)
    found.lines.append(line(said, person["locale"]))
