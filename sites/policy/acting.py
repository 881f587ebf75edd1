"""To act: the role held that day, no conflict of interest, and what the role requires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Date, and_, bindparam, exists, literal_column, or_, select

from protocols.errors import InConflict, NotAssigned, NotQualified
from protocols.needs import MANAGER
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites.database import table
from sites.tables import Account, Assignment, Conflict, Delegation, Deputy, Person, Training

_ASSIGNMENT, _PERSON, _DEPUTY, _CONFLICT = table(Assignment), table(Person), table(Deputy), table(Conflict)
_DELEGATION, _TRAINING = table(Delegation), table(Training)
_CLOSED = table(Account).alias("closed")  # under a name of its own: some of those who ask read the accounts as well


def is_closed(person: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the account of a person is closed. Until it is opened again they hold no role, lend none, and nothing is sent to them."""
    return exists().where(_CLOSED.c.person == person, _CLOSED.c.disabled_at.is_not(None))


def in_force(on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The assignments that count on a local date, both ends included: whoever has one holds its role. No others do."""
    return and_(between(_ASSIGNMENT.c, on), ~is_closed(_ASSIGNMENT.c.person))


def deputising(on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The deputies who may act on a local date, both ends included, in the roles that the other then holds (`in_force`)."""
    return and_(lent(on), ~is_closed(_DEPUTY.c.deputy))


def dated(on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The assignments in force on a local date by their dates alone, for lists that also show whose account is closed."""
    return between(_ASSIGNMENT.c, on)


def lent(on: date | BindParameter[date]) -> ColumnElement[bool]:
    """As `dated`, of deputies."""
    return and_(_DEPUTY.c.ended_at.is_(None), between(_DEPUTY.c, on))


def between(columns: Any, on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The rows whose `from_date` and `until_date` hold that local date, both included, open where empty."""
    begins, ends = columns.from_date, columns.until_date
    return and_(or_(begins.is_(None), begins <= on), or_(ends.is_(None), ends >= on))


_ON: BindParameter[date] = bindparam("on", type_=Date())
_EITHER_SITE: list[ColumnElement[str]] = [literal_column("''"), bindparam("site")]
_EITHER_EXPERIMENT: list[ColumnElement[str]] = [literal_column("''"), bindparam("experiment")]
_ROLE_HERE = (
    _ASSIGNMENT.c.role == bindparam("role"),
    _ASSIGNMENT.c.site.in_(_EITHER_SITE),
    _ASSIGNMENT.c.experiment.in_(_EITHER_EXPERIMENT),
    in_force(_ON),
)
_HOLDS = exists().where(_ASSIGNMENT.c.person == bindparam("person"), *_ROLE_HERE)
_DEPUTISED = (
    select(_ASSIGNMENT.c.person)
    .join_from(_DEPUTY, _ASSIGNMENT, _ASSIGNMENT.c.person == _DEPUTY.c.person)
    .where(_DEPUTY.c.deputy == bindparam("person"), deputising(_ON), *_ROLE_HERE)
)
_CONFLICTED = exists().where(
    _CONFLICT.c.person == bindparam("person"), _CONFLICT.c.withdrawn_at.is_(None), _CONFLICT.c.experiment.in_(_EITHER_EXPERIMENT)
)


def counts(columns: Any, begins: Any, on: date | BindParameter[date]) -> ColumnElement[bool]:
    """The delegations or trainings in force on a local date: signed, begun, not run out, not ended by that day."""
    runs = or_(columns.until_date.is_(None), columns.until_date >= on)
    return and_(columns.signed_at.is_not(None), begins <= on, runs, or_(columns.ended_on.is_(None), columns.ended_on > on))


_DELEGATED = exists().where(
    _DELEGATION.c.person == bindparam("person"),
    _DELEGATION.c.role == bindparam("role"),
    _DELEGATION.c.site == bindparam("site"),
    _DELEGATION.c.experiment == bindparam("experiment"),
    counts(_DELEGATION.c, _DELEGATION.c.from_date, _ON),
)
_TRAINED = exists().where(
    _TRAINING.c.person == bindparam("person"),
    _TRAINING.c.protocol == bindparam("protocol"),
    _TRAINING.c.version == bindparam("version"),
    _TRAINING.c.site == bindparam("site"),
    counts(_TRAINING.c, _TRAINING.c.on_date, _ON),
)
# Built once: every command asks (see sites.snapshot).
_STANDING = select(_HOLDS.label("holds"), _CONFLICTED.label("conflicted"))
_FULL_STANDING = select(_HOLDS.label("holds"), _CONFLICTED.label("conflicted"), _DELEGATED.label("delegation"), _TRAINED.label("training"))


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a person may act in a role somewhere on a day.

    `of` is whom they deputise for, "" when the role is their own; `lacks` names the requirements of the role that are not met.
    """

    holds: bool
    in_conflict: bool
    lacks: tuple[str, ...] = ()
    of: str = ""

    @property
    def may_act(self) -> bool:
        return self.holds and not self.in_conflict and not self.lacks


def standing(
    connection: Connection, person: str, role: str, *, site: str = "", experiment: str = "", on: date, plan: Plan | None = None
) -> Standing:
    """How a person stands to a role for a step at `site` ("" for an experiment step), in that experiment, on that local date.

    With `plan`, what the role `requires` there is looked up too; without, only whether it is held and no conflict declared. Conflicts
    and requirements are those of the person, also when it is a deputy.
    """
    asked: dict[str, Any] = {"person": person, "role": role, "site": site, "experiment": experiment, "on": on}
    known = plan.role(role) if plan else None
    lacks: tuple[str, ...] = ()
    if plan is None or known is None or not known.requires:
        row: Any = connection.execute(_STANDING, asked).one()
    else:
        of_protocol = {"protocol": plan.protocol.id, "version": plan.protocol.version}
        row = connection.execute(_FULL_STANDING, asked | of_protocol).one()
        lacks = tuple(name for name in known.requires if not getattr(row, name))
    of = "" if row.holds else min(connection.execute(_DEPUTISED, asked).scalars(), default="")
    return Standing(bool(row.holds or of), bool(row.conflicted), lacks, of)


@dataclass(frozen=True, slots=True)
class Qualified:
    """All that was ever delegated to a person and all their trainings, as the rows that are signed: to ask for many places at once."""

    delegations: Mapping[tuple[str, str, str], Sequence[Any]]
    trainings: Mapping[tuple[str, str, str], Sequence[Any]]

    @classmethod
    def of(cls, connection: Connection, person: str) -> Qualified:
        """What a person has, in two statements."""
        found: tuple[dict[tuple[str, str, str], list[Any]], ...] = ({}, {})
        for kept, query in zip(found, (_DELEGATIONS_OF, _TRAININGS_OF), strict=True):
            for row in connection.execute(query, {"person": person}):
                kept.setdefault((row[0], row[1], row[2]), []).append(row)
        return cls(*found)

    def has(self, requirement: str, plan: Plan, role: str, site: str, experiment: str, on: date) -> bool:
        """Whether a requirement of a role is met at a site of an experiment on that local date: what `standing` says, asked of the rows."""
        if requirement == "delegation":
            rows = self.delegations.get((role, site, experiment), ())
        else:
            rows = self.trainings.get((plan.protocol.id, plan.protocol.version, site), ())
        return any(
            row.begins <= on and (row.until_date is None or row.until_date >= on) and (row.ended_on is None or row.ended_on > on)
            for row in rows
        )


_DELEGATIONS_OF = select(
    _DELEGATION.c.role,
    _DELEGATION.c.site,
    _DELEGATION.c.experiment,
    _DELEGATION.c.from_date.label("begins"),
    _DELEGATION.c.until_date,
    _DELEGATION.c.ended_on,
).where(_DELEGATION.c.person == bindparam("person"), _DELEGATION.c.signed_at.is_not(None))
_TRAININGS_OF = select(
    _TRAINING.c.protocol,
    _TRAINING.c.version,
    _TRAINING.c.site,
    _TRAINING.c.on_date.label("begins"),
    _TRAINING.c.until_date,
    _TRAINING.c.ended_on,
).where(_TRAINING.c.person == bindparam("person"), _TRAINING.c.signed_at.is_not(None))


def holds(connection: Connection, person: str, role: str, *, site: str, experiment: str, on: date) -> bool:
    """Whether a person holds a role for a step at `site` ("" for an experiment step), in that experiment, that day."""
    return standing(connection, person, role, site=site, experiment=experiment, on=on).holds


def require(
    connection: Connection, person: str, role: str, *, site: str = "", experiment: str = "", on: date, to: str, plan: Plan | None = None
) -> str:
    """Let a person act in a role: gives whom they deputise for, "" when the role is their own. `to` names the act.

    Raises NotAssigned, InConflict or NotQualified, saying what is wanted.
    """
    found = standing(connection, person, role, site=site, experiment=experiment, on=on, plan=plan)
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
    if found.lacks:
        raise NotQualified(_not_qualified(person, role, site, found.lacks, plan, on, to))
    return found.of


def _not_assigned(connection: Connection, person: str, role: str, site: str, on: date, to: str) -> Phrase:
    known = connection.execute(select(is_closed(_PERSON.c.id)).where(_PERSON.c.id == person)).first()
    if known is None:
        return Phrase("There is no person {person!r} to {to}. `insitu person list` shows those there are.", person=person, to=to)
    if known[0]:
        return Phrase("The account of {person} is closed, so they cannot {to}. A project manager can open it again.", person=person, to=to)
    words: dict[str, Any] = {"person": person, "role": role, "site": site, "on": on, "to": to}
    if site:
        return Phrase(
            "{person} does not hold the role {role!r} at {site} on {on}, which is needed to {to}. "
            "A project manager can assign it: insitu assign {person} {role} --site {site}.",
            **words,
        )
    return Phrase(
        "{person} does not hold the role {role!r} on {on}, which is needed to {to}. "
        "A project manager can assign it: insitu assign {person} {role}.",
        **words,
    )


def _not_qualified(person: str, role: str, site: str, lacks: Sequence[str], plan: Plan | None, on: date, to: str) -> Phrase:
    protocol = f"{plan.protocol.id} {plan.protocol.version}" if plan else ""
    where = site or Phrase("the whole experiment")
    words: dict[str, Any] = {"person": person, "role": role, "site": where, "on": on, "protocol": protocol, "to": to}
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


def require_manager(connection: Connection, person: str, *, experiment: str = "", on: date, to: str) -> str:
    """Let a project manager act: gives whom they deputise for, "" when they are one themselves. Raises NotAssigned, InConflict."""
    return require(connection, person, MANAGER, experiment=experiment, on=on, to=to)


def require_manager_themselves(connection: Connection, person: str, *, experiment: str = "", on: date, to: str) -> None:
    """As `require_manager`, in their own right: who stands in for a manager for a week must not keep the power for ever."""
    if of := require_manager(connection, person, experiment=experiment, on=on, to=to):
        raise NotAssigned(not_as_deputy(of, to))


def not_as_deputy(of: str, to: str) -> Phrase:
    """That something is never done in the place of `of`; `to` names the act."""
    return Phrase(
        "As the deputy of {of} you cannot {to}: roles, addresses, accounts and deputies are given and changed in one's own right only. "
        "Ask another project manager.",
        of=of,
        to=to,
    )


def holders(connection: Connection, roles: Sequence[str], *, sites: Sequence[str], experiment: str, on: date) -> list[dict[str, Any]]:
    """The people who hold any of the roles that day (`in_force`), each once, by id: everywhere, or at one of `sites`."""
    wanted = (
        _ASSIGNMENT.c.role.in_(roles),
        _ASSIGNMENT.c.site.in_(("", *sites)),
        _ASSIGNMENT.c.experiment.in_(("", experiment)),
        in_force(on),
    )
    query = select(_PERSON).where(_PERSON.c.id.in_(select(_ASSIGNMENT.c.person).where(*wanted))).order_by(_PERSON.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def deputies_of(connection: Connection, persons: Sequence[str], on: date) -> list[dict[str, Any]]:
    """The deputies of these people that day: rows of people, each with `of`, the person deputised for; by id, then by `of`."""
    query = (
        select(_PERSON, _DEPUTY.c.person.label("of"))
        .join_from(_DEPUTY, _PERSON, _PERSON.c.id == _DEPUTY.c.deputy)
        .where(_DEPUTY.c.person.in_(persons), deputising(on))
        .order_by(_PERSON.c.id, _DEPUTY.c.person)
    )
    return list({(row["id"], row["of"]): dict(row) for row in connection.execute(query).mappings()}.values())
