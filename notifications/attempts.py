"""What became of a notice for one person: a row of `delivery`, written before anything is done and after it.

Every function but `find` works in the caller's write transaction, which holds the notice's lease.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from notifications.occasions import Row, first_row
from sites.database import table
from sites.tables import Delivery

_DELIVERY = table(Delivery)

LEASE = timedelta(minutes=2)
LONGEST_BACK_OFF = timedelta(hours=1)
# Five hours of trying: a person should know. Three days of trying: a mail server down over a weekend loses nobody's message.
REPORT_AFTER_ATTEMPTS = 10
GIVE_UP_AFTER_ATTEMPTS = 77
INTERRUPTED = "interrupted while sending"
# What may still be decided anew; a `sending` found at the beginning was interrupted, and must go on as it began.
UNDECIDED = ("postponed", "failed")


class LeaseLost(Exception):
    """Another dispatcher took the notice or the letter over: leave it alone."""


def back_off(attempts: int) -> timedelta:
    """How long to wait after so many failed attempts: 1, 2, 4, … minutes, an hour at most."""
    return min(timedelta(minutes=2 ** min(attempts - 1, 10)), LONGEST_BACK_OFF)


def find(connection: Connection, notice: Row, person: Row) -> Row | None:
    """The person's delivery of a notice, None before the first."""
    its = (_DELIVERY.c.notice_id == notice["id"], _DELIVERY.c.person == person["id"])
    return first_row(connection, select(_DELIVERY).where(*its))


def begin(connection: Connection, notice: Row, person: Row, subject: str, now: datetime) -> Row:
    """The person's delivery: `sending` when it is ours to send now; else as it ended.

    One found in `sending` was interrupted, and nobody knows whether it arrived: it is sent once more, and no third time. It is then
    given as `refused` and not written so: who calls tells the managers first, lest a crash in between leaves it untold.
    """
    before = find(connection, notice, person)
    if before is None:
        _insert(connection, notice, person, now, state="sending", subject=subject, attempts=1)
    elif before["state"] in ("sending", *UNDECIDED):
        changes = next_try(before)
        if changes["state"] == "refused":
            return {**before, **changes}
        changes |= {"subject": subject, "at": now}
        connection.execute(update(_DELIVERY).where(_DELIVERY.c.id == before["id"]).values(changes))
    found = find(connection, notice, person)
    assert found is not None, "it was written in this transaction"
    return found


def next_try(before: Row) -> dict[str, Any]:
    """What a try changes in a delivery, or in a letter: it is `sending`, or `refused` when two tries were interrupted."""
    interrupted = before["state"] == "sending"
    if interrupted and before["error"] == INTERRUPTED:
        return {"state": "refused"}
    return {"state": "sending", "attempts": before["attempts"] + 1, "error": INTERRUPTED if interrupted else ""}


def put_aside(connection: Connection, notice: Row, person: Row, subject: str, now: datetime, state: str, letter: str = "") -> None:
    """Note that a notice is not sent to this person now: `postponed`, `muted`, or `digested` into a letter.

    One that failed and is postponed stays `failed`, which says more; one that is settled or under way stays as it is.
    """
    before = find(connection, notice, person)
    values = {"state": state, "subject": subject, "letter": letter}
    if before is None:
        _insert(connection, notice, person, now, attempts=0, **values)
    elif before["state"] == "postponed" or (before["state"] == "failed" and state != "postponed"):
        ours = (_DELIVERY.c.id == before["id"], _DELIVERY.c.state == before["state"])
        connection.execute(update(_DELIVERY).where(*ours).values(values | {"at": now}))


def end(connection: Connection, delivery: Row, now: datetime, **values: Any) -> None:
    """Write how a sending ended."""
    ours = and_(_DELIVERY.c.id == delivery["id"], _DELIVERY.c.state == "sending")
    connection.execute(update(_DELIVERY).where(ours).values(at=now, **values))


def close(connection: Connection, notice: Row) -> None:
    """Leave alone for good whoever a notice has not reached: what only waited is `dropped`, what was tried is `refused`.

    A sending that was interrupted and is overtaken is no failure that anybody must look into.
    """
    for state, values in (
        ("postponed", {"state": "dropped"}),
        ("sending", {"state": "refused", "error": ""}),
        ("failed", {"state": "refused"}),
    ):
        left = (_DELIVERY.c.notice_id == notice["id"], _DELIVERY.c.state == state)
        connection.execute(update(_DELIVERY).where(*left).values(values))


def _insert(connection: Connection, notice: Row, person: Row, now: datetime, **values: Any) -> None:
    row = {"notice_id": notice["id"], "person": person["id"], "channel": "", "error": "", "letter": "", "at": now}
    connection.execute(insert(_DELIVERY).values(row | values))
