"""To act: the role held that day, no conflict of interest, and what the role requires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Date, and_, bindparam, exists, literal_column, or_, select

from protocols.errors import InConflict, NotAssigned, NotQualified
from protocols.needs import MANAGER
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites.database import table
from sites.tables import Assignment, Conflict, Delegation, Deputy, Person, Training

_ASSIGNMENT, _PERSON, _DEPUTY, _CONFLICT = table(Assignment), table(Person), table(Deputy), table(Conflict)
_DELEGATION, _TRAINING = table(Delegation), table(Training)


def in_force(on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The assignments in force on a local date, both ends included."""
    return between(_ASSIGNMENT.c, on)


def between(columns: Any, on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The rows whose `from_date` and `until_date` hold that local date, both included, open where empty."""
    begins, ends = columns.from_date, columns.until_date
    return and_(or_(begins.is_(None), begins <= on), or_(ends.is_(None), ends >= on))


_ON: BindParameter[date] = bindparam("on", type_=Date())
_EITHER_SITE: list[ColumnElement[str]] = [literal_column("''"), bindparam("site")]
_EITHER_EXPERIMENT: list[ColumnElement[str]] = [literal_column("''"), bindparam("experiment")]
_DEPUTISED = select(_DEPUTY.c.person).where(_DEPUTY.c.deputy == bindparam("person"), between(_DEPUTY.c, _ON))
_HOLDS = exists().where(
    or_(_ASSIGNMENT.c.person == bindparam("person"), _ASSIGNMENT.c.person.in_(_DEPUTISED)),
    _ASSIGNMENT.c.role == bindparam("role"),
    _ASSIGNMENT.c.site.in_(_EITHER_SITE),
    _ASSIGNMENT.c.experiment.in_(_EITHER_EXPERIMENT),
    in_force(_ON),
)
_CONFLICTED = exists().where(
    _CONFLICT.c.person == bindparam("person"), _CONFLICT.c.withdrawn_at.is_(None), _CONFLICT.c.experiment.in_(_EITHER_EXPERIMENT)
)


def _counts(columns: Any, begins: Any) -> ColumnElement[bool]:
    """A signed record that has begun, has not run out and has not been ended by that day."""
    runs = or_(columns.until_date.is_(None), columns.until_date >= _ON)
    return and_(columns.signed_at.is_not(None), begins <= _ON, runs, or_(columns.ended_on.is_(None), columns.ended_on > _ON))


_DELEGATED = exists().where(
    _DELEGATION.c.person == bindparam("person"),
    _DELEGATION.c.role == bindparam("role"),
    _DELEGATION.c.site == bindparam("site"),
    _DELEGATION.c.experiment == bindparam("experiment"),
    _counts(_DELEGATION.c, _DELEGATION.c.from_date),
)
_TRAINED = exists().where(
    _TRAINING.c.person == bindparam("person"),
    _TRAINING.c.protocol == bindparam("protocol"),
    _TRAINING.c.version == bindparam("version"),
    _TRAINING.c.site == bindparam("site"),
    _counts(_TRAINING.c, _TRAINING.c.on_date),
)
# Built once: every command asks (see sites.snapshot).
_STANDING = select(_HOLDS.label("holds"), _CONFLICTED.label("conflicted"))
_FULL_STANDING = select(_HOLDS.label("holds"), _CONFLICTED.label("conflicted"), _DELEGATED.label("delegation"), _TRAINED.label("training"))


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a person may act in a role somewhere on a day: `lacks` names the requirements of the role that are not met."""

    holds: bool
    in_conflict: bool
    lacks: tuple[str, ...] = ()

    @property
    def may_act(self) -> bool:
        return self.holds and not self.in_conflict and not self.lacks


def standing(
    connection: Connection, person: str, role: str, *, site: str = "", experiment: str = "", on: date, plan: Plan | None = None
) -> Standing:
    """How a person stands to a role for a step at `site` ("" for an experiment step), in that experiment, on that local date.

    With `plan`, what the role `requires` there is looked up too; without, only whether it is held and no conflict declared.
    """
    asked: dict[str, Any] = {"person": person, "role": role, "site": site, "experiment": experiment, "on": on}
    known = plan.role(role) if plan else None
    if plan is None or known is None or not known.requires:
        row = connection.execute(_STANDING, asked).one()
        return Standing(bool(row.holds), bool(row.conflicted))
    of_protocol = {"protocol": plan.protocol.id, "version": plan.protocol.version}
    full = connection.execute(_FULL_STANDING, asked | of_protocol).mappings().one()
    return Standing(bool(full["holds"]), bool(full["conflicted"]), tuple(name for name in known.requires if not full[name]))


def holds(connection: Connection, person: str, role: str, *, site: str, experiment: str, on: date) -> bool:
    """Whether a person holds a role for a step at `site` ("" for an experiment step), in that experiment, that day."""
    return standing(connection, person, role, site=site, experiment=experiment, on=on).holds


def require(
    connection: Connection, person: str, role: str, *, site: str = "", experiment: str = "", on: date, to: str, plan: Plan | None = None
) -> None:
    """Let a person act in a role, or raise NotAssigned, InConflict or NotQualified saying what is wanted; `to` names the act."""
    found = standing(connection, person, role, site=site, experiment=experiment, on=on, plan=plan)
    if found.may_act:
        return
    if not found.holds:
        raise NotAssigned(_not_assigned(connection, person, role, site, on, to))
    if found.in_conflict:
        raise InConflict(
            Phrase(
                "{person} has declared a conflict of interest, so they cannot {to}. Someone else must, or a project manager notes "
                "that the conflict is over.",
                person=person,
                to=to,
            )
        )
    raise NotQualified(_not_qualified(person, role, site, found.lacks, plan, on, to))


def _not_assigned(connection: Connection, person: str, role: str, site: str, on: date, to: str) -> Phrase:
    if not connection.execute(select(_PERSON.c.id).where(_PERSON.c.id == person)).first():
        return Phrase("There is no person {person!r} to {to}. `insitu person list` shows those there are.", person=person, to=to)
    where, option = (f" at {site}", f" --site {site}") if site else ("", "")
    return Phrase(
        "{person} does not hold the role {role!r}{where} on {on}, which is needed to {to}. "
        "A project manager can assign it: insitu assign {person} {role}{option}.",
        person=person,
        role=role,
        where=where,
        on=on.isoformat(),
        to=to,
        option=option,
    )


def _not_qualified(person: str, role: str, site: str, lacks: Sequence[str], plan: Plan | None, on: date, to: str) -> Phrase:
    protocol = f"{plan.protocol.id} {plan.protocol.version}" if plan else ""
    words: dict[str, Any] = {"person": person, "role": role, "site": site, "on": on.isoformat(), "protocol": protocol, "to": to}
    if tuple(lacks) == ("training",):
        return Phrase(
            "{person} has no signed training on {protocol} at {site} in force on {on}, which the role {role!r} requires to {to}. "
            "The investigator signs one: insitu training record, then insitu training sign.",
            **words,
        )
    if tuple(lacks) == ("delegation",):
        return Phrase(
            "{person} has no signed delegation as {role!r} at {site} in force on {on}, which is required to {to}. "
            "The investigator signs one: insitu delegation record, then insitu delegation sign.",
            **words,
        )
    return Phrase(
        "{person} has neither a signed delegation as {role!r} nor a signed training on {protocol} at {site} in force on {on}; both are "
        "required to {to}. The investigator signs them: insitu delegation and insitu training.",
        **words,
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
