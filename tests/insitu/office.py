"""An office of project managers: two experiments that share nobody but those who hold roles everywhere, and a manager of one alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from small import SMALL, launch
from sqlalchemy import insert
from starlette.types import ASGIApp
from visit import Visit

from insitu.entrance.doors import Doors
from sites import registry, releases
from sites.database import table
from sites.identity.accounts import create_account
from sites.tables import Person

OPENED = datetime(2026, 3, 2, 9, tzinfo=UTC)
PASSWORD = "a long sentence nobody guesses"
HOSTILE = '<b>"Ann"</b> & \u202eevil'


@dataclass(frozen=True)
class Office:
    """`ours` runs at CAEN and METZ, `theirs` at SDEN; `manager.ours` manages `ours` alone, `inv.caen` investigates CAEN."""

    doors: Doors
    ours: str
    theirs: str
    apps: list[ASGIApp] = field(default_factory=list)

    def visit(self, person: str = "project_manager") -> Visit:
        """A browser in which the person has signed in; all of them are on one application."""
        first = Visit(self.doors, app=self.apps[0] if self.apps else None)
        self.apps[:] = [first.app]
        return first.sign_in(person)

    def assign(self, person: str, role: str, site: str = "", experiment: str = "", **days: Any) -> None:
        registry.assign(self.doors.database, person, role, site, experiment, **days)

    def with_account(self, *people: str) -> None:
        with self.doors.database.write() as connection:
            for person in people:
                create_account(connection, person, PASSWORD, self.doors.clock.now(), by="project_manager")


def settle_office(doors: Doors) -> Office:
    """The office on a database that holds the tests' small registry."""
    releases.add(doors.database, SMALL, doors.clock, "small.yaml")
    ours, theirs = launch(doors.ledger, "CAEN", "METZ"), launch(doors.ledger, "SDEN")
    office = Office(doors, ours, theirs)
    with doors.database.write() as connection:
        names = {"manager.ours": "Olive", "inv.caen": "Irene", "nurse.sden": "Sidonie", "odd.one": HOSTILE}
        rows = [{"id": who, "name": name, "email": f"{who}@example.org", "locale": "en", "channels": []} for who, name in names.items()]
        connection.execute(insert(table(Person)), rows)
    office.assign("manager.ours", "project_manager", "", ours)
    office.assign("inv.caen", "principal_investigator", "CAEN")
    office.assign("nurse.sden", "site_coordinator", "SDEN")
    office.with_account("project_manager", "manager.ours", "inv.caen")
    return office
