"""The dispatcher: what the outbox owes, told to each person once, whatever fails on the way.

A notice is claimed under a lease, decided again, and for each of its recipients sent, put off, gathered with others or muted, as
`notifications.timing` decides. What became of it is kept as one row of `delivery` a person, written before the sending and after it,
each in a short transaction of its own: a mail server that hangs never holds the database's write lock, and a crash in between is
seen by whoever claims the notice next. Letters, digests among them, are sent alike (`notifications.letters`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from notifications import attempts, channels
from notifications.attempts import GIVE_UP_AFTER_ATTEMPTS, INTERRUPTED, REPORT_AFTER_ATTEMPTS, LeaseLost, back_off
from notifications.channels import Recipient
from notifications.incidents import Incidents, nobody, undeliverable
from notifications.letters import Letters
from notifications.occasions import Addressee, Row, Situation, Verdict, audience, decide_again, first_row, occasion, situation
from notifications.render import Message, Occasion, render
from notifications.sent import sent as sent
from notifications.timing import SEND_NOW, Timing, When, decide, is_duty
from notifications.unsubscribing import Unsubscribing
from protocols.errors import DatabaseUnavailable, DeliveryFailed, InsituError
from sites import digests
from sites.clock import Clock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.preferences import preference_of
from sites.settings import Settings
from sites.tables import Notice

_NOTICE = table(Notice)

LOOK_AGAIN_DURING_HOLD = timedelta(minutes=15)
POLL_SECONDS = 1.0
ASIDE = {Timing.POSTPONE: "postponed", Timing.MUTED: "muted"}

log = logging.getLogger("insitu.dispatch")


@dataclass(frozen=True, slots=True)
class Waits:
    """A person who is still to be told: when to look again, and whether a try has failed."""

    until: datetime
    has_failed: bool = False


class Dispatcher:
    """Sends what the outbox owes. Several may run at once, in threads, processes or on several machines.

    More than `at_once` ordinary notices to one person within ten minutes go as one message.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: Settings, name: str = "dispatcher", at_once: int = digests.AT_ONCE
    ) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self.ledger = Ledger(database, clock)
        self.name = f"{name}-{token_hex(4)}"
        self.at_once = at_once
        self.incidents = Incidents(self.ledger, settings.locale)
        self.unsubscribing = Unsubscribing(database, clock, settings)
        self.letters = Letters(database, clock, settings, self.name, self.incidents, self.unsubscribing)

    def run(self, stop: threading.Event, poll_s: float = POLL_SECONDS) -> None:
        """Fire the timers that are due and send what is owed, until `stop` is set. A failure is logged and tried again.

        Each in a lane of its own: a deadline never waits for a mail server, nor does a letter, which somebody sits waiting for.
        """
        lanes = {"deadlines": self.ledger.fire_timers, "letters": self._send_letter, "notices": self._send_notice}
        threads = [
            threading.Thread(target=self._keep_doing, args=(work, stop, poll_s), name=f"{name} of {self.name}", daemon=True)
            for name, work in lanes.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _keep_doing(self, work: Callable[[], int], stop: threading.Event, poll_s: float) -> None:
        while not stop.is_set():
            if not self._attempt(work):
                stop.wait(poll_s)

    def run_once(self, limit: int = 20) -> int:
        """Deal with up to `limit` letters and notices that are owed now; returns how many. Raises DatabaseUnavailable."""
        for count in range(limit):
            if not (self._send_letter() or self._send_notice()):
                return count
        return limit

    def _send_letter(self) -> int:
        return int(self.letters.send_one())

    def _send_notice(self) -> int:
        notice = self._claim()
        if notice is None:
            return 0
        self._deal_with(notice)
        return 1

    def _attempt(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except InsituError as error:
            log.error("%s", error)
        except BaseException:  # SystemExit in a library would end the lane, and nobody would be told
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
            values = {"leased_by": self.name, "leased_until": now + attempts.LEASE}
            return first_row(connection, claim.values(values).returning(*_NOTICE.c))

    def _deal_with(self, notice: Row) -> None:
        try:
            self._decide_and_tell(notice)
        except LeaseLost:
            log.warning("Notice %s took longer than its lease; another dispatcher goes on with it", notice["key"])
        except DatabaseUnavailable:
            raise
        except Exception as error:
            is_known = isinstance(error, InsituError)
            log.error("Notice %s failed and will be tried again: %s", notice["key"], error, exc_info=not is_known)
            self.incidents.report(notice, f"unsendable:{notice['key']}", "unsendable", error=error if is_known else type(error).__name__)
            self._try_later(notice)

    def _decide_and_tell(self, notice: Row) -> None:
        now = self.clock.now()
        with self.database.read() as connection:
            now_is = situation(connection, notice)
            verdict = decide_again(now_is, now)
            found = audience(connection, now_is, now) if verdict is Verdict.TELL else None
        if verdict is Verdict.WAIT:
            self._settle(notice, next_at=now + LOOK_AGAIN_DURING_HOLD)
        elif found is None:
            self._close(notice, "dropped")
        else:
            self._tell(now_is, found.addressees, occasion(now_is, self.settings.public_url, found.nobody))

    def _tell(self, now_is: Situation, addressees: Sequence[Addressee], said: Occasion) -> None:
        notice = now_is.notice
        if addressees:
            self.incidents.resolve(notice, nobody(notice))
        else:
            self.incidents.report_nobody(notice)
        waiting = [waits for to in addressees if (waits := self._tell_person(now_is, said, to))]
        if waiting:
            self._wait(notice, waiting)
        else:
            self._close(notice, "done")

    def _wait(self, notice: Row, waiting: Sequence[Waits]) -> None:
        """Look again when the first of those who wait may be told; how often a try failed is counted, not how often one waited."""
        failed = any(waits.has_failed for waits in waiting)
        self._settle(notice, attempts=notice["attempts"] + failed, next_at=min(waits.until for waits in waiting))

    def _try_later(self, notice: Row) -> None:
        tried = notice["attempts"] + 1
        if tried >= GIVE_UP_AFTER_ATTEMPTS:
            self._close(notice, "dropped")
        else:
            self._settle(notice, attempts=tried, next_at=self.clock.now() + back_off(tried))

    def _close(self, notice: Row, state: str) -> None:
        """Leave a notice alone for good, `done` or `dropped`, and with it whoever it was still to reach."""
        with self.database.write() as connection:
            ours = update(_NOTICE).where(self._ours(notice)).values(state=state, leased_by="", leased_until=None)
            if connection.execute(ours).rowcount == 1:
                attempts.close(connection, notice)

    def _settle(self, notice: Row, **values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(update(_NOTICE).where(self._ours(notice)).values(leased_by="", leased_until=None, **values))

    def _ours(self, notice: Row) -> ColumnElement[bool]:
        return and_(_NOTICE.c.id == notice["id"], _NOTICE.c.state == "owed", _NOTICE.c.leased_by == self.name)

    # ------------------------------------------------------------------ one person

    def _tell_person(self, now_is: Situation, said: Occasion, to: Addressee) -> Waits | None:
        """When this person is to be told; None when they need no more telling: told now or before, gathered, or never to be reached."""
        notice, person = now_is.notice, to.person
        when, is_ordinary = self._when(now_is, to)
        said = self.unsubscribing.offered(said, person, notice["kind"]) if is_ordinary else said
        message = render(replace(said, deputised=to.deputised), person["locale"])
        if when.timing is not Timing.SEND_NOW:
            self._put_aside(notice, person, message.subject, when)
            return Waits(when.until) if when.timing is Timing.POSTPONE and when.until else None
        with self._in_lease(notice) as connection:
            delivery = attempts.begin(connection, notice, person, message.subject, self.clock.now())
        if delivery["state"] == "refused" and delivery["error"] == INTERRUPTED:
            self.incidents.report(notice, undeliverable(person), "undeliverable", person=person["name"], error=INTERRUPTED)
            self._end(delivery, state="refused")
        if delivery["state"] != "sending":
            return None
        return self._send(notice, person, delivery, message)

    def _when(self, now_is: Situation, to: Addressee) -> tuple[When, bool]:
        """When this person is told by their wishes, and whether the notice is ordinary to them. What was begun goes on as it began."""
        notice, person, now = now_is.notice, to.person, self.clock.now()
        kind, deadline, is_legal = notice["kind"], now_is.deadline, now_is.is_legal
        with self.database.read() as connection:
            wishes = preference_of(connection, person["id"])
            before = attempts.find(connection, notice, person)
            is_ordinary = not is_duty(kind, deadline, now, is_legal=is_legal, timezone=wishes.timezone)
            if before is not None and before["state"] not in attempts.UNDECIDED:
                return SEND_NOW, is_ordinary
            when = decide(kind, deadline, wishes, now, is_legal=is_legal, due=notice["next_at"])
            may_gather = is_ordinary and when == SEND_NOW and not (deadline and now < deadline <= now + digests.WINDOW)
            was_tried = before is not None and before["state"] == "failed"
            if may_gather and not was_tried and digests.is_flood(connection, person["id"], now, self.at_once):
                return When(Timing.DIGEST), is_ordinary
        return when, is_ordinary

    def _put_aside(self, notice: Row, person: Row, subject: str, when: When) -> None:
        now, letter = self.clock.now(), ""
        with self._in_lease(notice) as connection:
            if when.timing is Timing.DIGEST and when.until:
                letter = digests.join_daily(connection, person["id"], when.until, now)
            elif when.timing is Timing.DIGEST:
                letter = digests.join_flood(connection, person["id"], now)
            attempts.put_aside(connection, notice, person, subject, now, ASIDE.get(when.timing, "digested"), letter)

    def _send(self, notice: Row, person: Row, delivery: Row, message: Message) -> Waits | None:
        recipient = Recipient(person["name"], person["email"], person["channels"])
        try:
            way = channels.send(message, recipient, self.settings.mail_url, self.settings.channels)
        except DeliveryFailed as failure:
            return self._failed(notice, person, delivery, failure)
        self._end(delivery, state="sent", channel=way, error="")
        self.incidents.resolve(notice, undeliverable(person))
        return None

    def _failed(self, notice: Row, person: Row, delivery: Row, failure: DeliveryFailed) -> Waits | None:
        given_up = failure.permanent or delivery["attempts"] >= GIVE_UP_AFTER_ATTEMPTS
        self._end(delivery, state="refused" if given_up else "failed", error=str(failure))
        if given_up or delivery["attempts"] >= REPORT_AFTER_ATTEMPTS:
            self.incidents.report(notice, undeliverable(person), "undeliverable", person=person["name"], error=failure)
        return None if given_up else Waits(self.clock.now() + back_off(delivery["attempts"]), has_failed=True)

    def _end(self, delivery: Row, **values: Any) -> None:
        with self.database.write() as connection:
            attempts.end(connection, delivery, self.clock.now(), **values)

    @contextmanager
    def _in_lease(self, notice: Row) -> Iterator[Connection]:
        """A write transaction in which the notice is ours, its lease renewed. Raises LeaseLost."""
        with self.database.write() as connection:
            lease = update(_NOTICE).where(self._ours(notice)).values(leased_until=self.clock.now() + attempts.LEASE)
            if connection.execute(lease).rowcount != 1:
                raise LeaseLost
            yield connection


def _owed(now: datetime) -> ColumnElement[bool]:
    free = or_(_NOTICE.c.leased_until.is_(None), _NOTICE.c.leased_until <= now)
    return and_(_NOTICE.c.state == "owed", _NOTICE.c.next_at <= now, free)
