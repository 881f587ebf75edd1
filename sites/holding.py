"""Who holds which role where, in one experiment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, Date, bindparam, select

from protocols import clocks
from protocols.clocks import Place
from sites.database import table
from sites.folding import folded
from sites.policy import in_force
from sites.tables import Assignment, Person

_ASSIGNMENT, _PERSON = table(Assignment), table(Person)
_ON: BindParameter[date] = bindparam("on", type_=Date())
_HELD = (
    select(_ASSIGNMENT.c.person, _PERSON.c.name, _ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment, _ASSIGNMENT.c.until_date)
    .join_from(_ASSIGNMENT, _PERSON, _PERSON.c.id == _ASSIGNMENT.c.person)
    .where(
        _ASSIGNMENT.c.role.in_(bindparam("roles", expanding=True)),
        _ASSIGNMENT.c.site.in_(bindparam("sites", expanding=True)),
        _ASSIGNMENT.c.experiment.in_(bindparam("experiments", expanding=True)),
        in_force(_ON),
    )
    .order_by(folded(_PERSON.c.name), _PERSON.c.id)
)


@dataclass(frozen=True, slots=True)
class Holding:
    """A person holds a role today, at one site or ("") wherever it counts; `until` is a local date, the last included."""

    person: str
    name: str
    role: str
    site: str
    is_of_experiment: bool
    until: date | None


def holdings(connection: Connection, row: Mapping[str, Any], roles: Collection[str], sites: Iterable[str], now: datetime) -> list[Holding]:
    """Who holds any of the roles today, everywhere or at one of the sites, by name. `row` is the experiment's."""
    today = clocks.local_date(now, Place(row["territory"], row["timezone"]))
    asked = {"roles": sorted(roles), "sites": ["", *sites], "experiments": ["", row["code"]], "on": today}
    found = connection.execute(_HELD, asked) if roles else ()
    return [Holding(one.person, one.name, one.role, one.site, bool(one.experiment), one.until_date) for one in found]


def by_place(found: Iterable[Holding]) -> dict[tuple[str, str], list[Holding]]:
    """The same by role and site; who holds a role everywhere is under site ""."""
    places: dict[tuple[str, str], list[Holding]] = {}
    for one in found:
        places.setdefault((one.role, one.site), []).append(one)
    return places


def held_at(places: Mapping[tuple[str, str], list[Holding]], role: str, site: str) -> list[Holding]:
    """Who holds a role for a step at a site ("" for the experiment's own), each person once."""
    found = [*places.get((role, site), ()), *(places.get((role, ""), ()) if site else ())]
    return list({one.person: one for one in found}.values())
