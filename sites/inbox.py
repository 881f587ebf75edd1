"""Reads: what is open, due, late or blocked, and why each closed gate is closed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, select

from protocols.clocks import Place
from protocols.engine import next_signature
from protocols.errors import UnknownThing
from protocols.model import FormField, Protocol, in_locale
from protocols.plan import Plan
from protocols.state import ExperimentState, SiteState, SliceTooSmall, StepStatus
from sites.board import PHASES, day, gate, head, is_late, iso, status, title_of
from sites.checkpoints import CheckpointId
from sites.database import Database, table
from sites.disclosure import journal
from sites.duties import inbox
from sites.releases import plan_of
from sites.snapshot import Loaded, find, load
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
    return head(row, plan, locale) | {
        "phase": next((phase.value for phase in PHASES if phase in phases), PHASES[-1].value),
        "active": row["active"],
        "stopped": row["stopped"],
        "open": len(live),
        "progress": round(1 - row["pending"] / total, 3) if total else 1.0,
        "next_due_at": iso(min(dues)) if dues else None,
        "next_due_on": day(min(dues), Place(row["territory"], row["timezone"])) if dues else None,
    }


def checkpoint(database: Database, name: str, now: datetime, *, person: str | None = None, locale: str = "fr") -> dict[str, Any]:
    """One checkpoint: its step, form, answers, signatures, earlier rounds, this person's draft, and why its gate is closed.

    The name of an earlier round shows that round. Raises UnknownThing for a round that has not come yet.
    """
    wanted = CheckpointId.parse(name)
    with database.read() as connection:
        row = find(connection, wanted.experiment, site=wanted.site)
        loaded = load(connection, row, wanted.key)
        try:
            shown = _checkpoint(loaded, wanted, now, locale)
        except SliceTooSmall:
            shown = _checkpoint(load(connection, row), wanted, now, locale)
        past = _past_rounds(connection, loaded.id, wanted) if shown["round"] > 1 else []
        draft = _draft(connection, loaded, wanted, person)
    if wanted.round > shown["round"]:
        raise UnknownThing(f"There is no {name} yet: the step is in round {shown['round']}.")
    over = {"late": False, "waiting_for": [], "next_signature": None}
    shown |= next((one | over for one in past if one["round"] == wanted.round), {})
    return shown | {"earlier_rounds": past, "draft": draft}


def _checkpoint(loaded: Loaded, wanted: CheckpointId, now: datetime, locale: str) -> dict[str, Any]:
    plan, state = loaded.plan, loaded.state
    planned, step = plan.steps[wanted.step].step, state.step(wanted.key)
    next_one = next_signature(plan.steps[wanted.step], step)
    return gate(plan, state, wanted.key, now, locale) | {
        "id": str(wanted),
        "experiment": wanted.experiment,
        "help": in_locale(planned.help, locale),
        "role": planned.checkpoint.role if planned.checkpoint else "",
        "form": _form(plan, wanted.step, locale),
        "answers": step.answers,
        "completed_by": step.completed_by,
        "completed_at": iso(step.completed_at),
        "signatures": [{"by": one.by, "role": one.role, "at": iso(one.at), "meaning": one.meaning} for one in step.signatures],
        "next_signature": {"role": next_one.role, "meaning": in_locale(next_one.meaning, locale)} if next_one else None,
    }


@lru_cache(maxsize=2048)
def _form(plan: Plan, step: str, locale: str) -> list[dict[str, Any]]:
    checkpoint = plan.steps[step].step.checkpoint
    return [form_field(field, locale) for field in checkpoint.form] if checkpoint else []


def form_field(field: FormField, locale: str) -> dict[str, Any]:
    """A form field in one language, without what it does not use."""
    shown: dict[str, Any] = field.model_dump(mode="json", exclude_defaults=True)
    shown |= {"label": in_locale(field.label, locale), "required": field.required}
    if field.help:
        shown["help"] = in_locale(field.help, locale)
    if field.options:
        shown["options"] = [{"value": one.value, "label": in_locale(one.label, locale) or one.value} for one in field.options]
    if field.columns:
        shown["columns"] = [form_field(column, locale) for column in field.columns]
    return shown


_PAST_ROUNDS = (
    select(_PAST)
    .where(_PAST.c.experiment_id == bindparam("experiment"), _PAST.c.site == bindparam("site"), _PAST.c.step == bindparam("step"))
    .order_by(_PAST.c.round)
)
_DRAFT_OF = select(_DRAFT).where(
    _DRAFT.c.experiment_id == bindparam("experiment"),
    _DRAFT.c.site == bindparam("site"),
    _DRAFT.c.step == bindparam("step"),
    _DRAFT.c.round == bindparam("round"),
    _DRAFT.c.person == bindparam("person"),
)


def _past_rounds(connection: Connection, experiment: int, wanted: CheckpointId) -> list[dict[str, Any]]:
    rows = connection.execute(_PAST_ROUNDS, {"experiment": experiment, "site": wanted.site, "step": wanted.step}).mappings()
    names = ("answers", "completed_by", "completed_at", "signatures")
    return [{"round": row["round"], "status": row["status"]} | {name: row["snapshot"][name] for name in names} for row in rows]


def _draft(connection: Connection, loaded: Loaded, wanted: CheckpointId, person: str | None) -> dict[str, Any] | None:
    """What the person typed and has not completed since."""
    if person is None:
        return None
    mine = {"experiment": loaded.id, "site": wanted.site, "step": wanted.step, "round": wanted.round, "person": person}
    row = connection.execute(_DRAFT_OF, mine).mappings().first()
    step = loaded.state.step(wanted.key)
    if row is None or (step.completed_by == person and step.completed_at and step.completed_at >= row["saved_at"]):
        return None
    return {"answers": row["answers"], "origin": row["origin"], "saved_at": iso(row["saved_at"])}


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
