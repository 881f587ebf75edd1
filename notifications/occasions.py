"""What a notice means at the moment of sending: whether it still holds, whom to tell, and what to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Executable, select

from notifications.render import Occasion
from protocols import clocks
from protocols.clocks import Place
from protocols.model import Text
from protocols.plan import Plan
from protocols.state import SiteState, StepStatus
from sites.checkpoints import CheckpointId
from sites.database import table
from sites.policy import holders
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
    if step is None or step["round"] != now_is.notice["round"] or not StepStatus(step["status"]).is_live:
        return Verdict.DROP
    if now_is.is_held:
        return Verdict.WAIT
    holds = _still_asks(now_is.notice, step) if kind in ASKING else step["due_at"] is not None and step["due_at"] <= now
    return Verdict.TELL if holds else Verdict.DROP


def _still_asks(notice: Row, step: Row) -> bool:
    return step["awaits_role"] in notice["roles"] and step["awaits"] == notice["details"].get("needs", step["awaits"])


def occasion(now_is: Situation, public_url: str) -> Occasion:
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
        round=max(notice["round"], 1),
        needs=_needs(step),
        deadline=step["due_at"] if step and notice["kind"] in ASKING | LATE else None,
        timezone=now_is.place.timezone,
    )


def recipients(connection: Connection, now_is: Situation, now: datetime) -> list[Row]:
    """The rows of `person` to tell, each once: who holds one of the roles today where it matters, and those named.

    A role of the sites in a notice of the whole experiment means its holders at every site that takes part.
    """
    notice, code, today = now_is.notice, now_is.experiment["code"], clocks.local_date(now, now_is.place)
    sites = [notice["site"]] if notice["site"] else _active_sites(connection, now_is)
    at_sites = [role for role in notice["roles"] if now_is.plan.is_site_role(role)]
    elsewhere = [role for role in notice["roles"] if role not in at_sites]
    named = select(_PERSON).where(_PERSON.c.id.in_(notice["persons"]))
    found: list[Row] = [
        *holders(connection, elsewhere, sites=[notice["site"]], experiment=code, on=today),
        *holders(connection, at_sites, sites=sites, experiment=code, on=today),
        *map(dict, connection.execute(named).mappings()),
    ]
    return list({person["id"]: person for person in found}.values())


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
    return f"/experiments/{quote(code, safe='')}"


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
