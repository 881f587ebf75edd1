"""Digests: letters that gather notices for one person, and what goes into each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, not_, or_, select, update

from sites.database import table
from sites.letters import owe_letter
from sites.preferences import ORDINARY
from sites.tables import Assignment, Delivery, Experiment, Letter, Notice, Timer

_DELIVERY, _NOTICE, _LETTER = table(Delivery), table(Notice), table(Letter)
_ASSIGNMENT, _EXPERIMENT, _TIMER = table(Assignment), table(Experiment), table(Timer)

DAILY, FLOOD = "digest", "flood"
# More ordinary notices than these within the window, and they go as one message.
AT_ONCE = 5
WINDOW = timedelta(minutes=10)
# How long a digest waits for what belongs in it.
LONGEST_WAIT = timedelta(minutes=2)
# A backlog is not read to its end to know that it is one.
LOOK_AHEAD = 200

_SENT = (
    select(_NOTICE.c.id)
    .join(_DELIVERY, _DELIVERY.c.notice_id == _NOTICE.c.id)
    .where(
        _DELIVERY.c.person == bindparam("person"),
        _DELIVERY.c.at > bindparam("since"),
        _DELIVERY.c.state.in_(("sent", "sending")),
        _NOTICE.c.kind.in_(sorted(ORDINARY)),
    )
    .limit(LOOK_AHEAD)
)
_DUE = (
    select(_NOTICE.c.id, _NOTICE.c.roles, _NOTICE.c.persons, _NOTICE.c.site, _EXPERIMENT.c.code)
    .join(_EXPERIMENT, _EXPERIMENT.c.id == _NOTICE.c.experiment_id)
    .where(_NOTICE.c.state == "owed", _NOTICE.c.next_at <= bindparam("now"), _NOTICE.c.kind.in_(sorted(ORDINARY)))
    .order_by(_NOTICE.c.next_at)
    .limit(LOOK_AHEAD)
)
_OPEN_FLOOD = (
    select(_LETTER.c.key)
    .where(
        _LETTER.c.state == "owed",
        _LETTER.c.next_at > bindparam("now"),
        _LETTER.c.kind == DAILY,
        _LETTER.c.person == bindparam("person"),
        _LETTER.c.key.startswith(f"{FLOOD}:"),
    )
    .order_by(_LETTER.c.id)
    .limit(1)
)


def is_complete(now: datetime) -> ColumnElement[bool]:
    """Whether a letter that is owed may go: a digest waits, two minutes at most, for what fell due by its hour and is not in it yet."""
    to_fire = exists().where(_TIMER.c.kind == "reminder", _TIMER.c.fire_at <= _LETTER.c.next_at)
    to_decide = exists().where(_NOTICE.c.state == "owed", _NOTICE.c.next_at <= _LETTER.c.next_at)
    return or_(_LETTER.c.kind != DAILY, _LETTER.c.next_at <= now - LONGEST_WAIT, not_(or_(to_fire, to_decide)))


def join_daily(connection: Connection, person: str, at: datetime, now: datetime) -> str:
    """The key of the letter that goes out at `at` with the day's notices, owed if it was not; in the caller's write transaction.

    Nobody takes the letter up before the caller's transaction ends: what joins it is in it.
    """
    return _join(connection, f"{DAILY}:{person}:{at.isoformat()}", person, at, now)


def join_flood(connection: Connection, person: str, now: datetime) -> str:
    """The key of the letter that gathers a flood: the one that is open, else a new one that goes out when the window is over."""
    known = connection.execute(_OPEN_FLOOD, {"person": person, "now": now}).scalar()
    return _join(connection, known or f"{FLOOD}:{person}:{now.isoformat()}", person, now + WINDOW, now)


def _join(connection: Connection, key: str, person: str, at: datetime, now: datetime) -> str:
    for number in itertools.count(1):
        one = key if number == 1 else f"{key}.{number}"
        owe_letter(connection, one, DAILY, person, now, at=at)
        # Locks the row; a letter that was taken up before may have been read already.
        untouched = (_LETTER.c.key == one, _LETTER.c.state == "owed", _LETTER.c.attempts == 0, _LETTER.c.leased_until.is_(None))
        if connection.execute(update(_LETTER).where(*untouched).values(kind=DAILY)).rowcount == 1:
            return one
    raise AssertionError("the numbers do not end")


def is_flood(connection: Connection, person: str, now: datetime, at_once: int = AT_ONCE) -> bool:
    """Whether a person gets more ordinary notices within ten minutes than one by one: those of the last ten minutes, and those due now."""
    asked = {"person": person, "now": now, "since": now - WINDOW}
    if connection.execute(_OPEN_FLOOD, asked).first():
        return True
    found = set(connection.execute(_SENT, asked).scalars())
    if len(found) > at_once:
        return True
    due = [dict(row) for row in connection.execute(_DUE, asked).mappings() if row["id"] not in found]
    if len(found) + len(due) <= at_once:
        return False
    held = [dict(row) for row in connection.execute(select(_ASSIGNMENT).where(_ASSIGNMENT.c.person == person)).mappings()]
    return len(found) + sum(_concerns(row, person, held) for row in due) > at_once


def _concerns(notice: Mapping[str, Any], person: str, held: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a notice is likely for this person; dates are left out, as an alarm too many costs ten minutes only."""
    if person in notice["persons"]:
        return True
    return any(
        one["role"] in notice["roles"]
        and one["experiment"] in ("", notice["code"])
        and (not notice["site"] or one["site"] in ("", notice["site"]))
        for one in held
    )


def gathered(connection: Connection, letter: str) -> list[dict[str, Any]]:
    """The notices that a letter gathers and that were not sent yet, oldest first: their columns, and `delivery`, the row that waits."""
    query = (
        select(_NOTICE, _DELIVERY.c.id.label("delivery"))
        .join(_DELIVERY, _DELIVERY.c.notice_id == _NOTICE.c.id)
        .where(_in_letter(letter))
        .order_by(_NOTICE.c.id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def settle_gathered(connection: Connection, letter: str, now: datetime, deliveries: list[int], **values: Any) -> None:
    """Write what became of deliveries that a letter gathered."""
    ours = and_(_in_letter(letter), _DELIVERY.c.id.in_(deliveries))
    connection.execute(update(_DELIVERY).where(ours).values(at=now, **values))


def _in_letter(letter: str) -> ColumnElement[bool]:
    return and_(_DELIVERY.c.letter == letter, _DELIVERY.c.state == "digested")
