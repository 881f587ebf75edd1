"""An office of project managers: two experiments that share nobody but those who hold roles everywhere, and a manager of one alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from small import SMALL, launch
from sqlalchemy import insert
from visit import Visit

from insitu.app import create_app
from insitu.entrance.doors import Doors
from sites import registry, releases
from sites.database import table
from sites.identity.accounts import create_account
from sites.tables import Person

OPENED = datetime(2026, 3, 2, 9, tzinfo=UTC)
PASSWORD = "a long sentence nobody guesses"
HOSTILE = '<b>"Ann"</b> & \u202eevil'


_APPS: list[FastAPI] = []


def _app(doors: Doors) -> FastAPI:
    if not _APPS:
        _APPS.append(create_app(doors))
    return _APPS[0]


@dataclass(frozen=True)
class Office:
    """`ours` runs at CAEN and METZ, `theirs` at SDEN; `manager.ours` manages `ours` alone, `inv.caen` investigates CAEN."""

    doors: Doors
    ours: str
    theirs: str

    def visit(self, person: str = "project_manager") -> Visit:
        """A browser in which the person has signed in. All of them are on one application: making one takes longer than most tests."""
        _app(self.doors).state.doors = self.doors
        return Visit(self.doors, app=_app(self.doors)).sign_in(person)

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
