"""Who holds which role of a protocol before it is launched, and where nobody does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from protocols import clocks
from protocols.clocks import Place
from protocols.model import Protocol, Scope
from sites import policy
from sites.database import Database, table
from sites.folding import fold, folded
from sites.tables import Assignment, Person, Site

_ASSIGNMENT, _PERSON, _SITE = table(Assignment), table(Person), table(Site)


@dataclass(frozen=True, slots=True)
class Manned:
    """The holders of a protocol's roles today, in every experiment: (id, name) by role and site, "" for everywhere."""

    protocol: Protocol
    held: dict[tuple[str, str], tuple[tuple[str, str], ...]]

    def of(self, role: str) -> list[tuple[str, str]]:
        """All who hold a role anywhere, each once, by name."""
        found = {person: name for (held, _), people in self.held.items() if held == role for person, name in people}
        return sorted(found.items(), key=lambda one: fold(one[1]))

    @property
    def vacant(self) -> list[str]:
        """The roles of the whole experiment that nobody holds."""
        return [name for name, role in self.protocol.roles.items() if role.scope is Scope.EXPERIMENT and not self.held.get((name, ""))]

    def vacant_at(self, site: str) -> list[str]:
        """The roles of the sites that nobody holds at this one."""
        roles = [name for name, role in self.protocol.roles.items() if role.scope is Scope.SITE]
        return [name for name in roles if not self.held.get((name, "")) and not self.held.get((name, site))]


def manned(database: Database, protocol: Protocol, now: datetime, *, also: Collection[str] = ()) -> Manned:
    """Who holds the protocol's roles, and those `also` named; roles held in one experiment only do not count for a new one."""
    query = (
        select(_ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _PERSON.c.id, _PERSON.c.name)
        .join_from(_ASSIGNMENT, _PERSON, _PERSON.c.id == _ASSIGNMENT.c.person)
        .where(
            _ASSIGNMENT.c.role.in_({*protocol.roles, *also}),
            _ASSIGNMENT.c.experiment == "",
            policy.in_force(clocks.local_date(now, Place())),
        )
        .order_by(folded(_PERSON.c.name))
    )
    held: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    with database.read() as connection:
        for row in connection.execute(query):
            held[row.role, row.site] = (*held.get((row.role, row.site), ()), (row.id, row.name))
    return Manned(protocol, held)


def everyone(database: Database) -> list[tuple[str, str]]:
    """Every person whose account is not closed, (id, name), by name."""
    query = select(_PERSON.c.id, _PERSON.c.name).where(~policy.is_closed(_PERSON.c.id)).order_by(folded(_PERSON.c.name))
    with database.read() as connection:
        return [(row.id, row.name) for row in connection.execute(query)]


def known_sites(database: Database) -> list[dict[str, str]]:
    """Every site by name: `code, name, kind, territory, timezone`."""
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(_SITE).order_by(folded(_SITE.c.name), _SITE.c.code)).mappings()]
