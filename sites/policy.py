"""Who may see and do what: every door asks here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Date, and_, bindparam, exists, literal_column, or_, select

from protocols.errors import NotAssigned
from protocols.needs import MANAGER
from sites.database import table
from sites.tables import Assignment, Person

_ASSIGNMENT, _PERSON = table(Assignment), table(Person)


def in_force(on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The assignments in force on a local date, both ends included."""
    begins, ends = _ASSIGNMENT.c.from_date, _ASSIGNMENT.c.until_date
    return and_(or_(begins.is_(None), begins <= on), or_(ends.is_(None), ends >= on))


_HOLDS = select(
    exists().where(
        _ASSIGNMENT.c.person == bindparam("person"),
        _ASSIGNMENT.c.role == bindparam("role"),
        _ASSIGNMENT.c.site.in_([literal_column("''"), bindparam("site")]),
        _ASSIGNMENT.c.experiment.in_([literal_column("''"), bindparam("experiment")]),
        in_force(bindparam("on", type_=Date())),
    )
)


def holds(connection: Connection, person: str, role: str, *, site: str, experiment: str, on: date) -> bool:
    """Whether a person holds a role for a step at `site` ("" for an experiment step), in that experiment, that day."""
    asked = {"person": person, "role": role, "site": site, "experiment": experiment, "on": on}
    return bool(connection.execute(_HOLDS, asked).scalar())


def require(connection: Connection, person: str, role: str, *, site: str = "", experiment: str = "", on: date, to: str) -> None:
    """Let a person act in a role, or raise NotAssigned saying what was wanted; `to` names the act."""
    if holds(connection, person, role, site=site, experiment=experiment, on=on):
        return
    known = connection.execute(select(_PERSON.c.id).where(_PERSON.c.id == person)).first()
    if not known:
        raise NotAssigned(f"There is no person {person!r} to {to}. `insitu person list` shows those there are.")
    where, option = (f" at {site}", f" --site {site}") if site else ("", "")
    raise NotAssigned(
        f"{person} does not hold the role {role!r}{where} on {on.isoformat()}, which is needed to {to}. "
        f"A project manager can assign it: insitu assign {person} {role}{option}."
    )


def require_manager(connection: Connection, person: str, *, experiment: str = "", on: date, to: str) -> None:
    """Let a project manager act, or raise NotAssigned."""
    require(connection, person, MANAGER, experiment=experiment, on=on, to=to)


def holders(connection: Connection, roles: Sequence[str], *, sites: Sequence[str], experiment: str, on: date) -> list[dict[str, Any]]:
    """The people who hold any of the roles that day, each once, by id: everywhere, or at one of `sites`."""
    wanted = (
        _ASSIGNMENT.c.role.in_(roles),
        _ASSIGNMENT.c.site.in_(("", *sites)),
        _ASSIGNMENT.c.experiment.in_(("", experiment)),
        in_force(on),
    )
    query = select(_PERSON).where(_PERSON.c.id.in_(select(_ASSIGNMENT.c.person).where(*wanted))).order_by(_PERSON.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]
