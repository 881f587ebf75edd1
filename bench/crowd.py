"""A database as it is after years: 200 experiments of telerehab-hip at 20 sites each, with a million facts, written in bulk.

Each experiment is one of a few walks that the engine itself decided, day by day, so that its state is one that could be; its journal is
filled up with facts of that walk, chained like any. The dates are counted back from today, so some gates are late.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Connection, insert
from sqlmodel import SQLModel

from protocols.commands import Command, Complete, Hold, Launch, RecordAction, Sign, Stop
from protocols.engine import decide, next_signature
from protocols.errors import InsituError
from protocols.facts import Fact, FactKind
from protocols.plan import Plan
from protocols.state import State, StepKey, StepState, StepStatus
from sites import releases
from sites.clock import SystemClock
from sites.database import Database, table
from sites.journal import chained
from sites.releases import find_release, plan_of
from sites.snapshot import experiment_values, step_row
from sites.tables import (
    Assignment,
    Delegation,
    Delivery,
    Experiment,
    ExperimentSite,
    FactRow,
    Notice,
    Person,
    Site,
    Step,
    Tally,
    Training,
)

MANAGER, SPONSOR, COORDINATOR = "p.morel", "s.petit", "c.durand-01"
SITES = [f"S{number:02}" for number in range(1, 21)]
EVERYWHERE = {
    "project_manager": MANAGER,
    "sponsor": SPONSOR,
    "methodologist": "m.leroy",
    "ethics_officer": "e.blanc",
    "data_protection_officer": "d.faure",
    "patient_representative": "r.garnier",
}
LOCAL = {"site_coordinator": "c.durand", "principal_investigator": "i.roux"}
WALKS = 20
DONE = "crowd.json"  # written last: what was built, and from which counts

ANSWERS: dict[str, dict[str, Any]] = {
    "protocol_review": {"synopsis_version": "1.2", "sample_size_justified": True, "comments": "Rien à signaler."},
    "ethics": {"opinion": "favourable", "opinion_date": "2024-01-02", "reference": "CPP-26-4"},
    "data_protection": {"reference_methodology": "MR-001", "residual_risk": "low"},
    "site_agreement": {"signed_on": "2024-01-02", "insurance_checked": True},
    "onboarding": {"visit_date": "2024-01-02", "trained_staff": 3, "kits_received": 20, "network_tested": True},
    "baseline": {"screened": 70, "included": 60, "consents_checked": True},
    "stay": {"operated": 58, "trained_before_discharge": 57, "incidents": 0},
    "follow_up": {"completed_d90": 52, "sus_scores": [{"participant": "P-01", "score": 85}]},
    "evaluation": {"conclusion": "scale_up", "rationale": "Non inférieur"},
    "closure": {"decision": "generalise"},
}
LAUNCH = {"planned_start": "2024-01-02", "target_participants": 120}


@dataclass
class Walk:
    """One experiment's way so far."""

    plan: Plan
    state: State = field(default_factory=State)
    facts: list[Fact] = field(default_factory=list)

    def do(self, command: Command, now: datetime) -> None:
        decision = decide(self.plan, self.state, command, now)
        self.state = decision.state
        self.facts.extend(decision.facts)


def build(folder: Path, *, experiments: int = 200, facts: int = 1_000_000) -> dict[str, Any]:
    """The crowd in `folder`/insitu.db; what was built there before with the same counts is left as it is."""
    asked = {"experiments": experiments, "sites": len(SITES), "facts": facts, "tables": _mark_of_tables()}
    note = folder / DONE
    if note.exists() and (known := json.loads(note.read_text())) and asked.items() <= known.items():
        return dict(known)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("insitu.db*"):
        old.unlink()
    database = Database(f"sqlite:///{folder / 'insitu.db'}")
    database.migrate()
    releases.add_library(database, SystemClock())
    known = asked | _fill(database, experiments, facts)
    database.dispose()
    note.write_text(json.dumps(known))
    return known


def _mark_of_tables() -> str:
    """What changes when a table, a column or an index does: what was built before is then of no use."""
    names = sorted(
        f"{found.name}:{[*found.c.keys()]}:{sorted(str(one.name) for one in found.indexes)}" for found in SQLModel.metadata.tables.values()
    )
    return hashlib.sha256("".join(names).encode()).hexdigest()[:12]


def _fill(database: Database, experiments: int, facts: int) -> dict[str, Any]:
    dice, now = Random(2026), datetime.now(UTC)
    with database.read() as connection:
        release = find_release(connection, "telerehab-hip")
        plan = plan_of(connection, release["hash"])
    walks = [walked(plan, Random(number), now) for number in range(WALKS)]
    with database.write() as connection:
        _people(connection, release["version"], now)
        for number in range(1, experiments + 1):
            _experiment(connection, number, walks[number % WALKS], release, facts // experiments, dice)
    return {"checkpoint": _checkpoint(database), "experiment": f"TELEREHAB-HIP-{experiments // 2}", "version": release["version"]}


# ------------------------------------------------------------------ how an experiment went


def walked(plan: Plan, dice: Random, now: datetime) -> Walk:
    """An experiment from its launch, some months ago, to `now`: people answer after some days, a few never do."""
    walk, moment = Walk(plan), now - timedelta(days=dice.randint(10, 330), hours=dice.randint(0, 20))
    places = tuple(
        {"code": code, "name": f"Site {code}", "kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"} for code in SITES
    )
    walk.do(Launch(MANAGER, places, LAUNCH), moment)
    pace = dice.choice([0.02, 0.03, 0.06, 0.12, 0.3])
    while (moment := moment + timedelta(days=1)) < now and not walk.state.status.has_ended:
        for command in _daily(walk, dice, pace):
            try:
                walk.do(command, moment)
            except InsituError:  # what another command of the day has changed
                continue
    if dice.random() < 0.2 and not walk.state.status.has_ended:
        walk.do(Hold(MANAGER, "Audit", dice.choice(["", SITES[3]])), now - timedelta(days=3))
    return walk


def _daily(walk: Walk, dice: Random, pace: float) -> Iterator[Command]:
    if dice.random() < 0.004:
        yield Stop(MANAGER, "Le site se retire", dice.choice(SITES[10:]))
    for key, step in sorted(walk.state.steps.items()):
        if step.status is StepStatus.WORKING:
            yield RecordAction(key, step.round, step.actions_done, {"document": "0" * 64}, "no printer" if dice.random() < 0.01 else None)
        elif step.status is StepStatus.OPEN and dice.random() < pace:
            yield _answered(walk, key, step)


def _answered(walk: Walk, key: StepKey, step: StepState) -> Command:
    number = key.site[1:] or ""
    if wanted := next_signature(walk.plan.steps[key.step], step):
        return Sign(key, step.round, _holder(wanted.role, number), "Je certifie ces réponses")
    checkpoint = walk.plan.steps[key.step].step.checkpoint
    assert checkpoint is not None
    return Complete(key, step.round, ANSWERS[key.step], _holder(checkpoint.role, number))


def _holder(role: str, number: str) -> str:
    return EVERYWHERE.get(role) or f"{LOCAL[role]}-{number}"


# ------------------------------------------------------------------ rows


def _people(connection: Connection, version: str, now: datetime) -> None:
    local = [(role, f"{name}-{code[1:]}", code) for role, name in LOCAL.items() for code in SITES]
    held = [(role, name, "") for role, name in EVERYWHERE.items()] + local
    sites = [
        {"code": code, "name": f"Centre hospitalier {code}", "kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"}
        for code in SITES
    ]
    people = [
        {"id": name, "name": name.replace(".", " ").title(), "email": f"{name}@example.org", "locale": "fr", "channels": []}
        for _, name, _ in held
    ]
    connection.execute(insert(table(Site)), sites)
    connection.execute(insert(table(Person)), people)
    connection.execute(
        insert(table(Assignment)), [{"person": name, "role": role, "site": site, "experiment": ""} for role, name, site in held]
    )
    trained = {"protocol": "telerehab-hip", "version": version, "on_date": (now - timedelta(days=400)).date()} | _signed(now)
    connection.execute(insert(table(Training)), [{"person": name, "site": site} | trained for _, name, site in local])


def _signed(now: datetime) -> dict[str, Any]:
    then = now - timedelta(days=399)
    return {"recorded_by": MANAGER, "recorded_at": then, "signed_by": MANAGER, "signed_role": "project_manager", "signed_at": then}


def _experiment(connection: Connection, number: int, walk: Walk, release: dict[str, Any], facts: int, dice: Random) -> None:
    code, state = f"TELEREHAB-HIP-{number}", walk.state
    rows = chained(number, code, release["hash"], 0, "", tuple(_filled_up(walk.facts, facts, dice)))
    first, last = rows[0], rows[-1]
    row = {
        "id": number,
        "code": code,
        "protocol": release["hash"],
        "protocol_id": release["id"],
        "version": release["version"],
        "title": f"Téléréadaptation, vague {number}" if number % 3 else "",
        "launch": LAUNCH,
        "territory": "FR",
        "timezone": "Europe/Paris",
        "launched_by": MANAGER,
        "launched_at": first["at"],
        "changed_at": last["at"],
        "seq": last["seq"],
        "head": last["hash"],
        "projected_seq": last["seq"],
    } | experiment_values(state)
    connection.execute(insert(table(Experiment)).values(row))
    connection.execute(insert(table(ExperimentSite)), list(_sites(number, state)))
    connection.execute(insert(table(Step)), [_step(number, walk.plan, step) for step in state.steps.values()])
    connection.execute(
        insert(table(Tally)), [{"experiment_id": number, "step": name, "through": state.through.get(name, 0)} for name in walk.plan.joined]
    )
    connection.execute(insert(table(FactRow)), rows)
    _notices(connection, number, code, walk.facts)
    delegated = {"experiment": code, "from_date": (first["at"] - timedelta(days=1)).date(), "meaning": "Délégation"} | _signed(first["at"])
    persons = [(role, f"{name}-{site[1:]}", site) for role, name in LOCAL.items() for site in SITES]
    connection.execute(
        insert(table(Delegation)), [{"person": name, "role": role, "site": site} | delegated for role, name, site in persons]
    )


def _filled_up(facts: Sequence[Fact], count: int, dice: Random) -> list[Fact]:
    """The walk's facts, and facts of answers and reminders again until there are so many, in the order of time."""
    kinds = {FactKind.CHECKPOINT_COMPLETED, FactKind.ACTION_DONE, FactKind.STEP_OPENED, FactKind.REMINDER_DUE}
    repeated = [fact for fact in facts if fact.kind in kinds] or list(facts)
    more = dice.choices(repeated, k=max(count - len(facts), 0))
    return sorted([*facts, *more], key=lambda fact: fact.at)


def _step(experiment: int, plan: Plan, step: StepState) -> dict[str, Any]:
    return {"experiment_id": experiment, "site": step.key.site, "step": step.key.step} | step_row(plan, step)


def _sites(experiment: int, state: State) -> Iterator[dict[str, Any]]:
    for site in state.sites.values():
        place = {"name": site.name, "kind": site.kind, "territory": site.place.territory, "timezone": site.place.timezone}
        yield place | {
            "experiment_id": experiment,
            "site": site.code,
            "state": site.state.value,
            "held_at": site.held_at,
            "suspensions": [],
        }


def _notices(connection: Connection, experiment: int, code: str, facts: Sequence[Fact]) -> None:
    """A message for each of the first openings, and its delivery."""
    opened = list(islice((fact for fact in facts if fact.kind is FactKind.CHECKPOINT_ASKED or fact.kind is FactKind.STEP_OPENED), 60))
    first = experiment * 100
    notices = [
        {
            "id": first + number,
            "key": f"{code}:{number}",
            "kind": "opened",
            "experiment_id": experiment,
            "step": fact.step,
            "site": fact.site,
            "round": 1,
            "roles": ["site_coordinator"],
            "persons": [],
            "details": {},
            "created_at": fact.at,
            "state": "done",
            "next_at": fact.at,
        }
        for number, fact in enumerate(opened)
    ]
    sent = [
        {
            "notice_id": one["id"],
            "person": _told(one["site"]),
            "channel": "mailto",
            "subject": f"{code} – {one['step']}",
            "state": "sent",
            "at": one["created_at"],
        }
        for one in notices
    ]
    connection.execute(insert(table(Notice)), notices)
    connection.execute(insert(table(Delivery)), sent)


def _told(site: Any) -> str:
    return f"{LOCAL['site_coordinator']}-{site[1:]}" if site else MANAGER


def _checkpoint(database: Database) -> str:
    """An open checkpoint of the coordinator of the first site."""
    from sqlalchemy import select

    step, experiment = table(Step), table(Experiment)
    query = (
        select(experiment.c.code, step.c.step, step.c.site, step.c.round)
        .join_from(step, experiment, experiment.c.id == step.c.experiment_id)
        .where(step.c.awaits == "answers", step.c.site == SITES[0], experiment.c.state == "running")
        .order_by(experiment.c.id)
    )
    with database.read() as connection:
        row = connection.execute(query).first()
    assert row is not None
    return f"{row.code}:{row.step}:{row.site}:{row.round}"
