"""To see: all that a person holds, and how much of an experiment that shows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Date, and_, bindparam, false, literal_column, or_, select, true

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import UnknownThing
from protocols.needs import MANAGER
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites.database import table
from sites.policy.acting import between
from sites.releases import plan_of
from sites.tables import Assignment, BrokenGlass, Deputy, Experiment, ExperimentSite

_ASSIGNMENT, _DEPUTY, _GLASS = table(Assignment), table(Deputy), table(BrokenGlass)
_EXPERIMENT, _SITE = table(Experiment), table(ExperimentSite)

SPONSOR = "sponsor"
INVESTIGATOR = "principal_investigator"


@dataclass(frozen=True, slots=True)
class Held:
    """A role someone holds, themselves (`of` is "") or as the deputy of `of`; from and until are local dates, both included."""

    role: str
    site: str
    experiment: str
    from_date: date | None
    until_date: date | None
    of: str = ""

    def holds_on(self, day: date) -> bool:
        return (self.from_date is None or self.from_date <= day) and (self.until_date is None or self.until_date >= day)


@dataclass(frozen=True, slots=True)
class Reader:
    """A person as one who reads: all they hold, and the experiments (with a site, "" for all) that they broke the glass of."""

    person: str
    held: tuple[Held, ...]
    glass: tuple[tuple[str, str], ...]
    now: datetime

    @property
    def is_manager(self) -> bool:
        """Whether they are a project manager of everything."""
        return any(one.role == MANAGER and not one.experiment and not one.site for one in self._today())

    def manages(self, experiment: str) -> bool:
        """Whether they are a project manager of this experiment."""
        return any(one.role == MANAGER and one.experiment in ("", experiment) and not one.site for one in self._today())

    @property
    def is_some_manager(self) -> bool:
        """Whether they are a project manager of anything."""
        return any(one.role == MANAGER and not one.site for one in self._today())

    @property
    def managed(self) -> frozenset[str] | None:
        """The codes of the experiments they manage; None for every one."""
        return None if self.is_manager else frozenset(one.experiment for one in self._today() if one.role == MANAGER and not one.site)

    def investigates(self, site: str) -> bool:
        """Whether they are an investigator of this site, in any experiment."""
        return any(one.role == INVESTIGATOR and one.site in ("", site) for one in self._today())

    @property
    def is_some_investigator(self) -> bool:
        """Whether they are an investigator of any site."""
        return any(one.role == INVESTIGATOR for one in self._today())

    def in_force_at(self, place: Place) -> list[Held]:
        """What they hold on the date it is at that place."""
        day = clocks.local_date(self.now, place)
        return [one for one in self.held if one.holds_on(day)]

    def _today(self) -> list[Held]:
        return self.in_force_at(Place())


def _held_query() -> Any:
    on: BindParameter[date] = bindparam("on", type_=Date())
    names = ("role", "site", "experiment", "from_date", "until_date")
    own = select(*(_ASSIGNMENT.c[name] for name in names), literal_column("''").label("of")).where(
        _ASSIGNMENT.c.person == bindparam("person")
    )
    theirs = (
        select(*(_ASSIGNMENT.c[name] for name in names), _ASSIGNMENT.c.person.label("of"))
        .join_from(_ASSIGNMENT, _DEPUTY, _DEPUTY.c.person == _ASSIGNMENT.c.person)
        .where(_DEPUTY.c.deputy == bindparam("person"), between(_DEPUTY.c, on))
    )
    return own.union_all(theirs)


_HELD = _held_query()
_BROKEN = select(_GLASS.c.experiment, _GLASS.c.site).where(_GLASS.c.person == bindparam("person"), _GLASS.c.until > bindparam("now"))


def reader(connection: Connection, person: str, now: datetime) -> Reader:
    """What a person may see, read once for a page or a request; `now` is aware UTC."""
    on = clocks.local_date(now, Place())
    held = connection.execute(_HELD, {"person": person, "on": on})
    glass = connection.execute(_BROKEN, {"person": person, "now": now})
    return Reader(person, tuple(Held(*row) for row in held), tuple((row.experiment, row.site) for row in glass), now)


@dataclass(frozen=True, slots=True)
class Access:
    """How much of one experiment a person sees.

    `held` are their (role, site) there, "" for a role of the whole experiment or of every site; `sites` the sites they see, None for
    every one. A sponsor alone (`is_aggregate`) sees codes and statuses: no name, no answer but those asked of the sponsor.
    """

    person: str
    experiment: str
    held: frozenset[tuple[str, str]]
    sites: frozenset[str] | None
    is_manager: bool
    is_aggregate: bool
    by_glass: bool

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(role for role, _ in self.held)

    def sees_site(self, site: str) -> bool:
        """Whether they see this site's part ("" is the experiment's own)."""
        return not site or self.sites is None or site in self.sites

    def reads_answers(self, plan: Plan, step: str, site: str) -> bool:
        """Whether they read what was answered to a step, earlier rounds and files included."""
        if not self.sees_site(site):
            return False
        if self.is_manager or self.by_glass:
            return True
        if any((role, at) in self.held for role in asked_roles(plan, step) for at in ("", site)):
            return True
        if site:
            return any(plan.is_site_role(role) and at in ("", site) for role, at in self.held)
        return any(not plan.is_site_role(role) and role != SPONSOR for role in self.roles)

    @property
    def names_people(self) -> bool:
        """Whether they see who did what by name, and not by role only."""
        return not self.is_aggregate

    @property
    def sees_every_site(self) -> bool:
        return self.sites is None


def asked_roles(plan: Plan, step: str) -> frozenset[str]:
    """The roles that a step asks to answer or to sign."""
    checkpoint = plan.steps[step].step.checkpoint
    return frozenset({checkpoint.role, *(one.role for one in checkpoint.signatures)}) if checkpoint else frozenset()


def access(reader: Reader, row: Mapping[str, Any], plan: Plan, sites: Collection[str]) -> Access | None:
    """How much of an experiment its reader sees, None for nothing of it. `row` is the experiment's, `sites` the codes that take part."""
    code = row["code"]
    here = [one for one in reader.in_force_at(Place(row["territory"], row["timezone"])) if one.experiment in ("", code)]
    wide = {(one.role, "") for one in here if not one.site and (one.role == MANAGER or plan.role(one.role))}
    local = {(one.role, one.site) for one in here if one.site in sites and plan.is_site_role(one.role)}
    glass = {site for experiment, site in reader.glass if experiment == code}
    if not wide and not local and not glass:
        return None
    everywhere = bool(wide) or "" in glass
    return Access(
        person=reader.person,
        experiment=code,
        held=frozenset(wide | local),
        sites=None if everywhere else frozenset({site for _, site in local} | (glass & set(sites))),
        is_manager=(MANAGER, "") in wide,
        is_aggregate={role for role, _ in wide | local} == {SPONSOR} and not glass,
        by_glass=bool(glass),
    )


def access_to(connection: Connection, reader: Reader, row: Mapping[str, Any]) -> Access | None:
    """`access` for an experiment's row, its plan and sites read here."""
    sites = connection.execute(_SITES_IN, {"experiment": row["id"]}).scalars()
    return access(reader, row, plan_of(connection, row["protocol"]), frozenset(sites))


def find_seen(connection: Connection, reader: Reader, code: str) -> tuple[Mapping[str, Any], Access]:
    """An experiment's row, and how much of it the reader sees. Raises UnknownThing alike for one that is not and one they do not see."""
    row = connection.execute(_BY_CODE, {"code": code}).mappings().first()
    found = access_to(connection, reader, dict(row)) if row else None
    if row is None or found is None:
        raise UnknownThing(Phrase("There is no {code} here that you may see.", code=code))
    return dict(row), found


_BY_CODE = select(_EXPERIMENT).where(_EXPERIMENT.c.code == bindparam("code"))
_SITES_IN = select(_SITE.c.site).where(_SITE.c.experiment_id == bindparam("experiment"))


def seen_experiments(connection: Connection, reader: Reader) -> ColumnElement[bool]:
    """The WHERE, on the table of experiments, that keeps those of which the reader sees anything."""
    here = reader.in_force_at(Place())
    if reader.is_manager:
        return true()
    plans = _plans_in_use(connection)
    ways: list[ColumnElement[bool]] = []
    ways += [_EXPERIMENT.c.code.in_([experiment for experiment, _ in reader.glass])] if reader.glass else []
    ways += [way for one in here if (way := _way_in(one, plans)) is not None]
    return or_(*ways) if ways else false()


def seen_rows(connection: Connection, reader: Reader, site: ColumnElement[str]) -> ColumnElement[bool]:
    """The WHERE, on experiments joined with things of theirs, that keeps those whose `site` ("" for the experiment's own) they see.

    It narrows `seen_experiments` and does not replace it: give both.
    """
    if reader.is_manager:
        return true()
    plans, here = _plans_in_use(connection), reader.in_force_at(Place())
    ways: list[ColumnElement[bool]] = [site == ""]
    ways += [and_(*([site == one.site] if one.site else []), way) for one in here if (way := _way_in(one, plans)) is not None]
    ways += [and_(*([site == at] if at else []), _EXPERIMENT.c.code == code) for code, at in reader.glass]
    return or_(*ways)


def _plans_in_use(connection: Connection) -> dict[str, Plan]:
    return {found: plan_of(connection, found) for found in connection.execute(_PROTOCOLS_IN_USE).scalars()}


_PROTOCOLS_IN_USE = select(_EXPERIMENT.c.protocol).distinct()


def _way_in(one: Held, plans: Mapping[str, Plan]) -> ColumnElement[bool] | None:
    """The experiments that one thing held lets its holder see; None for none."""
    where: ColumnElement[bool]
    if one.site:
        protocols = [found for found, plan in plans.items() if plan.is_site_role(one.role)]
        where = _EXPERIMENT.c.id.in_(select(_SITE.c.experiment_id).where(_SITE.c.site == one.site))
    else:
        protocols = [found for found, plan in plans.items() if one.role == MANAGER or plan.role(one.role)]
        where = true()
    if not protocols:
        return None
    named = [_EXPERIMENT.c.code == one.experiment] if one.experiment else []
    return and_(_EXPERIMENT.c.protocol.in_(protocols), where, *named)
