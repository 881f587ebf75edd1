"""The protocols, sites and people that the benchmarks play with."""

from __future__ import annotations

import uuid

from sqlalchemy import insert

from sites import releases
from sites.clock import Clock, SystemClock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.tables import Assignment, Person, Site

COORDINATOR, MANAGER = "c.durand", "p.morel"
ANSWERS = {"included": 12, "score": 71.5, "checked": True, "comment": "Rien à signaler ce jour."}

_FORM = """
        - {id: included, type: integer, min: 0, required: true, label: {fr: Inclus, en: Included}}
        - {id: score, type: number, min: 0, max: 100, required: true, label: {fr: Score, en: Score}}
        - {id: checked, type: boolean, required: true, label: {fr: Vérifié, en: Checked}}
        - {id: comment, type: long_text, label: {fr: Commentaire, en: Comment}}"""

_HEAD = """insitu: 1
id: {id}
version: 1.0.0
title: {{fr: Banc, en: Bench}}
solution: {{name: Banc}}
roles:
  project_manager: {{scope: experiment, title: {{fr: Chef de projet, en: Project manager}}}}
  site_coordinator: {{scope: site, title: {{fr: Coordinateur, en: Coordinator}}}}
steps:"""


def linear(gates: int) -> str:
    """A protocol of `gates` human gates in a row at a site, each with a form of four fields, a deadline and a reminder."""
    steps = [_HEAD.format(id=f"linear-{gates}")]
    for number in range(gates):
        after = f"[gate-{number - 1}]" if number else "[]"
        steps.append(f"""
  - id: gate-{number}
    title: {{fr: Étape {number}, en: Step {number}}}
    phase: during
    scope: site
    after: {after}
    checkpoint:
      role: site_coordinator
      form:{_FORM}
    gate: {{pass: answers.included >= 1 && answers.checked}}
    due: {{days: 30, calendar: working}}
    remind: [{{before: 5d}}]""")
    return "".join(steps) + "\n"


def joined(gates: int) -> str:
    """As `linear`, closed by an experiment step that waits for every site."""
    return (
        linear(gates).replace(f"id: linear-{gates}", f"id: joined-{gates}")
        + f"""
  - id: closing
    title: {{fr: Clôture, en: Closing}}
    phase: closure
    after: [{{step: gate-{gates - 1}, sites: all}}]
    checkpoint: {{role: project_manager, form: [{{id: done, type: boolean, required: true, label: {{fr: Fait, en: Done}}}}]}}
    gate: {{pass: answers.done}}
"""
    )


def automated(gates: int) -> str:
    """As `linear`, each gate asked only once the machine has done a small action."""
    action = "\n    run: [{do: notify, with: {notice: experiment-closed, to: [project_manager]}}]\n    checkpoint:"
    return linear(gates).replace(f"id: linear-{gates}", f"id: automated-{gates}").replace("\n    checkpoint:", action)


def complete(ledger: Ledger, code: str, gate: int, site: str) -> None:
    """Pass a gate."""
    done = ledger.complete(f"{code}:gate-{gate}:{site}:1", ANSWERS, COORDINATOR, command_id=uuid.uuid4().hex)
    assert done["gate"] == "passed", done


def prepare(database: Database, protocols: list[str], sites: int = 1, clock: Clock | None = None) -> Ledger:
    """Migrate an empty database, release the protocols, and register sites `S0001`… with one coordinator and one manager."""
    database.migrate()
    ledger = Ledger(database, clock or SystemClock())
    for text in protocols:
        releases.add(database, text, ledger.clock)
    people = [{"id": name, "name": name, "email": f"{name}@example.org", "locale": "fr", "channels": []} for name in (COORDINATOR, MANAGER)]
    roles = [{"person": COORDINATOR, "role": "site_coordinator"}, {"person": MANAGER, "role": "project_manager"}]
    places = [
        {"code": code, "name": code, "kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"} for code in codes(sites)
    ]
    with database.write() as connection:
        connection.execute(insert(table(Site)), places)
        connection.execute(insert(table(Person)), people)
        connection.execute(insert(table(Assignment)), [role | {"site": "", "experiment": ""} for role in roles])
    return ledger


def codes(sites: int) -> list[str]:
    return [f"S{number:04}" for number in range(1, sites + 1)]
