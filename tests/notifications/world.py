"""A small real world: a database with one protocol, two sites and a few people, a ledger, a clock that is set, a mailbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from mail_server import Mailbox
from sqlalchemy import insert, select, update

from notifications.attempts import LEASE
from notifications.dispatch import Dispatcher, sent
from sites import releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity import accounts
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.preferences import set_preference
from sites.settings import Settings
from sites.signing import unasked
from sites.tables import Assignment, Delivery, Incident, Letter, Notice, Person, Site

KEY = "a key of thirty-two characters or more, for tests"
START = datetime(2026, 3, 2, 9, tzinfo=UTC)

PROTOCOL = """
insitu: 1
id: mini
version: 1.0.0
title: {fr: Essai, en: Trial}
solution: {name: Mini}
roles:
  project_manager: {scope: experiment, title: {fr: Chef de projet, en: Project manager}}
  ethics_officer: {scope: experiment, title: {fr: Référent éthique, en: Ethics officer}}
  sponsor: {scope: experiment, title: {fr: Promoteur, en: Sponsor}}
  site_coordinator: {scope: site, title: {fr: Coordinateur, en: Coordinator}}
steps:
  - id: review
    title: {fr: Relecture, en: Review}
    phase: preparation
  - id: ethics
    title: {fr: Avis éthique, en: Ethics opinion}
    phase: preparation
    after: [review]
    checkpoint:
      role: ethics_officer
      form:
        - {id: favourable, type: boolean, required: true, label: {fr: Favorable, en: Favourable}}
        - {id: remarks, type: long_text, label: {fr: Remarques, en: Remarks}}
      signatures:
        - {role: project_manager, meaning: {fr: Vu, en: Seen}, different_person: true}
    gate: {pass: answers.favourable == true, return: {to: review, if: answers.favourable == false}}
    due: {days: 10}
    remind: [{before: 2d}]
    escalate: [{after: 1d, to: project_manager}, {after: 9d, to: sponsor}]
  - id: onboarding
    title: {fr: Mise en place, en: Onboarding}
    phase: before
    scope: site
    after: [ethics]
    checkpoint:
      role: site_coordinator
      form: [{id: ready, type: boolean, required: true, label: {fr: Prêt, en: Ready}}]
"""

PEOPLE = {
    "manager": ("Marie Petit", "fr", "project_manager", ""),
    "alice": ("Alice Martin", "fr", "ethics_officer", ""),
    "bob": ("Bob Smith", "en", "ethics_officer", ""),
    "caen": ("Claire Caen", "fr", "site_coordinator", "CAEN"),
    "nancy": ("Nadia Nancy", "fr", "site_coordinator", "NANCY"),
}


def settle(database: Database) -> None:
    """The tables, the protocol, the sites and the people."""
    database.migrate()
    releases.add(database, PROTOCOL, SetClock(START))
    sites = [{"code": code, "name": f"CHU {code.title()}"} for code in ("CAEN", "NANCY")]
    with database.write() as connection:
        for site in sites:
            place = {"kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"}
            connection.execute(insert(table(Site)).values(site | place))
        for person, (name, locale, role, site) in PEOPLE.items():
            of_person = {"id": person, "name": name, "email": f"{person}@example.org", "locale": locale, "channels": []}
            connection.execute(insert(table(Person)).values(of_person))
            connection.execute(insert(table(Assignment)).values(person=person, role=role, site=site, experiment=""))


@dataclass
class World:
    """What a test drives and looks at."""

    database: Database
    mailbox: Mailbox
    clock: SetClock
    mail_url: str = ""  # another server than the mailbox

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database, self.clock)

    def launch(self) -> str:
        code: str = self.ledger.launch("mini", ["CAEN", "NANCY"], {}, "manager")["code"]
        return code

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.database, self.clock, self.settings)

    @property
    def settings(self) -> Settings:
        return Settings(
            Path(), self.database.url, "https://insitu.example.org", mail_url=self.mail_url or self.mailbox.url, locale="en", key=KEY
        )

    def dispatch(self) -> list[str]:
        """Send everything owed now; who got a mail, in alphabetical order."""
        before = len(self.mailbox.recipients)
        while self.dispatcher().run_once():
            pass
        return sorted(address.removesuffix("@example.org") for address in self.mailbox.recipients[before:])

    def log(self, *columns: str, **where: object) -> list[tuple[Any, ...]]:
        rows = [row for row in sent(self.database, None, EVERYTHING) if all(row[name] == value for name, value in where.items())]
        return sorted(tuple(row[name] for name in columns) for row in rows)

    def notices(self, kind: str) -> list[str]:
        """The states of the notices of a kind."""
        notice = table(Notice)
        with self.database.read() as connection:
            return list(connection.execute(select(notice.c.state).where(notice.c.kind == kind).order_by(notice.c.id)).scalars())

    def open_incidents(self) -> list[str]:
        incident = table(Incident)
        with self.database.read() as connection:
            return list(
                connection.execute(select(incident.c.key).where(incident.c.resolved_at.is_(None)).order_by(incident.c.id)).scalars()
            )

    def tried(self, attempts: int) -> None:
        """Make every failed delivery one that failed so many times."""
        with self.database.write() as connection:
            connection.execute(update(table(Delivery)).where(table(Delivery).c.state == "failed").values(attempts=attempts))

    def change(self, person: str, **values: object) -> None:
        with self.database.write() as connection:
            connection.execute(update(table(Person)).where(table(Person).c.id == person).values(values))

    def close(self, person: str) -> None:
        """Close somebody's account, as a project manager who stays does."""
        accounts.disable(self.database, self.clock, person, by="manager")

    def open_again(self, person: str) -> None:
        accounts.enable(self.database, self.clock, person, by="manager")

    def wish(self, person: str, **values: object) -> None:
        set_preference(self.database, self.clock, person, person, **values)

    def at(self, local: str) -> None:
        """Set the clock to a time of Paris."""
        self.clock.set(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Paris")))

    def letters(self, kind: str) -> list[str]:
        """The states of the letters of a kind."""
        letter = table(Letter)
        with self.database.read() as connection:
            return list(connection.execute(select(letter.c.state).where(letter.c.kind == kind).order_by(letter.c.id)).scalars())

    def answer(self, code: str, round: int = 1, *, favourable: bool = True, remarks: str = "") -> None:
        answers = {"favourable": favourable, "remarks": remarks}
        self.ledger.complete(f"{code}:ethics::{round}", answers, "alice")

    def sign(self, code: str, round: int = 1) -> None:
        self.ledger.sign(f"{code}:ethics::{round}", "manager", prove=unasked)


DISPATCH_ELSEWHERE = """
import sys
from datetime import datetime
from pathlib import Path
from notifications.dispatch import Dispatcher
from sites.clock import SetClock
from sites.database import Database
from sites.settings import Settings
url, mail_url, now, key = sys.argv[1:]
settings = Settings(Path(), url, mail_url=mail_url, key=key)
Dispatcher(Database(url), SetClock(datetime.fromisoformat(now)), settings).run_once()
"""


def crash_while_sending(world: World) -> None:
    """Run a dispatcher in a process of its own and kill it when the mail server has its mail but has not said so."""
    arguments = [sys.executable, "-c", DISPATCH_ELSEWHERE, world.database.url, world.mailbox.url, world.clock.now().isoformat(), KEY]
    process = subprocess.Popen(arguments)

    def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    world.mailbox.when_mail_comes = kill
    assert process.wait(timeout=60) == -signal.SIGKILL
    world.mailbox.when_mail_comes = lambda: None
    world.clock.advance(LEASE)
