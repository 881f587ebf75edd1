"""The dispatcher: what the outbox owes, told to each person once, whatever fails on the way.

A notice is claimed under a lease, decided again, and sent to each of its recipients. What was sent to whom is kept as one row of
`delivery` a person, written before the sending and after it, each in a short transaction of its own: a mail server that hangs
never holds the database's write lock, and a crash in between is seen by whoever claims the notice next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, insert, or_, select, update

from notifications import channels
from notifications.channels import Recipient
from notifications.deliveries import sent as sent
from notifications.occasions import Row, Situation, Verdict, decide_again, first_row, occasion, recipients, situation
from notifications.render import Occasion, render
from protocols.errors import DatabaseUnavailable, DeliveryFailed, InsituError
from sites.clock import Clock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.settings import Settings
from sites.tables import Delivery, Experiment, Incident, Notice

_NOTICE, _DELIVERY, _EXPERIMENT, _INCIDENT = table(Notice), table(Delivery), table(Experiment), table(Incident)

LEASE = timedelta(minutes=2)
LOOK_AGAIN_DURING_HOLD = timedelta(minutes=15)
LONGEST_BACK_OFF = timedelta(hours=1)
# Five hours of trying: a person should know. Three days of trying: a mail server down over a weekend loses nobody's message.
REPORT_AFTER_ATTEMPTS = 10
GIVE_UP_AFTER_ATTEMPTS = 77
POLL_SECONDS = 1.0
INTERRUPTED = "interrupted while sending"

log = logging.getLogger("insitu.dispatch")

INCIDENTS = {
    "undeliverable": {
        "fr": "Les messages à {person} n'arrivent pas ({error}). Corrigez son adresse, ou prévenez cette personne autrement.",
        "en": "Messages to {person} do not arrive ({error}). Correct the address, or tell this person another way.",
    },
    "nobody": {
        "fr": "Personne n'a reçu la notification {notice} : nul n'exerce aujourd'hui {roles}. Affectez quelqu'un : insitu assign.",
        "en": "Nobody received the notice {notice}: no one holds {roles} today. Assign someone: insitu assign.",
    },
    "unsendable": {
        "fr": "La notification {notice} ne peut pas être envoyée : {error}",
        "en": "The notice {notice} cannot be sent: {error}",
    },
}


class _LeaseLost(Exception):
    """Another dispatcher took the notice over: leave it alone."""


class Dispatcher:
    """Sends what the outbox owes. Several may run at once, in threads, processes or on several machines."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, name: str = "dispatcher") -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self.ledger = Ledger(database, clock)
        self.name = f"{name}-{token_hex(4)}"

    def run(self, stop: threading.Event, poll_s: float = POLL_SECONDS) -> None:
        """Fire the timers that are due and send what is owed, until `stop` is set. A failure is logged and tried again."""
        while not stop.is_set():
            done = [self._attempt(self.ledger.fire_timers), self._attempt(lambda: self.run_once(limit=1))]
            if not any(done):
                stop.wait(poll_s)

    def run_once(self, limit: int = 20) -> int:
        """Deal with up to `limit` notices that are owed now; returns how many. Raises DatabaseUnavailable."""
        for count in range(limit):
            notice = self._claim()
            if notice is None:
                return count
            self._deal_with(notice)
        return limit

    def _attempt(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except InsituError as error:
            log.error("%s", error)
        except Exception:
            log.exception("The dispatcher met an error it does not know, and goes on")
        return 0

    # ------------------------------------------------------------------ one notice

    def _claim(self) -> Row | None:
        """The notice owed longest that nobody works on, now leased to us; None without one."""
        now = self.clock.now()
        with self.database.read() as connection:
            if not connection.execute(select(exists().where(_owed(now)))).scalar():
                return None
        first = select(_NOTICE.c.id).where(_owed(now)).order_by(_NOTICE.c.next_at, _NOTICE.c.id).limit(1).with_for_update(skip_locked=True)
        # Equality, not IN: PostgreSQL may run an IN's subquery again for each row, and then claims several (measured, 18).
        claim = update(_NOTICE).where(_NOTICE.c.id == first.scalar_subquery(), _owed(now))
        with self.database.write() as connection:
            values = {"leased_by": self.name, "leased_until": now + LEASE}
            return first_row(connection, claim.values(values).returning(*_NOTICE.c))

    def _deal_with(self, notice: Row) -> None:
        try:
            self._decide_and_tell(notice)
        except _LeaseLost:
            log.warning("Notice %s took longer than its lease; another dispatcher goes on with it", notice["key"])
        except DatabaseUnavailable:
            raise
        except Exception as error:
            is_known = isinstance(error, InsituError)
            log.error("Notice %s failed and will be tried again: %s", notice["key"], error, exc_info=not is_known)
            self._report(notice, f"unsendable:{notice['key']}", "unsendable", error=error if is_known else type(error).__name__)
            self._try_later(notice)

    def _decide_and_tell(self, notice: Row) -> None:
        now = self.clock.now()
        with self.database.read() as connection:
            now_is = situation(connection, notice)
            verdict = decide_again(now_is, now)
            persons = recipients(connection, now_is, now) if verdict is Verdict.TELL else []
        if verdict is Verdict.DROP:
            self._drop(notice)
        elif verdict is Verdict.WAIT:
            self._settle(notice, next_at=now + LOOK_AGAIN_DURING_HOLD)
        else:
            self._tell(now_is, persons)

    def _tell(self, now_is: Situation, persons: list[Row]) -> None:
        notice = now_is.notice
        said = occasion(now_is, self.settings.public_url)
        roles = ", ".join(notice["roles"]) + (f" ({notice['site']})" if notice["site"] else "")
        if persons:
            self._resolve(notice, f"nobody:{roles}")
        else:
            self._report(notice, f"nobody:{roles}", "nobody", roles=roles)
        settled = [self._tell_person(notice, said, person) for person in persons]
        if all(settled):
            self._settle(notice, state="done")
        else:
            self._try_later(notice)

    def _try_later(self, notice: Row) -> None:
        attempts = notice["attempts"] + 1
        if attempts >= GIVE_UP_AFTER_ATTEMPTS:
            self._drop(notice)
        else:
            self._settle(notice, attempts=attempts, next_at=self.clock.now() + back_off(attempts))

    def _drop(self, notice: Row) -> None:
        """Leave a notice alone for good, and with it whoever it was still to reach."""
        under_way = (_DELIVERY.c.notice_id == notice["id"], _DELIVERY.c.state.in_(("sending", "failed")))
        with self.database.write() as connection:
            ours = update(_NOTICE).where(self._ours(notice)).values(state="dropped", leased_by="", leased_until=None)
            if connection.execute(ours).rowcount == 1:
                connection.execute(update(_DELIVERY).where(*under_way).values(state="refused"))

    def _settle(self, notice: Row, **values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(update(_NOTICE).where(self._ours(notice)).values(leased_by="", leased_until=None, **values))

    def _ours(self, notice: Row) -> ColumnElement[bool]:
        return and_(_NOTICE.c.id == notice["id"], _NOTICE.c.state == "owed", _NOTICE.c.leased_by == self.name)

    # ------------------------------------------------------------------ one person

    def _tell_person(self, notice: Row, said: Occasion, person: Row) -> bool:
        """Whether this person needs no more telling: told now, told before, or never to be reached."""
        message = render(said, person["locale"])
        delivery = self._begin(notice, person, message.subject)
        if delivery["state"] == "refused" and delivery["error"] == INTERRUPTED:
            self._report(notice, _undeliverable(person), "undeliverable", person=person["name"], error=INTERRUPTED)
        if delivery["state"] != "sending":
            return True
        try:
            way = channels.send(message, Recipient(person["name"], person["email"], person["channels"]), self.settings.mail_url)
        except DeliveryFailed as failure:
            return self._failed(notice, person, delivery, failure)
        self._end(delivery, state="sent", channel=way, error="")
        self._resolve(notice, _undeliverable(person))
        return True

    def _begin(self, notice: Row, person: Row, subject: str) -> Row:
        """The person's delivery: `sending` when it is ours to send now, renewing the lease; else as it ended.

        One found in `sending` was interrupted, and nobody knows whether it arrived: it is sent once more, and no third time.
        """
        now = self.clock.now()
        with self.database.write() as connection:
            lease = update(_NOTICE).where(self._ours(notice)).values(leased_until=now + LEASE)
            if connection.execute(lease).rowcount != 1:
                raise _LeaseLost
            before = _delivery(connection, notice, person)
            if before is None:
                row = {"notice_id": notice["id"], "person": person["id"], "channel": "", "error": "", "attempts": 1}
                connection.execute(insert(_DELIVERY).values(row | {"state": "sending", "subject": subject, "at": now}))
            elif before["state"] in ("sending", "failed"):
                changes = _next_try(before) | {"subject": subject, "at": now}
                connection.execute(update(_DELIVERY).where(_DELIVERY.c.id == before["id"]).values(changes))
            found = _delivery(connection, notice, person)
        assert found is not None, "it was written in this transaction"
        return found

    def _failed(self, notice: Row, person: Row, delivery: Row, failure: DeliveryFailed) -> bool:
        given_up = failure.permanent or delivery["attempts"] >= GIVE_UP_AFTER_ATTEMPTS
        self._end(delivery, state="refused" if given_up else "failed", error=str(failure))
        if given_up or delivery["attempts"] >= REPORT_AFTER_ATTEMPTS:
            self._report(notice, _undeliverable(person), "undeliverable", person=person["name"], error=failure)
        return given_up

    def _end(self, delivery: Row, **values: Any) -> None:
        ours = and_(_DELIVERY.c.id == delivery["id"], _DELIVERY.c.state == "sending")
        with self.database.write() as connection:
            connection.execute(update(_DELIVERY).where(ours).values(at=self.clock.now(), **values))

    # ------------------------------------------------------------------ incidents

    def _report(self, notice: Row, key: str, kind: str, **words: object) -> None:
        """Tell the project managers, once while it lasts. An incident's own message is left alone: it would never end."""
        if notice["kind"] == "incident":
            log.error("The incident message %s reached nobody: %s", notice["key"], words)
            return
        message = INCIDENTS[kind]["fr" if self.settings.locale == "fr" else "en"].format(notice=notice["key"], **words)
        self.ledger.report_incident(self._code(notice), key, kind, message, step=notice["step"], site=notice["site"])

    def _resolve(self, notice: Row, key: str) -> None:
        is_open = (_INCIDENT.c.experiment_id == notice["experiment_id"], _INCIDENT.c.key == key, _INCIDENT.c.resolved_at.is_(None))
        with self.database.read() as connection:
            found = connection.execute(select(exists().where(*is_open))).scalar()
        if found:
            self.ledger.resolve_incident(self._code(notice), key)

    def _code(self, notice: Row) -> str:
        with self.database.read() as connection:
            code = connection.execute(select(_EXPERIMENT.c.code).where(_EXPERIMENT.c.id == notice["experiment_id"]))
            return str(code.scalar_one())


def back_off(attempts: int) -> timedelta:
    """How long to wait after so many failed attempts: 1, 2, 4, … minutes, an hour at most."""
    return min(timedelta(minutes=2 ** min(attempts - 1, 10)), LONGEST_BACK_OFF)


def _owed(now: datetime) -> ColumnElement[bool]:
    free = or_(_NOTICE.c.leased_until.is_(None), _NOTICE.c.leased_until <= now)
    return and_(_NOTICE.c.state == "owed", _NOTICE.c.next_at <= now, free)


def _delivery(connection: Connection, notice: Row, person: Row) -> Row | None:
    its = (_DELIVERY.c.notice_id == notice["id"], _DELIVERY.c.person == person["id"])
    return first_row(connection, select(_DELIVERY).where(*its))


def _next_try(before: Row) -> dict[str, Any]:
    interrupted = before["state"] == "sending"
    if interrupted and before["error"] == INTERRUPTED:
        return {"state": "refused"}
    return {"state": "sending", "attempts": before["attempts"] + 1, "error": INTERRUPTED if interrupted else ""}


def _undeliverable(person: Row) -> str:
    return f"undeliverable:{person['id']}"
