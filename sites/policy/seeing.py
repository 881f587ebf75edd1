"""To see: all that a person holds, and how much of an experiment that shows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, false, not_, or_, select, true, union

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import UnknownThing
from protocols.needs import MANAGER
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites.database import table
from sites.policy.acting import is_closed
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

    def holds_somewhere(self, now: datetime) -> bool:
        """Whether there is a place on earth where it is a day on which they hold it."""
        return any(self.holds_on(day) for day in _days(now))

    def holds_everywhere(self, now: datetime) -> bool:
        """Whether they hold it whatever the place's date is."""
        return all(self.holds_on(day) for day in _days(now))


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

    @property
    def in_own_right(self) -> Reader:
        """The same person without what is lent to them as a deputy: roles, contacts, accounts and deputies are changed as such alone."""
        return replace(self, held=tuple(one for one in self.held if not one.of))

    @property
    def deputises(self) -> tuple[str, ...]:
        """Whom they stand in for today."""
        return tuple(sorted({one.of for one in self._today() if one.of}))

    def manages_for(self, experiment: str = "") -> str:
        """Whom they manage an experiment for as a deputy ("" of everything); "" when they manage it themselves, or not at all."""
        if self.in_own_right.manages(experiment):
            return ""
        lent = (one for one in self._today() if one.of and one.role == MANAGER and one.experiment in ("", experiment) and not one.site)
        return min((one.of for one in lent), default="")

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


def _days(now: datetime) -> list[date]:
    """The dates it is somewhere on earth, from twelve hours behind UTC to fourteen ahead."""
    first, last = (now - timedelta(hours=12)).date(), (now + timedelta(hours=14)).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


_OWN = select(_ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment, _ASSIGNMENT.c.from_date, _ASSIGNMENT.c.until_date).where(
    _ASSIGNMENT.c.person == bindparam("person"), ~is_closed(_ASSIGNMENT.c.person)
)
_THEIRS = (
    select(
        _ASSIGNMENT.c.role,
        _ASSIGNMENT.c.site,
        _ASSIGNMENT.c.experiment,
        _ASSIGNMENT.c.from_date,
        _ASSIGNMENT.c.until_date,
        _DEPUTY.c.from_date.label("first_day"),
        _DEPUTY.c.until_date.label("last_day"),
        _ASSIGNMENT.c.person.label("of"),
    )
    .join_from(_DEPUTY, _ASSIGNMENT, _ASSIGNMENT.c.person == _DEPUTY.c.person)
    .where(
        _DEPUTY.c.deputy == bindparam("person"),
        _DEPUTY.c.ended_at.is_(None),
        ~is_closed(_DEPUTY.c.deputy),
        ~is_closed(_ASSIGNMENT.c.person),
    )
)
_BROKEN = select(_GLASS.c.experiment, _GLASS.c.site).where(
    _GLASS.c.person == bindparam("person"), _GLASS.c.until > bindparam("now"), ~is_closed(_GLASS.c.person)
)


def reader(connection: Connection, person: str, now: datetime) -> Reader:
    """What a person may see, read once for a page or a request; `now` is aware UTC."""
    of_person = {"person": person, "now": now}
    held = [Held(*row) for row in connection.execute(_OWN, of_person)] + [_lent(row) for row in connection.execute(_THEIRS, of_person)]
    glass = tuple((row.experiment, row.site) for row in connection.execute(_BROKEN, of_person))
    return Reader(person, tuple(one for one in held if one.holds_somewhere(now)), glass, now)


def _lent(row: Any) -> Held:
    """What a deputy holds: for as long as both the other's role and their own time last."""
    from_date = max(row.from_date or row.first_day, row.first_day)
    return Held(row.role, row.site, row.experiment, from_date, min(row.until_date or row.last_day, row.last_day), row.of)


@dataclass(frozen=True, slots=True)
class Access:
    """How much of one experiment a person sees.

    `held` are their (role, site) there, "" for a role of the whole experiment or of every site; `sites` the sites they see, None for
    every one; `glass` those they broke the glass of. A sponsor alone (`is_aggregate`) sees codes and statuses: no name, no answer but
    those asked of the sponsor. A sponsor who also has a part at a site sees that site, and aggregates of no other.
    """

    person: str
    experiment: str
    held: frozenset[tuple[str, str]]
    sites: frozenset[str] | None
    is_manager: bool
    is_aggregate: bool
    by_glass: bool
    glass: frozenset[str] = frozenset()

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
        if self.is_manager or "" in self.glass or (site and site in self.glass):
            return True
        if any((role, at) in self.held for role in asked_roles(plan, step) for at in ("", site)):
            return True
        if site:
            return any(plan.is_site_role(role) and at in ("", site) for role, at in self.held)
        return any(not at and not plan.is_site_role(role) and role != SPONSOR for role, at in self.held)

    @property
    def names_people(self) -> bool:
        """Whether they see who did what by name, and not by role only."""
        return not self.is_aggregate

    @property
    def sees_every_site(self) -> bool:
        return self.sites is None


@dataclass(frozen=True, slots=True)
class Everything:
    """The view of whoever may read all of an experiment, such as the command line: what `Access` is to everybody else.

    Reads take one of the two and have no default: whoever wants everything says so, with `EVERYTHING`.
    """

    person: str = ""
    sites: None = None
    is_manager: bool = True
    is_aggregate: bool = False
    names_people: bool = True
    sees_every_site: bool = True

    def sees_site(self, site: str) -> bool:
        return True

    def reads_answers(self, plan: Plan, step: str, site: str) -> bool:
        return True


EVERYTHING = Everything()
View = Access | Everything


def asked_roles(plan: Plan, step: str) -> frozenset[str]:
    """The roles that a step asks to answer or to sign."""
    checkpoint = plan.steps[step].step.checkpoint
    return frozenset({checkpoint.role, *(one.role for one in checkpoint.signatures)}) if checkpoint else frozenset()


def access(reader: Reader, row: Mapping[str, Any], plan: Plan, sites: Mapping[str, str]) -> Access | None:
    """How much of an experiment its reader sees, None for nothing of it. `row` is the experiment's, `sites` the time zones of its sites.

    What is held at a site counts by the date there; what is held everywhere, by the date at any place of the experiment: whoever may act
    at one of them sees it.
    """
    code = row["code"]
    days = {site: clocks.local_date(reader.now, Place(timezone=timezone)) for site, timezone in sites.items()}
    any_day = {clocks.local_date(reader.now, Place(row["territory"], row["timezone"])), *days.values()}
    mine = [one for one in reader.held if one.experiment in ("", code) and (one.role == MANAGER or plan.role(one.role))]
    wide = {one.role for one in mine if not one.site and any(one.holds_on(day) for day in any_day)}
    local = {(one.role, one.site) for one in mine if one.site in sites and one.holds_on(days[one.site])}
    glass = frozenset(site for experiment, site in reader.glass if experiment == code)
    if not wide and not local and not glass:
        return None
    in_part = {site for role, site in local if role != SPONSOR} | (glass & sites.keys())
    is_aggregate = not (wide - {SPONSOR}) and not in_part and "" not in glass
    everywhere = bool(wide - {SPONSOR}) or "" in glass or (is_aggregate and bool(wide))
    return Access(
        person=reader.person,
        experiment=code,
        held=frozenset({(role, "") for role in wide} | local),
        sites=None if everywhere else frozenset(in_part or {site for _, site in local}),
        is_manager=MANAGER in wide,
        is_aggregate=is_aggregate,
        by_glass=bool(glass),
        glass=glass,
    )


def access_to(connection: Connection, reader: Reader, row: Mapping[str, Any]) -> Access | None:
    """`access` for an experiment's row, its plan and sites read here."""
    sites = {found.site: found.timezone for found in connection.execute(_SITES_IN, {"experiment": row["id"]})}
    return access(reader, row, plan_of(connection, row["protocol"]), sites)


def find_seen(connection: Connection, reader: Reader, code: str) -> tuple[Mapping[str, Any], Access]:
    """An experiment's row, and how much of it the reader sees. Raises UnknownThing alike for one that is not and one they do not see."""
    row = connection.execute(_BY_CODE, {"code": code}).mappings().first()
    found = access_to(connection, reader, dict(row)) if row else None
    if row is None or found is None:
        raise UnknownThing(Phrase("There is no {code} here that you may see.", code=code))
    return dict(row), found


_BY_CODE = select(_EXPERIMENT).where(_EXPERIMENT.c.code == bindparam("code"))
_SITES_IN = select(_SITE.c.site, _SITE.c.timezone).where(_SITE.c.experiment_id == bindparam("experiment"))


def seen_experiments(connection: Connection, reader: Reader) -> ColumnElement[bool]:
    """The WHERE, on the table of experiments, that keeps those of which the reader sees anything: where `access` is not None."""
    if _sees_all(reader):
        return true()
    return or_(false(), *(way.where for way in _ways_in(connection, reader)))


def seen_rows(connection: Connection, reader: Reader, site: ColumnElement[str]) -> ColumnElement[bool]:
    """The WHERE, on experiments joined with things of theirs, that keeps those whose `site` ("" for the experiment's own) they see.

    It narrows `seen_experiments` and does not replace it: give both.
    """
    if _sees_all(reader):
        return true()
    ways = _ways_in(connection, reader)
    in_part = [way for way in ways if not way.is_sponsors]
    # A sponsor's wide view is of aggregates: where they have a part at a site as well, they see that part instead.
    elsewhere = not_(or_(*(way.where for way in in_part))) if in_part else true()
    seen = [and_(way.where, *([site == way.site] if way.site else []), *([elsewhere] if way.is_sponsors else [])) for way in ways]
    return or_(site == "", *seen)


class _Way(NamedTuple):
    """A way to see something: the experiments it leads to, and the site of them ("" for every one)."""

    where: ColumnElement[bool]
    site: str
    is_sponsors: bool


def _sees_all(reader: Reader) -> bool:
    return any(one.role == MANAGER and not one.site and not one.experiment and one.holds_everywhere(reader.now) for one in reader.held)


def _ways_in(connection: Connection, reader: Reader) -> list[_Way]:
    plans = {found: plan_of(connection, found) for found in connection.execute(_PROTOCOLS_IN_USE).scalars()}
    certain = all(one.holds_everywhere(reader.now) for one in reader.held)
    zones = () if certain else tuple(connection.execute(_ZONES_IN_USE).scalars())
    found = [way for one in reader.held if (way := _way_in(one, plans, zones, reader.now)) is not None]
    return found + [_Way(_EXPERIMENT.c.code == code, site, False) for code, site in reader.glass]


_PROTOCOLS_IN_USE = select(_EXPERIMENT.c.protocol).distinct()
_ZONES_IN_USE = union(select(_EXPERIMENT.c.timezone), select(_SITE.c.timezone))


def _way_in(one: Held, plans: Mapping[str, Plan], zones: Collection[str], now: datetime) -> _Way | None:
    """The experiments that one thing held lets its holder see; None for none."""
    protocols = [found for found, plan in plans.items() if one.role == MANAGER or plan.role(one.role)]
    if not protocols:
        return None
    where = [_EXPERIMENT.c.protocol.in_(protocols), *([_EXPERIMENT.c.code == one.experiment] if one.experiment else [])]
    at_site = [_SITE.c.site == one.site] if one.site else []
    if one.holds_everywhere(now):
        where += [_EXPERIMENT.c.id.in_(select(_SITE.c.experiment_id).where(*at_site))] if one.site else []
    else:
        there = [zone for zone in zones if one.holds_on(clocks.local_date(now, Place(timezone=zone)))]
        in_time = _EXPERIMENT.c.id.in_(select(_SITE.c.experiment_id).where(_SITE.c.timezone.in_(there), *at_site))
        where.append(in_time if one.site else or_(_EXPERIMENT.c.timezone.in_(there), in_time))
    return _Way(and_(*where), one.site, one.role == SPONSOR)
