"""Letters: mails of the installation itself, and digests of notices, sent as notices are: under a lease, at least once, no third time.

A link's address is signed here, at the moment of sending, and goes by mail only: a channel may have other readers. A letter with a
link that is used, revoked or over by then is dropped, and so is one to a person whose account is closed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from notifications import attempts, channels
from notifications.attempts import GIVE_UP_AFTER_ATTEMPTS, INTERRUPTED, REPORT_AFTER_ATTEMPTS, LeaseLost, back_off
from notifications.channels import Recipient
from notifications.digests import Gathered, gather
from notifications.incidents import Incidents, undeliverable
from notifications.occasions import Row, first_row
from notifications.render import Message, Occasion, render
from notifications.unsubscribing import Unsubscribing
from protocols.errors import DatabaseUnavailable, DeliveryFailed, InsituError
from sites import digests
from sites.anchors.keeper import LETTER as ANCHOR
from sites.checkpoints import CheckpointId
from sites.clock import Clock
from sites.database import Database, table
from sites.identity import links
from sites.preferences import contact_of, preference_of
from sites.releases import plan_of
from sites.settings import Settings
from sites.tables import Experiment, ExperimentSite, Letter, Link

_LETTER, _LINK = table(Letter), table(Link)
_EXPERIMENT, _SITE = table(Experiment), table(ExperimentSite)

# Where the link of a letter leads that has none of its own; the others' leads to how one is told.
PAGES = {ANCHOR: "/admin/anchors"}

log = logging.getLogger("insitu.dispatch")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A letter at the moment of sending: to whom and what, None for nothing any more; and the notices in it."""

    person: Row
    message: Message | None
    gathered: Gathered = field(default_factory=Gathered)


class Letters:
    """Sends the letters that are owed. Several may work at once."""

    def __init__(
        self, database: Database, clock: Clock, settings: Settings, name: str, incidents: Incidents, unsubscribing: Unsubscribing
    ) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self.name = name
        self.incidents = incidents
        self.unsubscribing = unsubscribing

    def send_one(self) -> bool:
        """Deal with the letter owed longest, if there is one that nobody works on. Raises DatabaseUnavailable."""
        letter = self._claim()
        if letter is None:
            return False
        try:
            self._send(letter)
        except LeaseLost:
            log.warning("Letter %s took longer than its lease; another dispatcher goes on with it", letter["key"])
        except DatabaseUnavailable:
            raise
        except Exception as error:
            is_known = isinstance(error, InsituError)
            log.error("Letter %s failed and will be tried again: %s", letter["key"], error, exc_info=not is_known)
            self._failed(letter, letter["attempts"] + 1, str(error) if is_known else type(error).__name__)
        return True

    def _claim(self) -> Row | None:
        now = self.clock.now()
        ripe = and_(_owed(now), digests.is_complete(now))
        with self.database.read() as connection:
            if not connection.execute(select(exists().where(ripe))).scalar():
                return None
        first = select(_LETTER.c.id).where(ripe).order_by(_LETTER.c.next_at, _LETTER.c.id).limit(1).with_for_update(skip_locked=True)
        claim = update(_LETTER).where(_LETTER.c.id == first.scalar_subquery(), _owed(now))
        with self.database.write() as connection:
            values = {"leased_by": self.name, "leased_until": now + attempts.LEASE}
            return first_row(connection, claim.values(values).returning(*_LETTER.c))

    def _send(self, letter: Row) -> None:
        prepared = self._prepared(letter)
        for notice in prepared.gathered.unheard:
            self.incidents.report_nobody(notice)
        if prepared.message is None:
            self._settle(letter, prepared.gathered, state="dropped")
            return
        begun = self._begin(letter)
        if begun["state"] == "refused":
            self._refuse(letter, prepared, INTERRUPTED)
            return
        try:
            way = self._hand_over(letter, prepared.person, prepared.message)
        except DeliveryFailed as failure:
            self._not_delivered(letter, prepared, begun, failure)
            return
        self._settle(letter, prepared.gathered, state="sent", way=way)
        for notice in prepared.gathered.sent:
            self.incidents.resolve(notice, undeliverable(prepared.person))

    def _prepared(self, letter: Row) -> Prepared:
        now = self.clock.now()
        with self.database.read() as connection:
            person = contact_of(connection, letter["person"])
            if letter["kind"] != digests.DAILY:
                said = None if person["is_closed"] else _occasion(connection, letter, now)
                if said is None:
                    return Prepared(person, None)
                link = _link_of(connection, letter)
                page = PAGES.get(letter["kind"], "/account/notices")
                address = links.path_of(self.unsubscribing.key, link["purpose"], link["id"]) if link else page
                return Prepared(person, render(replace(said, link=self.settings.public_url + address), person["locale"]))
            gathered = gather(connection, letter, person, self.settings.public_url, now)
        return Prepared(person, self._digest(gathered, person), gathered)

    def _digest(self, gathered: Gathered, person: Row) -> Message | None:
        """One notice alone goes as itself, so that its subject tells it."""
        if not gathered.lines:
            return None
        if len(gathered.lines) == 1:
            alone = self.unsubscribing.offered(gathered.occasions[0], person, gathered.sent[0]["kind"])
            return render(alone, person["locale"])
        about = ", ".join(dict.fromkeys(one.experiment for one in gathered.occasions))
        today = self.settings.public_url + "/today"
        said = Occasion("digest", link=today, lines=gathered.lines, about=about, choices=self.unsubscribing.choices)
        return render(said, person["locale"])

    def _begin(self, letter: Row) -> Row:
        """The letter as `sending`, its lease renewed; as `refused`, not written yet, when two tries were interrupted. Raises LeaseLost."""
        changes = attempts.next_try(letter)
        if changes["state"] == "refused":
            return {**letter, **changes}
        changes |= {"leased_until": self.clock.now() + attempts.LEASE}
        with self.database.write() as connection:
            begun = first_row(connection, update(_LETTER).where(self._ours(letter)).values(changes).returning(*_LETTER.c))
        if begun is None:
            raise LeaseLost
        return begun

    def _hand_over(self, letter: Row, person: Row, message: Message) -> str:
        if letter["link"] or letter["kind"] == ANCHOR:  # a mail is kept, and bears its date
            return channels.send_mail(message, Recipient(person["name"], person["email"]), self.settings.mail_url)
        recipient = Recipient(person["name"], person["email"], person["channels"])
        return channels.send(message, recipient, self.settings.mail_url, self.settings.channels)

    def _not_delivered(self, letter: Row, prepared: Prepared, begun: Row, failure: DeliveryFailed) -> None:
        if failure.permanent or begun["attempts"] >= GIVE_UP_AFTER_ATTEMPTS:
            self._refuse(letter, prepared, str(failure))
            return
        self._failed(letter, begun["attempts"], str(failure))
        if begun["attempts"] >= REPORT_AFTER_ATTEMPTS:
            self._report(prepared, str(failure))

    def _refuse(self, letter: Row, prepared: Prepared, error: str) -> None:
        """Give a letter up, and with it the notices in it: their experiments' managers get an incident; the others are in the log."""
        if not prepared.gathered.sent:
            log.error("The letter %s did not reach %s: %s", letter["key"], letter["person"], error)
        self._report(prepared, error)
        self._settle(letter, prepared.gathered, state="refused", error=error)

    def _report(self, prepared: Prepared, error: str) -> None:
        by_experiment = {notice["experiment_id"]: notice for notice in prepared.gathered.sent}
        for notice in by_experiment.values():
            self.incidents.report(notice, undeliverable(prepared.person), "undeliverable", person=prepared.person["name"], error=error)

    def _failed(self, letter: Row, tried: int, error: str) -> None:
        state = "refused" if tried >= GIVE_UP_AFTER_ATTEMPTS else "owed"
        values = {"state": state, "attempts": tried, "error": error, "next_at": self.clock.now() + back_off(tried)}
        with self.database.write() as connection:
            connection.execute(update(_LETTER).where(self._ours(letter)).values(values | {"leased_by": "", "leased_until": None}))

    def _settle(self, letter: Row, gathered: Gathered, *, state: str, way: str = "", error: str = "") -> None:
        """Write what became of a letter and of each notice in it, at once. Notices that wait for a release keep the letter owed."""
        now = self.clock.now()
        values: dict[str, Any] = {"state": state, "error": error, "leased_by": "", "leased_until": None}
        if gathered.look_again:
            values |= {"state": "owed", "attempts": 0, "error": "", "next_at": gathered.look_again}
        told = {"sent": {"state": "sent", "channel": way}, "refused": {"state": "refused", "error": error}}
        with self.database.write() as connection:
            if connection.execute(update(_LETTER).where(self._ours(letter)).values(values)).rowcount != 1:
                raise LeaseLost
            if state in told and gathered.sent:
                digests.settle_gathered(connection, letter["key"], now, [one["delivery"] for one in gathered.sent], **told[state])
            if gathered.overtaken:
                digests.settle_gathered(connection, letter["key"], now, gathered.overtaken, state="dropped")

    def _ours(self, letter: Row) -> ColumnElement[bool]:
        return and_(_LETTER.c.id == letter["id"], _LETTER.c.state.in_(("owed", "sending")), _LETTER.c.leased_by == self.name)


def _owed(now: datetime) -> ColumnElement[bool]:
    free = or_(_LETTER.c.leased_until.is_(None), _LETTER.c.leased_until <= now)
    return and_(_LETTER.c.state.in_(("owed", "sending")), _LETTER.c.next_at <= now, free)


# ------------------------------------------------------------------ what a letter says


def _link_of(connection: Connection, letter: Row) -> Row | None:
    return first_row(connection, select(_LINK).where(_LINK.c.id == letter["link"])) if letter["link"] else None


def _occasion(connection: Connection, letter: Row, now: datetime) -> Occasion | None:
    """What a letter with or without a link says; None when its link is no longer in force."""
    link = _link_of(connection, letter)
    if not letter["link"]:
        return Occasion(letter["kind"], anchor=letter["details"].get(ANCHOR, {}))
    if link is None or link["used_at"] or link["revoked_at"] or (link["expires_at"] and link["expires_at"] <= now):
        return None
    timezone = preference_of(connection, letter["person"]).timezone
    about = _about(connection, link["target"]) if link["purpose"] == "checkpoint" else {}
    return Occasion(letter["kind"], until=link["expires_at"], timezone=timezone, **about)


def _about(connection: Connection, checkpoint: str) -> dict[str, Any]:
    """Where a checkpoint stands, by its name."""
    name = CheckpointId.parse(checkpoint)
    experiment = connection.execute(select(_EXPERIMENT).where(_EXPERIMENT.c.code == name.experiment)).mappings().one()
    at_site = select(_SITE.c.name).where(_SITE.c.experiment_id == experiment["id"], _SITE.c.site == name.site)
    site = connection.execute(at_site).scalar()
    title = plan_of(connection, experiment["protocol"]).steps[name.step].step.title
    return {
        "experiment": name.experiment,
        "step": title,
        "site": f"{site} ({name.site})" if site else "",
        "site_code": name.site,
        "round": name.round,
    }
