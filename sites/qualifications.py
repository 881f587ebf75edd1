"""The delegation log and the training records: who may do what at a site, on which evidence, signed by whom.

Such a record counts from its first day once it is signed, and is never changed afterwards: it is only ended, with a reason
(ICH E6(R3) §2.3: the investigator delegates tasks and keeps a record of it). Every act is in the access journal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, false, or_, select, true, tuple_

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import InvalidInput, NotAssigned, Refused, UnknownThing
from protocols.model import LOCALES
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites import meanings, policy, records
from sites.clock import Clock
from sites.colleagues import sites_seen
from sites.database import Database, table
from sites.evidence import require_of_record
from sites.identity.access import AccessKind
from sites.policy import INVESTIGATOR, MANAGER, Reader
from sites.policy.administering import require_recordable, seen_sites
from sites.releases import find_release, plan_of
from sites.signing import Prove, meaning_to_keep
from sites.tables import Delegation, Experiment, ExperimentSite, Person, Site, Training

_DELEGATION, _TRAINING = table(Delegation), table(Training)
_PERSON, _SITE, _EXPERIMENT, _TAKES_PART = table(Person), table(Site), table(Experiment), table(ExperimentSite)
_ENDED = ("stopped", "closed")
PAGE = 50


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a record stands: the experiment with its plan, the site ("" for the whole experiment), and the date it is there."""

    experiment: str
    plan: Plan
    site: str
    today: date


# ------------------------------------------------------------------ to record


@dataclass(frozen=True, slots=True)
class NewDelegation:
    """That a person may act in a role at a site ("" for the experiment itself), to be written down by whoever keeps that log.

    Dates are local to the site, both included; `evidence` is the hash of a file that the recorder handed in, "" for none.
    """

    person: str
    role: str
    site: str
    experiment: str
    from_date: date
    until_date: date | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class NewTraining:
    """That a person was trained on a version of a protocol at a site, on a local date; otherwise as `NewDelegation`."""

    person: str
    protocol: str
    version: str
    site: str
    on_date: date
    until_date: date | None = None
    evidence: str = ""


def record(database: Database, clock: Clock, new: NewDelegation | NewTraining, *, by: str) -> int:
    """Write down a delegation or a training; the record's number. It counts once signed.

    The same again, while it is not signed, gives the same number. A project manager or an investigator of the site may, about people they
    manage or who have a part at that site; of anybody and anywhere else they are told as of nobody and nowhere. A training is recorded once
    it has taken place. Raises NotAssigned, InConflict; UnknownThing, InvalidInput.
    """
    with database.write() as connection:
        now = clock.now()
        keeper = policy.reader(connection, by, now)
        if isinstance(new, NewDelegation):
            return _record_delegation(connection, keeper, new, now)
        return _record_training(connection, keeper, new, now)


def _record_delegation(connection: Connection, keeper: Reader, new: NewDelegation, now: datetime) -> int:
    here = _setting(connection, new.experiment, new.site, keeper.person, now)
    of = _require_keeper(connection, here, keeper.person, to=Phrase("record a delegation"))
    _check_role(here, new.role)
    require_recordable(connection, keeper, new.person, new.site, new.experiment)
    _check(connection, new.from_date, new.until_date, new.evidence, keeper.person)
    return records.recorded(connection, _DELEGATION, AccessKind.DELEGATION_RECORDED, asdict(new), keeper.person, of, now)


def _record_training(connection: Connection, keeper: Reader, new: NewTraining, now: datetime) -> int:
    of = _require_training_keeper(connection, keeper, new.site, to=Phrase("record a training"))
    find_release(connection, new.protocol, new.version)
    require_recordable(connection, keeper, new.person, new.site)
    _check(connection, new.on_date, new.until_date, new.evidence, keeper.person)
    if new.on_date > _today_at(connection, new.site, now):
        raise InvalidInput(Phrase("{on} is still to come; record the training once it has taken place.", on=new.on_date))
    return records.recorded(connection, _TRAINING, AccessKind.TRAINING_RECORDED, asdict(new), keeper.person, of, now)


# ------------------------------------------------------------------ delegations


def sign_delegation(database: Database, clock: Clock, number: int, *, by: str, prove: Prove, meaning: str | None = None) -> str:
    """Sign a delegation: from now on it counts. The text that is kept with it (`sites.meanings`).

    `prove` is called first. `meaning` is the text as shown to the signer, else it is the one in their language. The investigator of that
    site signs, if they may act there themselves; a project manager where there is none to sign, or where it is the investigator's own.
    Nobody signs a record of their own, nor as the deputy of the person it is of. Raises NotProven, NotAssigned, InConflict, NotQualified,
    Refused when it is signed or ended already, UnknownThing, InvalidInput for a meaning of the signer's own.
    """
    prove()
    with database.write() as connection:
        now = clock.now()
        record = records.read(connection, _DELEGATION, number)
        here = _setting_of(connection, record, by, now)
        by_manager = record["role"] == INVESTIGATOR or not record["site"] or here.plan.role(INVESTIGATOR) is None
        role = MANAGER if by_manager else INVESTIGATOR
        of = _require(connection, here, by, role, to=Phrase("sign delegation {number}", number=number), qualified=True)
        said = meaning_to_keep(meanings.of_delegation(connection, record), meaning, _locale_of(connection, by))
        records.sign(connection, _DELEGATION, AccessKind.DELEGATION_SIGNED, record, by, of, role, said, now)
    return said


def end_delegation(database: Database, clock: Clock, number: int, *, by: str, on: date, why: str) -> None:
    """End a delegation: from the local date `on` it does not count any more. An end may be brought forward, never put off.

    Whoever may record one may end it. Raises as `record` does, Refused when it has ended by then already.
    """
    with database.write() as connection:
        now = clock.now()
        found = _seen_record(connection, _DELEGATION, seen_delegations(policy.reader(connection, by, now)), number)
        here = _setting_of(connection, found, by, now)
        of = _require_keeper(connection, here, by, to=Phrase("end delegation {number}", number=number))
        records.end(connection, _DELEGATION, AccessKind.DELEGATION_ENDED, found, by, of, on, why, now)


# ------------------------------------------------------------------ trainings


def sign_training(database: Database, clock: Clock, number: int, *, by: str, prove: Prove, meaning: str | None = None) -> str:
    """Sign a training: from now on it counts. As `sign_delegation`; the investigator is one of an experiment under way with that protocol.

    A project manager signs an investigator's training, and one at a site where no such experiment is under way.
    """
    prove()
    with database.write() as connection:
        now = clock.now()
        record = records.read(connection, _TRAINING, number)
        of, role = _require_training_signer(connection, record, by, now)
        said = meaning_to_keep(meanings.of_training(connection, record), meaning, _locale_of(connection, by))
        records.sign(connection, _TRAINING, AccessKind.TRAINING_SIGNED, record, by, of, role, said, now)
    return said


def end_training(database: Database, clock: Clock, number: int, *, by: str, on: date, why: str) -> None:
    """End a training: from the local date `on` it does not count any more. As `end_delegation`."""
    with database.write() as connection:
        now = clock.now()
        keeper = policy.reader(connection, by, now)
        found = _seen_record(connection, _TRAINING, seen_trainings(keeper), number)
        of = _require_training_keeper(connection, keeper, found["site"], to=Phrase("end training {number}", number=number))
        records.end(connection, _TRAINING, AccessKind.TRAINING_ENDED, found, by, of, on, why, now)


def _locale_of(connection: Connection, person: str) -> str:
    return connection.execute(select(_PERSON.c.locale).where(_PERSON.c.id == person)).scalar() or LOCALES[0]


# ------------------------------------------------------------------ who may


def _setting(connection: Connection, experiment: str, site: str, by: str, now: datetime) -> Setting:
    """Where a delegation stands. An experiment that `by` does not see is as unknown as one that is not."""
    row, access = policy.find_seen(connection, policy.reader(connection, by, now), experiment)
    plan, place = plan_of(connection, row["protocol"]), Place(row["territory"], row["timezone"])
    if site:
        where = select(_TAKES_PART).where(_TAKES_PART.c.experiment_id == row["id"], _TAKES_PART.c.site == site)
        found = connection.execute(where).mappings().first()
        if found is None or not access.sees_site(site):
            raise UnknownThing(Phrase("Site {site} takes no part in {experiment}.", site=site, experiment=experiment))
        place = Place(found["territory"], found["timezone"])
    return Setting(experiment, plan, site, clocks.local_date(now, place))


def _setting_of(connection: Connection, record: Mapping[str, Any], by: str, now: datetime) -> Setting:
    try:
        return _setting(connection, record["experiment"], record["site"], by, now)
    except UnknownThing:  # not the experiment's name, which they may not know
        raise UnknownThing(records.unknown(_DELEGATION, record["id"])) from None


def _seen_record(connection: Connection, log: Table, seen: ColumnElement[bool], number: int) -> Mapping[str, Any]:
    """A record that whoever asks sees; any other is as unknown as one that is not there. Raises UnknownThing."""
    row = connection.execute(select(log).where(log.c.id == number, seen)).mappings().first()
    if row is None:
        raise UnknownThing(records.unknown(log, number))
    return dict(row)


def _require(connection: Connection, here: Setting, by: str, role: str, *, to: str, qualified: bool = False) -> str:
    """Let someone act as manager of the experiment, or as investigator of the site; gives whom they deputise for."""
    at, plan = ("" if role == MANAGER else here.site), (here.plan if qualified else None)
    return policy.require(connection, by, role, site=at, experiment=here.experiment, on=here.today, to=to, plan=plan)


def _require_keeper(connection: Connection, here: Setting, by: str, *, to: str) -> str:
    """Let someone keep the log there: whom they do it for as a deputy."""
    try:
        return _require(connection, here, by, MANAGER, to=to)
    except NotAssigned:
        if not here.site:
            raise
        return _require(connection, here, by, INVESTIGATOR, to=to)


def _under_way(connection: Connection, record: Mapping[str, Any], now: datetime) -> list[Setting]:
    """The experiments under way with the training's very protocol at its site; its own steps' place where the site is ""."""
    release = find_release(connection, record["protocol"], record["version"])
    running = select(_EXPERIMENT).where(_EXPERIMENT.c.protocol == release["hash"], _EXPERIMENT.c.state.not_in(_ENDED))
    if record["site"]:
        running = running.where(_EXPERIMENT.c.id.in_(select(_TAKES_PART.c.experiment_id).where(_TAKES_PART.c.site == record["site"])))
    plan, today = plan_of(connection, release["hash"]), _today_at(connection, record["site"], now)
    return [Setting(row["code"], plan, record["site"], today) for row in connection.execute(running.order_by(_EXPERIMENT.c.id)).mappings()]


def _today_at(connection: Connection, site: str, now: datetime) -> date:
    row = connection.execute(select(_SITE).where(_SITE.c.code == site)).mappings().first() if site else None
    return clocks.local_date(now, Place(row["territory"], row["timezone"]) if row else Place())


def _require_training_keeper(connection: Connection, keeper: Reader, site: str, *, to: str) -> str:
    """Let a project manager of the site, or an investigator of it in anything, keep its trainings: whom they do it for as a deputy.

    What they write counts for nothing until it is signed. A site that is not theirs to see is as unknown as one that is not there.
    """
    if not keeper.is_some_manager and not keeper.is_some_investigator:
        raise NotAssigned(Phrase("Only a project manager or an investigator of the site may {to}.", to=to))
    if not _keeps_trainings(connection, keeper, site):
        if site in {one["code"] for one in sites_seen(connection, keeper)}:
            raise NotAssigned(Phrase("Only a project manager or an investigator of the site may {to}.", to=to))
        raise UnknownThing(Phrase("There is no {code} here that you may see.", code=site))
    return "" if _keeps_trainings(connection, keeper.in_own_right, site) else min(keeper.deputises)


def _keeps_trainings(connection: Connection, keeper: Reader, site: str) -> bool:
    if not site:
        return keeper.is_some_manager or keeper.investigates("")
    known = seen_sites(keeper) if keeper.is_some_manager else false()
    where = true() if keeper.investigates(site) else known
    return connection.execute(select(_SITE.c.code).where(_SITE.c.code == site, where)).first() is not None


def _require_training_signer(connection: Connection, record: Mapping[str, Any], by: str, now: datetime) -> tuple[str, str]:
    """Let someone sign a training: gives whom they deputise for, and in which role they sign."""
    to = Phrase("sign training {number}", number=record["id"])
    experiments = _under_way(connection, record, now)
    asks_investigator = [here for here in experiments if here.site and here.plan.role(INVESTIGATOR)]
    if not asks_investigator or _investigates(connection, record, asks_investigator):
        return _first_allowed(connection, [*experiments, None], by, MANAGER, _today_at(connection, record["site"], now), to), MANAGER
    return _first_allowed(connection, asks_investigator, by, INVESTIGATOR, asks_investigator[0].today, to), INVESTIGATOR


def _investigates(connection: Connection, record: Mapping[str, Any], experiments: Sequence[Setting]) -> bool:
    """Whether the person trained is themself an investigator there, in their own right."""
    stands = (
        policy.standing(connection, record["person"], INVESTIGATOR, site=here.site, experiment=here.experiment, on=here.today)
        for here in experiments
    )
    return any(one.holds and not one.of for one in stands)


def _first_allowed(connection: Connection, places: Sequence[Setting | None], by: str, role: str, today: date, to: str) -> str:
    """Whom someone deputises for in the first place where they may act (None: everywhere). Raises what the nearest miss was."""
    missed: list[Refused] = []
    for here in places:
        try:
            if here is not None:
                return _require(connection, here, by, role, to=to, qualified=True)
            return policy.require(connection, by, role, on=today, to=to)
        except Refused as refusal:
            missed.append(refusal)
    raise next((one for one in missed if not isinstance(one, NotAssigned)), missed[0])


# ------------------------------------------------------------------ what must be so


def _check_role(here: Setting, role: str) -> None:
    if here.plan.role(role) is None:
        raise UnknownThing(
            Phrase(
                "Protocol {protocol} has no role {role!r}; it has {roles}.",
                protocol=here.plan.protocol.id,
                role=role,
                roles=", ".join(here.plan.protocol.roles),
            )
        )
    if here.plan.is_site_role(role) and not here.site:
        raise InvalidInput(Phrase("{role!r} is a role of a site: say at which one the delegation holds.", role=role))


def _check(connection: Connection, from_: date, until: date | None, evidence: str, by: str) -> None:
    if until is not None and until < from_:
        raise InvalidInput(Phrase("The last day, {until}, is before the first, {from_}.", until=until, from_=from_))
    if evidence:
        require_of_record(connection, evidence, by)


# ------------------------------------------------------------------ reading


def delegations(
    database: Database,
    reader: Reader,
    *,
    site: str = "",
    experiment: str = "",
    person: str = "",
    page: int = 1,
    locale: str = LOCALES[0],
) -> list[dict[str, Any]]:
    """The delegations a reader sees, newest first, 50 a page: their own, those of experiments they manage, of sites they investigate.

    Each has its columns (`from`, `until` and `ended_on` as dates), `name`, its `state` today at the site (`unsigned`, `to_come`,
    `in_force`, `over`), and what signing it `means`, in that language; "" once that is over.
    """
    narrowed = [_DELEGATION.c.experiment == experiment] if experiment else []
    with database.read() as connection:
        return _listed(connection, _DELEGATION, reader, [seen_delegations(reader), *narrowed], site, person, page, locale)


def delegation(database: Database, reader: Reader, number: int, *, locale: str = LOCALES[0]) -> dict[str, Any]:
    """One of the delegations that a reader sees, as they list it. Raises UnknownThing."""
    return _one(database, reader, _DELEGATION, seen_delegations(reader), number, locale)


def seen_delegations(reader: Reader) -> ColumnElement[bool]:
    """The WHERE, on delegations, that keeps those a reader sees."""
    managed = reader.managed
    seen = [_DELEGATION.c.person == reader.person, *_investigated(reader, _DELEGATION)]
    return true() if managed is None else or_(*seen, _DELEGATION.c.experiment.in_(managed))


def trainings(
    database: Database,
    reader: Reader,
    *,
    protocol: str = "",
    version: str = "",
    site: str = "",
    person: str = "",
    page: int = 1,
    locale: str = LOCALES[0],
) -> list[dict[str, Any]]:
    """The trainings a reader sees, as `delegations`; a manager of some experiments sees those on the protocols of these, at their sites."""
    narrowed = [_TRAINING.c[name] == value for name, value in (("protocol", protocol), ("version", version)) if value]
    with database.read() as connection:
        return _listed(connection, _TRAINING, reader, [seen_trainings(reader), *narrowed], site, person, page, locale)


def training(database: Database, reader: Reader, number: int, *, locale: str = LOCALES[0]) -> dict[str, Any]:
    """One of the trainings that a reader sees, as they list it. Raises UnknownThing."""
    return _one(database, reader, _TRAINING, seen_trainings(reader), number, locale)


def _one(database: Database, reader: Reader, log: Table, seen: ColumnElement[bool], number: int, locale: str) -> dict[str, Any]:
    with database.read() as connection:
        found = _listed(connection, log, reader, [seen, log.c.id == number], "", "", 1, locale)
    if not found:
        raise UnknownThing(records.unknown(log, number))
    return found[0]


def seen_trainings(reader: Reader) -> ColumnElement[bool]:
    """The WHERE, on trainings, that keeps those a reader sees."""
    managed = reader.managed
    if managed is None:
        return true()
    seen = [_TRAINING.c.person == reader.person, *_investigated(reader, _TRAINING)]
    return or_(*seen, _trained_for(managed)) if managed else or_(*seen)


def _trained_for(managed: Collection[str]) -> ColumnElement[bool]:
    """The trainings on the protocols of these experiments, at their sites or for their own steps."""
    joined = _TAKES_PART.join(_EXPERIMENT, _TAKES_PART.c.experiment_id == _EXPERIMENT.c.id)
    named = _EXPERIMENT.c.code.in_(sorted(managed))
    at_site = select(_EXPERIMENT.c.protocol_id, _TAKES_PART.c.site).select_from(joined).where(named)
    protocols = select(_EXPERIMENT.c.protocol_id).where(named)
    own = and_(_TRAINING.c.site == "", _TRAINING.c.protocol.in_(protocols))
    return or_(own, tuple_(_TRAINING.c.protocol, _TRAINING.c.site).in_(at_site))


def _investigated(reader: Reader, log: Table) -> list[ColumnElement[bool]]:
    """The records of the sites that the reader is an investigator of, in the experiment they are it in where records name one."""
    held = [one for one in reader.in_force_at(Place()) if one.role == INVESTIGATOR]
    if log is _TRAINING:
        return [log.c.site == one.site if one.site else log.c.site != "" for one in held]
    at_site = [log.c.site == one.site if one.site else log.c.site != "" for one in held]
    in_it = [log.c.experiment == one.experiment if one.experiment else true() for one in held]
    return [and_(*pair) for pair in zip(at_site, in_it, strict=True)]


def _listed(
    connection: Connection, log: Table, reader: Reader, where: list[ColumnElement[bool]], site: str, person: str, page: int, locale: str
) -> list[dict[str, Any]]:
    named = [log.c[name] == value for name, value in (("site", site), ("person", person)) if value]
    query = (
        select(log, _PERSON.c.name, _SITE.c.timezone)
        .join_from(log, _PERSON, _PERSON.c.id == log.c.person)
        .outerjoin(_SITE, _SITE.c.code == log.c.site)
        .where(*where, *named)
        .order_by(log.c.id.desc())
        .limit(PAGE)
        .offset(PAGE * (max(page, 1) - 1))
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return [_shown(row, reader.now) | {"means": _means(connection, log, row, locale)} for row in rows]


def _means(connection: Connection, log: Table, row: Mapping[str, Any], locale: str) -> str:
    if row["signed_at"] is not None or row["ended_on"] is not None:
        return ""
    texts = meanings.of_delegation(connection, row) if log is _DELEGATION else meanings.of_training(connection, row)
    return meaning_to_keep(texts, None, locale)


def _shown(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    today = clocks.local_date(now, Place(timezone=row["timezone"] or Place().timezone))
    shown = {name: value for name, value in row.items() if name not in ("timezone", "from_date", "on_date", "until_date")}
    shown |= {"from": row["from_date"] if "from_date" in row else row["on_date"], "until": row["until_date"]}
    return shown | {"state": _state(shown, today)}


def _state(shown: Mapping[str, Any], today: date) -> str:
    last = shown["until"]
    if (shown["ended_on"] and shown["ended_on"] <= today) or (last and last < today):
        return "over"
    if shown["signed_at"] is None:
        return "unsigned"
    return "to_come" if shown["from"] > today else "in_force"
