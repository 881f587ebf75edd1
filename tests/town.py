"""A small registry: three sites in three territories, and the people who hold the roles."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from sites.database import Database, table
from sites.tables import Assignment, Person, Site

Places = dict[str, tuple[str, str, str]]

SITES: Places = {
    "CAEN": ("public_hospital", "FR", "Europe/Paris"),
    "METZ": ("public_hospital", "FR-57", "Europe/Paris"),
    "SDEN": ("nursing_home", "FR-974", "Indian/Reunion"),
}
ROLES = ("project_manager", "methodologist", "ethics_officer", "sponsor", "principal_investigator", "site_coordinator")
# Whoever holds a role everywhere bears its name; these hold one at one site.
LOCAL = [("nurse.caen", "site_coordinator", "CAEN"), ("nurse.metz", "site_coordinator", "METZ"), ("second.officer", "ethics_officer", "")]


def settle(database: Database, roles: tuple[str, ...] = ROLES, sites: Places = SITES) -> None:
    """Put sites in, and for each role a person of that name who holds it everywhere; `LOCAL` people hold theirs at one site."""
    people = [*roles, *(person for person, *_ in LOCAL), "nobody"]
    with database.write() as connection:
        connection.execute(insert(table(Site)), [_site(code, *place) for code, place in sites.items()])
        connection.execute(insert(table(Person)), [_person(name) for name in people])
        held = [(role, role, "") for role in roles] + LOCAL
        connection.execute(insert(table(Assignment)), [{"person": who, "role": role, "site": site} for who, role, site in held])


def _site(code: str, kind: str, territory: str, timezone: str) -> dict[str, str]:
    return {"code": code, "name": f"Site of {code}", "kind": kind, "territory": territory, "timezone": timezone}


def _person(name: str) -> dict[str, Any]:
    return {"id": name, "name": name, "email": f"{name}@example.org", "locale": "en", "channels": []}
