"""A real ledger, a real Prefect server, a worker and a projector, with a small protocol to march."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from flows.client import Prefect, PrefectUnavailable, Run
from flows.house import House, move_into
from flows.projector import Projector
from flows.worker import Worker
from protocols.model import canonical, content_hash
from protocols.parsing import parse
from sites import releases
from sites.clock import SystemClock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.settings import Settings
from sites.tables import Assignment, Experiment, Incident, Person, Release, Site, Track

PROTOCOL = """
insitu: 1
id: mini
version: 1.0.0
title: {fr: Essai, en: Trial}
solution: {name: Mini}
roles:
  project_manager: {scope: experiment, title: {fr: Chef de projet, en: Project manager}}
  ethics_officer: {scope: experiment, title: {fr: Référent éthique, en: Ethics officer}}
  site_coordinator: {scope: site, title: {fr: Coordinateur de site, en: Site coordinator}}
launch:
  - {id: planned_start, type: date, label: {fr: Début prévu, en: Planned start}, required: true}
  - {id: participants, type: integer, min: 1, label: {fr: Participants, en: Participants}, required: true}
steps:
  - id: ethics
    title: {fr: Avis éthique (CPP), en: Ethics opinion (CPP)}
    phase: preparation
    run:
      - {do: notify, with: {notice: dossier-due, to: [ethics_officer]}}
    checkpoint:
      role: ethics_officer
      form:
        - {id: favourable, type: boolean, required: true, label: {fr: Favorable, en: Favourable}}
    gate: {pass: answers.favourable}
    due: {days: 45}
  - id: onboarding
    title: {fr: Mise en place, en: Onboarding}
    phase: before
    scope: site
    after: [ethics]
    checkpoint:
      role: site_coordinator
      form: [{id: ready, type: boolean, required: true, label: {fr: Prêt, en: Ready}}]
    gate: {pass: answers.ready}
  - id: closure
    title: {fr: Clôture, en: Closure}
    phase: closure
    after: [onboarding]
    run:
      - {do: notify, with: {notice: experiment-closed, to: [ethics_officer]}}
"""

SITES = ("CAEN", "NANCY")
PEOPLE = {
    "manager": ("Marie Petit", "project_manager", ""),
    "alice": ("Alice Martin", "ethics_officer", ""),
    "caen": ("Claire Caen", "site_coordinator", "CAEN"),
    "nancy": ("Nadia Nancy", "site_coordinator", "NANCY"),
}
LAUNCH = {"planned_start": "2026-12-01", "participants": 30}


def settle(database: Database) -> None:
    """Make the tables and let the world's people move in."""
    database.migrate()
    releases.add(database, PROTOCOL, SystemClock())
    with database.write() as connection:
        place = {"kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"}
        connection.execute(insert(table(Site)), [{"code": code, "name": f"CHU {code}"} | place for code in SITES])
        people = [{"id": id_, "name": who[0], "email": f"{id_}@example.org", "locale": "fr", "channels": []} for id_, who in PEOPLE.items()]
        connection.execute(insert(table(Person)), people)
        held = [{"person": id_, "role": role, "site": site, "experiment": ""} for id_, (_, role, site) in PEOPLE.items()]
        connection.execute(insert(table(Assignment)), held)


@dataclass
class Stage:
    """Everything a test acts with. `prefect` is a client of the tests' own."""

    settings: Settings
    database: Database
    ledger: Ledger
    prefect: Prefect
    projector: Projector
    worker: Worker

    @classmethod
    def build(cls, settings: Settings) -> Stage:
        database = Database(settings.database_url)
        ledger = Ledger(database, SystemClock())
        move_into(House(settings, database, ledger, retry_delays_s=(0.0,)))
        worker = Worker(settings.prefect_api_url)
        projector = Projector(database, ledger, settings, on_wake=worker.poke)
        return cls(settings, database, ledger, Prefect(settings.prefect_api_url), projector, worker)

    def launch(self, *sites: str) -> str:
        return str(self.ledger.launch("mini", sites or SITES, LAUNCH, "manager")["code"])

    def track(self, code: str, site: str = "") -> str:
        """The flow run of a track, "" before there is one."""
        with self.database.read() as connection:
            of_it = select(table(Track)).where(table(Track).c.site == site)
            rows = [dict(row) for row in connection.execute(of_it).mappings()]
        known = {row["experiment_id"]: row["flow_run_id"] for row in rows}
        return str(known.get(self.row(code)["id"], ""))

    def row(self, code: str) -> dict[str, Any]:
        from sites.snapshot import find

        with self.database.read() as connection:
            return dict(find(connection, code))

    def run(self, code: str, site: str = "") -> Run | None:
        run = self.track(code, site)
        return self.prefect.runs([run]).get(run) if run else None

    def shown(self, code: str, site: str = "") -> str:
        """The state name Prefect shows for a track."""
        run = self.run(code, site)
        return run.state if run else ""

    def gates(self, code: str, site: str = "") -> dict[str, str]:
        """State type of each gate's task run, by title."""
        return {row["name"]: row["state_type"] for row in self.task_runs(code, site) if row["task_key"] == "insitu.gate"}

    def task_runs(self, code: str, site: str = "") -> list[dict[str, Any]]:
        wanted = {"flow_runs": {"id": {"any_": [self.track(code, site)]}}}
        return list(self.prefect.request("POST", "task_runs/filter", wanted))

    def incidents(self, code: str) -> list[str]:
        with self.database.read() as connection:
            of_it = select(table(Incident).c.key).where(table(Incident).c.experiment_id == self.row(code)["id"])
            return list(connection.execute(of_it).scalars())

    def open_incidents(self, code: str) -> list[str]:
        with self.database.read() as connection:
            of_it = (table(Incident).c.experiment_id == self.row(code)["id"], table(Incident).c.resolved_at.is_(None))
            return list(connection.execute(select(table(Incident).c.key).where(*of_it)).scalars())

    def project_until(self, shows: Callable[[], bool], limit_s: float = 90) -> None:
        """Project until Prefect shows what is expected; the projector's own pace, no fixed waiting.

        A server too busy to answer is waited out, as the projector's own loop does.
        """
        limit = time.monotonic() + limit_s
        while not self._shows(shows):
            assert time.monotonic() < limit, "Prefect did not come to show what the ledger says"
            threading.Event().wait(0.03)

    def _shows(self, shows: Callable[[], bool]) -> bool:
        try:
            if shows():
                return True
            self.projector.run_once()
        except PrefectUnavailable:
            return False
        return False

    def experiments(self) -> list[str]:
        with self.database.read() as connection:
            return list(connection.execute(select(table(Experiment).c.code)).scalars())

    def release_unchecked(self, text: str) -> None:
        """Release a protocol that lint would refuse."""
        protocol = parse(text, "").protocol
        row = {"hash": content_hash(protocol), "id": protocol.id, "version": protocol.version, "content": canonical(protocol)}
        with self.database.write() as connection:
            connection.execute(insert(table(Release)).values(row | {"source": text, "added_at": SystemClock().now()}))
