"""What a person may answer or sign now, for themself or as a deputy, and what they lack for it. It says what the ledger would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Date, Select, and_, bindparam, cast, exists, literal_column, null, or_, select, union_all

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import UnknownThing
from protocols.keys import folded
from protocols.model import in_locale
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites.board import day, iso, title_of
from sites.checkpoints import CheckpointId
from sites.database import Database, table
from sites.policy import Qualified, is_closed
from sites.releases import plan_of
from sites.tables import Assignment, Conflict, Deputy, Draft, Experiment, ExperimentSite, Person, Remark, Step

_EXPERIMENT, _SITE, _STEP, _ASSIGNMENT = table(Experiment), table(ExperimentSite), table(Step), table(Assignment)
_DEPUTY, _CONFLICT, _PERSON, _REMARK, _DRAFT = table(Deputy), table(Conflict), table(Person), table(Remark), table(Draft)
Row = Mapping[str, Any]


def inbox(database: Database, person: str, now: datetime, locale: str | None = None) -> list[dict[str, Any]]:
    """The checkpoints a person may complete or sign now, the nearest deadline first. Raises UnknownThing for an unknown person.

    Each has `of`, whom they deputise for ("" for nobody), `lacks`, what their role still asks of them (`delegation`, `training`: they may
    type a draft, no more), `declined`, whether somebody declined it in this round, `draft_of_prefect`, whether something was
    typed for it in Prefect's pages. One of an experiment or site on hold is `blocked`.
    """
    with database.read() as connection:
        known = connection.execute(_LOCALE, {"person": person}).first()
        if known is None:
            raise UnknownThing(Phrase("There is no person {person!r}; `insitu person list` shows those there are.", person=person))
        today = _dates(now)
        rows = [row for row in map(dict, connection.execute(_MINE, {"person": person}).mappings()) if _holds(row, today(_zone(row)))]
        plans = {found: plan_of(connection, found) for found in {row["protocol"] for row in rows}}
        mine = _once([row for row in rows if not _is_anothers(plans[row["protocol"]], row, person)])
        lacking = _lacking(connection, person, mine, plans, today)
    items = [_item(plans[row["protocol"]], row, lacks, now, locale or known.locale) for row, lacks in zip(mine, lacking, strict=True)]
    return sorted(items, key=lambda item: (item["due_at"] is None, item["due_at"] or "", item["id"]))


# ------------------------------------------------------------------ which

_LOCALE = select(_PERSON.c.locale).where(_PERSON.c.id == bindparam("person"))
_DECLINED = exists().where(
    _REMARK.c.experiment_id == _STEP.c.experiment_id,
    _REMARK.c.step == _STEP.c.step,
    _REMARK.c.site == _STEP.c.site,
    _REMARK.c.round == _STEP.c.round,
    _REMARK.c.kind == "decline",
)
_TYPED_IN_PREFECT = exists().where(
    _DRAFT.c.experiment_id == _STEP.c.experiment_id,
    _DRAFT.c.site == _STEP.c.site,
    _DRAFT.c.step == _STEP.c.step,
    _DRAFT.c.round == _STEP.c.round,
    _DRAFT.c.person == "",
    _STEP.c.awaits == "answers",
)
_CONFLICTED = exists().where(
    _CONFLICT.c.person == bindparam("person"),
    _CONFLICT.c.withdrawn_at.is_(None),
    or_(_CONFLICT.c.experiment == "", _CONFLICT.c.experiment == _EXPERIMENT.c.code),
)


def _held(at_one_site: bool, *, lent: bool) -> Select[Any]:
    """The steps that wait for what a person holds at one site or everywhere, of their own or lent to them as a deputy.

    Four such statements, not one with OR: it would read the steps of every site for whoever holds a role at one (docs/performance.md).
    """
    days = (_DEPUTY.c.from_date, _DEPUTY.c.until_date) if lent else (cast(null(), Date), cast(null(), Date))
    source: Any = _DEPUTY.join(_ASSIGNMENT, _ASSIGNMENT.c.person == _DEPUTY.c.person) if lent else _ASSIGNMENT
    # Written out, not bound: SQLite uses a partial index only where it reads the same words.
    waits = [_STEP.c.awaits_role == _ASSIGNMENT.c.role, _STEP.c.awaits_role != literal_column("''")]
    waits += [_STEP.c.site == _ASSIGNMENT.c.site] if at_one_site else []
    source = source.join(_STEP, and_(*waits)).join(_EXPERIMENT, _EXPERIMENT.c.id == _STEP.c.experiment_id)
    source = source.outerjoin(_SITE, and_(_SITE.c.experiment_id == _STEP.c.experiment_id, _SITE.c.site == _STEP.c.site))
    of_step = ("experiment_id", "site", "step", "round", "due_at", "awaits", "awaits_role", "completed_by", "signatures")
    return (
        select(
            *(_STEP.c[name] for name in of_step),
            *(_EXPERIMENT.c[name] for name in ("code", "title", "protocol")),
            _EXPERIMENT.c.held_at.label("home_held_at"),
            _SITE.c.held_at.label("site_held_at"),
            _EXPERIMENT.c.timezone.label("home_timezone"),
            _SITE.c.timezone.label("site_timezone"),
            _ASSIGNMENT.c.from_date,
            _ASSIGNMENT.c.until_date,
            days[0].label("lent_from"),
            days[1].label("lent_until"),
            (_ASSIGNMENT.c.person if lent else literal_column("''")).label("of"),
            _DECLINED.label("declined"),
            _TYPED_IN_PREFECT.label("draft_of_prefect"),
        )
        .select_from(source)
        .where(*_conditions(at_one_site, lent))
    )


def _conditions(at_one_site: bool, lent: bool) -> list[ColumnElement[bool]]:
    whose = [_ASSIGNMENT.c.person == bindparam("person"), ~is_closed(_ASSIGNMENT.c.person)]
    if lent:
        whose = [_DEPUTY.c.deputy == bindparam("person"), _DEPUTY.c.ended_at.is_(None)]
        whose += [~is_closed(_DEPUTY.c.deputy), ~is_closed(_ASSIGNMENT.c.person)]
    # An incident is for a project manager of the whole experiment.
    acts = ("answers", "signature") if at_one_site else ("answers", "signature", "incident")
    return [
        *whose,
        _ASSIGNMENT.c.site != "" if at_one_site else _ASSIGNMENT.c.site == "",
        _STEP.c.awaits.in_(acts),
        or_(_ASSIGNMENT.c.experiment == "", _ASSIGNMENT.c.experiment == _EXPERIMENT.c.code),
        _EXPERIMENT.c.state.in_(("running", "on_hold")),
        ~_CONFLICTED,
    ]


# Built once: see sites.snapshot.
_MINE = union_all(*(_held(at_one_site, lent=lent) for lent in (False, True) for at_one_site in (False, True)))


def _zone(row: Row) -> str:
    """Where a step's days are counted: at its site, or where the experiment stands."""
    return str(row["site_timezone"] or row["home_timezone"])


def _dates(now: datetime) -> Callable[[str], date]:
    """The date in a time zone, each worked out once."""
    known: dict[str, date] = {}

    def today(zone: str) -> date:
        if zone not in known:
            known[zone] = clocks.local_date(now, Place(timezone=zone))
        return known[zone]

    return today


def _holds(row: Row, today: date) -> bool:
    begins, ends = (row["from_date"], row["lent_from"]), (row["until_date"], row["lent_until"])
    return all(one is None or one <= today for one in begins) and all(one is None or one >= today for one in ends)


def _is_anothers(plan: Plan, row: Row, person: str) -> bool:
    """Whether the signature it waits for must be another person's than this one's."""
    checkpoint = plan.steps[row["step"]].step.checkpoint
    if row["awaits"] != "signature" or checkpoint is None:
        return False
    acted = {folded(row["completed_by"]), *(folded(one["by"]) for one in row["signatures"])}
    return checkpoint.signatures[len(row["signatures"])].different_person and folded(person) in acted


def _once(rows: list[Row]) -> list[Row]:
    """Each checkpoint once: as one's own before as a deputy's, and then as the ledger would choose."""
    return list(
        {(row["experiment_id"], row["site"], row["step"]): row for row in sorted(rows, key=lambda row: row["of"], reverse=True)}.values()
    )


def _lacking(
    connection: Connection, person: str, rows: list[Row], plans: Mapping[str, Plan], today: Callable[[str], date]
) -> list[list[str]]:
    """What each row's role asks for that the person has not; nothing is looked up while no role asks for anything."""
    asked = [_requires(plans[row["protocol"]], row) for row in rows]
    if not any(asked):
        return [[] for _ in rows]
    qualified = Qualified.of(connection, person)

    def has(name: str, row: Row) -> bool:
        plan, on = plans[row["protocol"]], today(_zone(row))
        return qualified.has(name, plan, row["awaits_role"], row["site"], row["code"], on)

    return [[name for name in wanted if not has(name, row)] for row, wanted in zip(rows, asked, strict=True)]


def _requires(plan: Plan, row: Row) -> tuple[str, ...]:
    role = plan.role(row["awaits_role"])
    return role.requires if role and row["awaits"] != "incident" else ()


# ------------------------------------------------------------------ how each is shown


def _item(plan: Plan, row: Row, lacks: list[str], now: datetime, locale: str) -> dict[str, Any]:
    planned = plan.steps[row["step"]].step
    # Both are set while a hold lasts, and only then: an ended experiment has no inbox.
    held_since = min((moment for moment in (row["home_held_at"], row["site_held_at"]) if moment), default=None)
    return {
        "id": str(CheckpointId(row["code"], row["step"], row["site"], row["round"])),
        "experiment": row["code"],
        "experiment_title": title_of(row, plan, locale),
        "step": row["step"],
        "title": in_locale(planned.title, locale),
        "site": row["site"] or None,
        "round": row["round"],
        "role": row["awaits_role"],
        "due_at": iso(row["due_at"]),
        "due_on": day(row["due_at"], Place(timezone=_zone(row))),
        "late": row["due_at"] is not None and row["due_at"] < (held_since or now),
        "needs": row["awaits"],
        "blocked": held_since is not None,
        "of": row["of"],
        "lacks": lacks,
        "declined": bool(row["declined"]),
        "draft_of_prefect": bool(row["draft_of_prefect"]),
    }
