"""Reads: what is open, due, late or blocked, and why each closed gate is closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from protocols.clocks import Place
from protocols.model import Protocol
from protocols.plan import Plan
from protocols.state import ExperimentState, SiteState, StepStatus
from sites.asked import checkpoint, form_field
from sites.board import PHASES, day, head, is_late, iso, status, title_of
from sites.checkpoints import CheckpointId
from sites.database import Database, table
from sites.disclosure import journal
from sites.duties import inbox
from sites.policy import EVERYTHING
from sites.releases import plan_of
from sites.snapshot import find
from sites.tables import Assignment, Draft, Experiment, ExperimentSite, PastRound, Person, Step

# The board, the journal and people's own tasks have rooms of their own; whoever reads finds all reads here.
__all__ = [
    "checkpoint",
    "experiments",
    "form_field",
    "inbox",
    "is_late",
    "iso",
    "journal",
    "owed_actions",
    "protocol_of",
    "status",
    "title_of",
]

_EXPERIMENT, _SITE, _STEP, _ASSIGNMENT = table(Experiment), table(ExperimentSite), table(Step), table(Assignment)
_PAST, _DRAFT, _PERSON = table(PastRound), table(Draft), table(Person)


def experiments(database: Database, locale: str = "fr") -> list[dict[str, Any]]:
    """Every experiment, oldest first, with its phase and how many steps are through."""
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(select(_EXPERIMENT).order_by(_EXPERIMENT.c.id)).mappings()]
        live = _live_steps(connection)
        return [_summary(connection, row, live.get(row["id"], []), locale) for row in rows]


def _live_steps(connection: Connection) -> dict[int, list[Mapping[str, Any]]]:
    wanted = select(_STEP.c.experiment_id, _STEP.c.step, _STEP.c.site, _STEP.c.due_at).where(
        _STEP.c.status.in_(("open", "working", "incident"))
    )
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in connection.execute(wanted).mappings():
        found.setdefault(row["experiment_id"], []).append(dict(row))
    return found


def _summary(connection: Connection, row: Mapping[str, Any], live: list[Mapping[str, Any]], locale: str) -> dict[str, Any]:
    plan = plan_of(connection, row["protocol"])
    phases = {plan.steps[step["step"]].step.phase for step in live}
    total = len(plan.experiment_steps) + len(plan.site_steps) * row["active"]
    dues = [step["due_at"] for step in live if step["due_at"]]
    return head(row, plan, locale, EVERYTHING) | {
        "phase": next((phase.value for phase in PHASES if phase in phases), PHASES[-1].value),
        "active": row["active"],
        "stopped": row["stopped"],
        "open": len(live),
        "progress": round(1 - row["pending"] / total, 3) if total else 1.0,
        "next_due_at": iso(min(dues)) if dues else None,
        "next_due_on": day(min(dues), Place(row["territory"], row["timezone"])) if dues else None,
    }


def owed_actions(database: Database, code: str, site: str) -> list[dict[str, Any]]:
    """The next action owed by each step the machine works on, at one site ("" for the experiment's own); none while on hold."""
    with database.read() as connection:
        row = find(connection, code)
        if row["state"] != ExperimentState.RUNNING.value or _site_is_held(connection, row["id"], site):
            return []
        plan = plan_of(connection, row["protocol"])
        working = (_STEP.c.experiment_id == row["id"], _STEP.c.site == site, _STEP.c.status == StepStatus.WORKING.value)
        steps = [dict(step) for step in connection.execute(select(_STEP).where(*working)).mappings()]
    return [_owed(plan, code, step) for step in sorted(steps, key=lambda step: plan.order[step["step"]])]


def _site_is_held(connection: Connection, experiment: int, site: str) -> bool:
    found = connection.execute(select(_SITE.c.state).where(_SITE.c.experiment_id == experiment, _SITE.c.site == site)).scalar()
    return found == SiteState.ON_HOLD.value


def _owed(plan: Plan, code: str, step: Mapping[str, Any]) -> dict[str, Any]:
    planned = plan.steps[step["step"]].step
    action = planned.run[step["actions_done"]]
    return {
        "checkpoint": str(CheckpointId(code, step["step"], step["site"], step["round"])),
        "step": step["step"],
        "site": step["site"],
        "round": step["round"],
        "index": step["actions_done"],
        "do": action.do,
        "with": dict(action.with_),
        "title": planned.title,
    }


def protocol_of(database: Database, code: str) -> Protocol:
    """The protocol an experiment is pinned to."""
    with database.read() as connection:
        return plan_of(connection, find(connection, code)["protocol"]).protocol
