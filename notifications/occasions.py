"""What a notice means at the moment of sending: whether it still holds, whom to tell and in whose place, and what to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Executable, select

from notifications.render import Occasion
from protocols import clocks
from protocols.clocks import Place
from protocols.model import Calendar, Text, duration
from protocols.needs import MANAGER
from protocols.plan import Plan
from protocols.state import SiteState, StepStatus
from sites.checkpoints import CheckpointId
from sites.database import table
from sites.policy import deputies_of, holders, is_closed
from sites.releases import plan_of
from sites.tables import Experiment, ExperimentSite, Person, Step

_EXPERIMENT, _SITE, _STEP, _PERSON = table(Experiment), table(ExperimentSite), table(Step), table(Person)

ASKING = frozenset({"opened", "reminder"})
LATE = frozenset({"overdue", "escalated"})
Row = Mapping[str, Any]


class Verdict(StrEnum):
    """What becomes of a notice that is about to be sent."""

    TELL = "tell"  # it still holds
    WAIT = "wait"  # its experiment or site is on hold: look again later
    DROP = "drop"  # it has been overtaken by what happened since


@dataclass(frozen=True, slots=True)
class Situation:
    """A notice's row with the rows it speaks of, as they are now. `site` and `step` are None when it names none."""

    notice: Row
    experiment: Row
    site: Row | None
    step: Row | None
    plan: Plan

    @property
    def place(self) -> Place:
        where = self.site or self.experiment
        return Place(where["territory"], where["timezone"])

    @property
    def is_current(self) -> bool:
        """Whether the notice speaks of the step's present round, and the step still waits."""
        step = self.step
        return step is not None and step["round"] == self.notice["round"] and StepStatus(step["status"]).is_live

    @property
    def deadline(self) -> datetime | None:
        """When the step that the notice speaks of is due, while it waits: aware UTC."""
        return self.step["due_at"] if self.step is not None and self.is_current else None

    @property
    def is_legal(self) -> bool:
        """Whether that deadline is one of the legal calendar, and the notice about it."""
        planned = self.plan.steps.get(self.notice["step"])
        due = planned.step.due if planned else None
        return due is not None and due.calendar is Calendar.LEGAL and self.notice["kind"] in ASKING | LATE

    @property
    def is_held(self) -> bool:
        return self.experiment["held_at"] is not None or (self.site is not None and self.site["held_at"] is not None)


def situation(connection: Connection, notice: Row) -> Situation:
    """Read what the notice speaks of."""
    of_experiment, site, step = notice["experiment_id"], notice["site"], notice["step"]
    experiment = first_row(connection, select(_EXPERIMENT).where(_EXPERIMENT.c.id == of_experiment))
    assert experiment is not None, "a notice's experiment is a foreign key"
    its_site = select(_SITE).where(_SITE.c.experiment_id == of_experiment, _SITE.c.site == site)
    its_step = select(_STEP).where(_STEP.c.experiment_id == of_experiment, _STEP.c.site == site, _STEP.c.step == step)
    return Situation(
        notice,
        experiment,
        first_row(connection, its_site) if site else None,
        first_row(connection, its_step) if step else None,
        plan_of(connection, experiment["protocol"]),
    )


def decide_again(now_is: Situation, now: datetime) -> Verdict:
    """Whether the notice still holds.

    Someone is asked only for what the step still awaits of them in that round; lateness is told only while it lasts. During a hold
    nothing is asked and nobody is late: these notices wait for the release, which may move the deadline, and are decided again.
    All other kinds tell what has happened, and stay true.
    """
    kind, step = now_is.notice["kind"], now_is.step
    if kind not in ASKING | LATE:
        return Verdict.TELL
    if step is None or not now_is.is_current:
        return Verdict.DROP
    if now_is.is_held:
        return Verdict.WAIT
    holds = _still_asks(now_is.notice, step) if kind in ASKING else step["due_at"] is not None and step["due_at"] <= now
    return Verdict.TELL if holds else Verdict.DROP


def _still_asks(notice: Row, step: Row) -> bool:
    return step["awaits_role"] in notice["roles"] and step["awaits"] == notice["details"].get("needs", step["awaits"])


@dataclass(frozen=True, slots=True)
class Addressee:
    """Someone to tell: their row of `person`, and the names of those they are told for as a deputy, "" when for themselves."""

    person: Row
    deputised: str = ""


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a notice goes to. `nobody` is the role of an escalation that nobody holds, so that the project managers are told instead."""

    addressees: list[Addressee]
    nobody: str = ""


def occasion(now_is: Situation, public_url: str, nobody: str = "") -> Occasion:
    """What the message says: titles from the protocol, the deadline as it stands now, a link to the checkpoint or the experiment."""
    notice, experiment, step, plan = now_is.notice, now_is.experiment, now_is.step, now_is.plan
    return Occasion(
        notice=notice["details"]["notice"] if notice["kind"] == "notify" else notice["kind"],
        experiment=experiment["code"],
        link=public_url + _page(experiment["code"], notice),
        step=_title(plan, notice["step"]),
        to_step=_title(plan, notice["details"].get("to_step", "")),
        role=_role(plan, step["awaits_role"]) if step else "",
        site=f"{now_is.site['name']} ({now_is.site['site']})" if now_is.site else "",
        site_code=notice["site"],
        round=max(notice["round"], 1),
        needs=_needs(step),
        deadline=step["due_at"] if step and notice["kind"] in ASKING | LATE else None,
        timezone=now_is.place.timezone,
        told=_earlier_rungs(now_is) if notice["kind"] == "escalated" else (),
        nobody=_role(plan, nobody) if nobody else "",
    )


def _earlier_rungs(now_is: Situation) -> list[Text]:
    """The roles that the rungs of this escalation's ladder before it have told, in that order, each once."""
    ladder, rung = now_is.plan.steps[now_is.notice["step"]].step.escalate, now_is.notice["details"].get("rung", 0)
    if rung >= len(ladder):
        return []
    own = ladder[rung]
    earlier = sorted((one for one in ladder if duration(one.after) < duration(own.after)), key=lambda one: duration(one.after))
    return [_role(now_is.plan, role) for role in dict.fromkeys(one.to for one in earlier)]


def audience(connection: Connection, now_is: Situation, now: datetime) -> Audience:
    """Whom to tell, each once: who holds one of the roles today where it matters, those named, and their deputies of today.

    A role of the sites in a notice of the whole experiment means its holders at every site that takes part. Nobody whose account is
    closed is told.
    """
    notice, today = now_is.notice, clocks.local_date(now, now_is.place)
    found = _holders(connection, now_is, notice["roles"], today)
    named = select(_PERSON).where(_PERSON.c.id.in_(notice["persons"]), ~is_closed(_PERSON.c.id))
    found += map(dict, connection.execute(named).mappings())
    nobody = ""
    if not found and notice["kind"] == "escalated":
        nobody, found = notice["roles"][0], _holders(connection, now_is, [MANAGER], today)
    own = {person["id"]: person for person in found}
    return Audience([*map(Addressee, own.values()), *_deputies(connection, own, today)], nobody)


def _holders(connection: Connection, now_is: Situation, roles: Sequence[str], today: date) -> list[Row]:
    notice, code = now_is.notice, now_is.experiment["code"]
    sites = [notice["site"]] if notice["site"] else _active_sites(connection, now_is)
    at_sites = [role for role in roles if now_is.plan.is_site_role(role)]
    elsewhere = [role for role in roles if role not in at_sites]
    return [
        *holders(connection, elsewhere, sites=[notice["site"]], experiment=code, on=today),
        *holders(connection, at_sites, sites=sites, experiment=code, on=today),
    ]


def _deputies(connection: Connection, own: Mapping[str, Row], today: date) -> list[Addressee]:
    """The deputies of those told who are not told already, each once."""
    found: dict[str, tuple[Row, list[str]]] = {}
    for deputy in deputies_of(connection, list(own), today) if own else []:
        if deputy["id"] not in own:
            found.setdefault(deputy["id"], (deputy, []))[1].append(own[deputy["of"]]["name"])
    return [Addressee(row, ", ".join(names)) for row, names in found.values()]


def first_row(connection: Connection, query: Executable) -> Row | None:
    """The first row that a query gives, by column name."""
    row = connection.execute(query).mappings().first()
    return {str(name): value for name, value in row.items()} if row else None


def _active_sites(connection: Connection, now_is: Situation) -> list[str]:
    here = (_SITE.c.experiment_id == now_is.experiment["id"], _SITE.c.state != SiteState.STOPPED.value)
    return list(connection.execute(select(_SITE.c.site).where(*here)).scalars())


def _page(code: str, notice: Row) -> str:
    if notice["step"] and notice["round"] >= 1:
        return f"/checkpoints/{quote(str(CheckpointId(code, notice['step'], notice['site'], notice['round'])), safe=':')}"
    return f"/experiments/{quote(code, safe='')}" + ("/journal" if notice["kind"] == "glass" else "")


def _title(plan: Plan, step: str) -> Text:
    return plan.steps[step].step.title if step in plan.steps else step


def _role(plan: Plan, role: str) -> Text:
    known = plan.role(role)
    return known.title if known else role


def _needs(step: Row | None) -> Literal["answers", "signature", "attention"]:
    match step["awaits"] if step else "":
        case "answers":
            return "answers"
        case "signature":
            return "signature"
        case _:
            return "attention"
