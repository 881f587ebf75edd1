"""To administer: which people, assignments and sites a project manager sees and changes, those of all or of their experiments alone."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, false, or_, select, true

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import NotAssigned, UnknownThing
from protocols.needs import MANAGER
from protocols.phrase import Phrase
from sites.database import table
from sites.policy.acting import not_as_deputy
from sites.policy.seeing import INVESTIGATOR, Held, Reader
from sites.releases import plan_of
from sites.tables import Account, Assignment, Delegation, Deputy, Experiment, ExperimentSite, Person, Release, Site

_ASSIGNMENT, _PERSON, _DEPUTY, _SITE = table(Assignment), table(Person), table(Deputy), table(Site)
_RELEASE = table(Release)
_DELEGATION, _ACCOUNT = table(Delegation), table(Account)
_EXPERIMENT, _TAKES_PART = table(Experiment), table(ExperimentSite)


# ------------------------------------------------------------------ what they see


def seen_assignments(connection: Connection, reader: Reader) -> ColumnElement[bool]:
    """The WHERE, on assignments, that keeps those that count in an experiment the reader manages; none for whoever manages nothing."""
    if reader.is_manager:
        return true()
    managed = sorted(reader.managed or ())
    if not managed:
        return false()
    query = select(_EXPERIMENT.c.protocol).where(_EXPERIMENT.c.code.in_(managed)).distinct()
    everywhere = _ASSIGNMENT.c.experiment == ""
    ways = [_of_protocol(connection, found, managed) for found in connection.execute(query).scalars()]
    return or_(_ASSIGNMENT.c.experiment.in_(managed), *(and_(everywhere, way) for way in ways))


def _of_protocol(connection: Connection, protocol: str, managed: list[str]) -> ColumnElement[bool]:
    """Assignments to every experiment that count in those managed which follow this protocol."""
    roles = plan_of(connection, protocol).protocol.roles
    of_sites = [role for role, described in roles.items() if described.scope == "site"]
    places = _sites_of(managed).where(_EXPERIMENT.c.protocol == protocol)
    wide = and_(_ASSIGNMENT.c.site == "", _ASSIGNMENT.c.role.in_([*roles, MANAGER]))
    return or_(wide, and_(_ASSIGNMENT.c.role.in_(of_sites), _ASSIGNMENT.c.site.in_(places)))


def _sites_of(managed: list[str]) -> Select[Any]:
    joined = _TAKES_PART.join(_EXPERIMENT, _EXPERIMENT.c.id == _TAKES_PART.c.experiment_id)
    return select(_TAKES_PART.c.site).select_from(joined).where(_EXPERIMENT.c.code.in_(managed))


def seen_people(connection: Connection, reader: Reader) -> ColumnElement[bool]:
    """The WHERE, on people, that keeps those who have to do with an experiment the reader manages: its roles, their deputies, its logs."""
    if reader.is_manager:
        return true()
    managed = sorted(reader.managed or ())
    if not managed:
        return false()
    holders = select(_ASSIGNMENT.c.person).where(seen_assignments(connection, reader))
    deputies = select(_DEPUTY.c.deputy).where(_DEPUTY.c.person.in_(holders))
    delegated = select(_DELEGATION.c.person).where(_DELEGATION.c.experiment.in_(managed))
    named = or_(*(_PERSON.c.id.in_(found) for found in (holders, deputies, delegated)))
    return or_(_PERSON.c.id == reader.person, named)


def seen_sites(reader: Reader) -> ColumnElement[bool]:
    """The WHERE, on sites, that keeps those of the experiments the reader manages."""
    return true() if reader.is_manager else _SITE.c.code.in_(_sites_of(sorted(reader.managed or ())))


def recordable_people(
    connection: Connection, reader: Reader, site: str | None = None, experiment: str | None = None
) -> ColumnElement[bool]:
    """The WHERE, on people, that keeps those whose delegations and trainings the reader may have to keep, there where a place is given.

    A manager's people, and those with a role at a site that the reader is an investigator of, with their deputies.
    """
    if reader.is_manager:
        return true()
    managed = [seen_people(connection, reader)] if experiment is None or reader.manages(experiment) else []
    ways = [_at_site(connection, site or one.site, experiment or one.experiment) for one in _investigations(reader, site, experiment)]
    if not ways:
        return or_(false(), *managed)
    there = select(_ASSIGNMENT.c.person).where(or_(*ways))
    deputies = select(_DEPUTY.c.deputy).where(_DEPUTY.c.person.in_(there), _DEPUTY.c.ended_at.is_(None))
    return or_(_PERSON.c.id.in_(there), _PERSON.c.id.in_(deputies), *managed)


def _investigations(reader: Reader, site: str | None, experiment: str | None) -> list[Held]:
    """What a reader is an investigator of today that covers a site and an experiment; None for any."""
    held = [one for one in reader.in_force_at(Place()) if one.role == INVESTIGATOR]
    return [
        one
        for one in held
        if (site is None or one.site in ("", site)) and (experiment is None or not one.experiment or one.experiment == experiment)
    ]


def require_recordable(connection: Connection, reader: Reader, person: str, site: str, experiment: str | None = None) -> None:
    """Let a record be about someone the reader may know of there. Raises UnknownThing, for anyone else as for nobody."""
    where = (_PERSON.c.id == person, recordable_people(connection, reader, site, experiment))
    if not connection.execute(select(_PERSON.c.id).where(*where)).first():
        raise unknown_person(person)


def _at_site(connection: Connection, site: str, experiment: str) -> ColumnElement[bool]:
    """Assignments that count at a site ("" for any) in an experiment ("" for any)."""
    places = [_ASSIGNMENT.c.site.in_(("", site))] if site else []
    named = [_ASSIGNMENT.c.experiment.in_(("", experiment))] if experiment else []
    return and_(_ASSIGNMENT.c.role.in_(_site_roles(connection)), *places, *named)


def _site_roles(connection: Connection) -> list[str]:
    """Every role of a site that a released protocol has."""
    plans = [plan_of(connection, found) for found in connection.execute(select(_RELEASE.c.hash)).scalars()]
    return sorted({name for plan in plans for name, role in plan.protocol.roles.items() if role.scope == "site"})


# ------------------------------------------------------------------ what they change


def require_whole(reader: Reader, to: str) -> str:
    """Let a project manager of everything act, or raise NotAssigned; `to` names the act, such as "change a site".

    Gives whom they do it for as a deputy, "" when they are one themselves.
    """
    if not reader.is_manager:
        raise NotAssigned(Phrase("Only a project manager of every experiment can {to}. Ask one of them.", to=to))
    return reader.manages_for()


def require_whole_themselves(reader: Reader, to: str) -> None:
    """As `require_whole`, in their own right: nobody is given a role, a contact, an account or a deputy by a deputy."""
    if of := require_whole(reader, to):
        raise NotAssigned(not_as_deputy(of, to))


def require_seen_person(connection: Connection, reader: Reader, person: str) -> None:
    """Let a project manager read of a person, or raise UnknownThing: of somebody else's people as of nobody at all."""
    query = select(_PERSON.c.id).where(_PERSON.c.id == person, seen_people(connection, reader))
    if not connection.execute(query).first():
        raise unknown_person(person)


def require_there(connection: Connection, person: str) -> None:
    """Raise UnknownThing unless there is such a person: for one's own id, which the command line may mistype."""
    if connection.execute(select(_PERSON.c.id).where(_PERSON.c.id == person)).first() is None:
        raise unknown_person(person)


def unknown_person(person: str) -> UnknownThing:
    """That there is no such person, in the words that also hide one who is not the reader's to know."""
    return UnknownThing(Phrase("There is no {code} here that you may see.", code=person))


def require_assigning(connection: Connection, reader: Reader, person: str, site: str, experiment: str) -> None:
    """Let a manager give or end a role: anywhere for a manager of everything, else in an experiment of theirs, to people they see.

    Not as a deputy. Raises NotAssigned, or UnknownThing for a person or a site that has nothing to do with their experiments.
    """
    own = reader.in_own_right
    if own.is_manager:
        return
    if not experiment or not own.manages(experiment):
        if of := reader.manages_for(experiment):
            raise NotAssigned(not_as_deputy(of, Phrase("give or end a role")))
        raise NotAssigned(Phrase("You can give and end roles in the experiments you manage only. Choose one of them."))
    reader = own
    require_seen_person(connection, reader, person)
    if site and not connection.execute(_sites_of([experiment]).where(_TAKES_PART.c.site == site)).first():
        raise UnknownThing(Phrase("There is no {code} here that you may see.", code=site))


def somebody_manages(connection: Connection, on: date, *, but: str = "") -> bool:
    """Whether, from the day after `on`, someone other than `but` manages everything and has an account that is open."""
    can = select(_ACCOUNT.c.person).where(_ACCOUNT.c.disabled_at.is_(None))
    lasts = or_(_ASSIGNMENT.c.until_date.is_(None), _ASSIGNMENT.c.until_date > on)
    begun = or_(_ASSIGNMENT.c.from_date.is_(None), _ASSIGNMENT.c.from_date <= on)
    wide = (_ASSIGNMENT.c.role == MANAGER, _ASSIGNMENT.c.site == "", _ASSIGNMENT.c.experiment == "")
    query = select(_ASSIGNMENT.c.id).where(*wide, lasts, begun, _ASSIGNMENT.c.person.in_(can), _ASSIGNMENT.c.person != but)
    return connection.execute(query).first() is not None


def today(reader: Reader) -> date:
    """The date that dated rights are read on, where the installation stands."""
    return clocks.local_date(reader.now, Place())
