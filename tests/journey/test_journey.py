"""telerehab-hip at three sites, from the import of its people to its closure in Prefect, through what goes wrong on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from crash import until
from mail_server import Mailbox
from qualified import qualify_site
from ruamel.yaml import YAML
from sqlalchemy import select

from flows.client import Prefect, Run
from flows.payloads import GATE_KEY
from flows.server import PrefectServer
from insitu import services
from sites import inbox, registry, releases, verification
from sites.clock import SetClock
from sites.database import Database, table
from sites.journal import verify
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.settings import Settings
from sites.signing import unasked
from sites.tables import Experiment, Track

SITES = ("CAEN", "METZ", "STDENIS")
MANAGER = "b.petit"
EXPERIMENT = "TELEREHAB-HIP-1"
USUAL: dict[str, Any] = YAML(typ="safe").load(
    (Path(__file__).parents[1] / "protocols" / "stories" / "usual" / "telerehab-hip.yaml").read_text(encoding="utf-8")
)
SOON_S = 30  # what Prefect shows, and what the machine does by itself, on two busy cores


@dataclass
class Journey:
    """One experiment with everything that runs around it, and a mailbox and a Prefect that can go away."""

    database: Database
    ledger: Ledger
    clock: SetClock
    mailbox: Mailbox
    server: PrefectServer

    # ------------------------------------------------------------------ what people do

    def answer(self, step: str, site: str = "", round: int = 1, **changes: Any) -> None:
        """Complete the checkpoint as soon as it is open, and let everyone sign who must; each in the role the protocol names."""
        name = f"{EXPERIMENT}:{step}:{site}:{round}"
        until(lambda: self.status(step, site, round) == "open", SOON_S, f"{name} opens")
        shown = inbox.checkpoint(self.database, name, self.clock.now(), access=EVERYTHING)
        done = self.ledger.complete(name, as_json(USUAL[step] | changes), self.holder(shown["role"], site))
        while done["status"] == "open":
            wanted = inbox.checkpoint(self.database, name, self.clock.now(), access=EVERYTHING)["next_signature"]["role"]
            done = self.ledger.sign(name, self.holder(wanted, site), prove=unasked)

    def holder(self, role: str, site: str) -> str:
        held = [one for one in registry.assignments(self.database) if one["role"] == role and one["site"] in ("", site, None)]
        return str(held[0]["person"])

    def a_day_passes(self) -> None:
        self.clock.advance(timedelta(days=1))

    # ------------------------------------------------------------------ what the ledger says

    def gates(self) -> dict[tuple[str, str], dict[str, Any]]:
        board = inbox.status(self.database, EXPERIMENT, self.clock.now(), access=EVERYTHING)["gates"]
        return {(gate["step"], gate["site"] or ""): gate for gate in board}

    def status(self, step: str, site: str = "", round: int = 1) -> str:
        gate = self.gates()[step, site]
        return str(gate["status"]) if gate["round"] == round else ""

    def incidents(self) -> list[str]:
        return [one["key"] for one in inbox.status(self.database, EXPERIMENT, self.clock.now(), access=EVERYTHING)["incidents"]]

    def documents(self, step: str, site: str = "") -> list[str]:
        """The documents that a step's actions stored, each read back."""
        kept = [fact["data"].get("result") or {} for fact in self._facts("ActionDone", step, site)]
        found = [document for result in kept for document in result.get("documents", ())]
        assert all(self.ledger.document(document["hash"])["content"] for document in found)
        return [document["name"] for document in found]

    def _facts(self, kind: str, step: str, site: str) -> list[dict[str, Any]]:
        journal = inbox.journal(self.database, EXPERIMENT, EVERYTHING)
        return [fact for fact in journal if (fact["kind"], fact["step"], fact["site"] or "") == (kind, step, site)]

    # ------------------------------------------------------------------ what Prefect shows

    def track(self, site: str = "") -> str:
        track, experiment = table(Track), table(Experiment)
        joined = track.join(experiment, experiment.c.id == track.c.experiment_id)
        with self.database.read() as connection:
            run = connection.execute(select(track.c.flow_run_id).select_from(joined).where(track.c.site == site)).scalar()
        return str(run or "")

    def run(self, site: str = "") -> Run | None:
        with self.prefect() as prefect:
            return prefect.runs([self.track(site)]).get(self.track(site)) if self.track(site) else None

    def shows(self, state: str, site: str = "") -> None:
        until(lambda: (run := self.run(site)) is not None and run.state == state, SOON_S, f"{state!r} {site}")

    def bars(self, site: str = "") -> dict[str, str]:
        """State type of each gate's task run, by step and round, in the order of their starts."""
        with self.prefect() as prefect:
            wanted = {"flow_runs": {"id": {"any_": [self.track(site)]}}, "sort": "EXPECTED_START_TIME_ASC"}
            rows = prefect.request("POST", "task_runs/filter", wanted)
        return {row["dynamic_key"]: row["state_type"] for row in rows if row["task_key"] == GATE_KEY}

    @contextmanager
    def prefect(self) -> Iterator[Prefect]:
        client = Prefect(self.server.api_url)
        yield client
        client.close()

    # ------------------------------------------------------------------ what comes by mail

    def mail(self, person: str) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mailbox.mails if mail["To"].addresses[0].username == person]

    def gets_mail(self, person: str, words: str) -> None:
        until(lambda: any(words in subject for subject in self.mail(person)), SOON_S, f"{person} reads {words!r}")


def as_json(answers: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in answers.items()}


@pytest.fixture
def journey(sqlite_database: Database, tmp_path: Path, mailbox: Mailbox, prefect: PrefectServer) -> Iterator[Journey]:
    """Sites and people imported, the library released, and everything `insitu up` starts running on a clock that is set."""
    people = resources.files("insitu.demo").joinpath("sites.yaml").read_text(encoding="utf-8")
    clock = SetClock(datetime(2026, 3, 2, 9, tzinfo=UTC))
    registry.import_file(sqlite_database, people, "sites.yaml")
    releases.add_library(sqlite_database, clock)
    settings = Settings(data=tmp_path, database_url=sqlite_database.url, prefect_api_url=prefect.api_url, mail_url=mailbox.url, locale="en")
    with services.up(settings, "127.0.0.1", 0, print, clock, dispatch_every_s=0.1) as running:
        yield Journey(running.database, running.ledger, clock, mailbox, prefect)


@pytest.mark.journey
def test_an_experiment_goes_from_import_to_closure_whatever_stops_working_on_the_way(journey: Journey) -> None:
    launched = journey.ledger.launch("telerehab-hip", SITES, as_json(USUAL["launch"]), MANAGER)
    assert launched["code"] == EXPERIMENT
    for site in SITES:
        people = {"investigator": journey.holder("principal_investigator", site), "coordinator": journey.holder("site_coordinator", site)}
        qualify_site(journey.ledger, EXPERIMENT, site, manager=MANAGER, **people)
    journey.shows("Awaiting Protocol review")
    journey.gets_mail("m.leroy", "Relecture du protocole – TELEREHAB-HIP-1 : à compléter")

    resume_too_early(journey)
    mail_server_down(journey)
    hold_and_release(journey)
    prefect_down(journey)
    prefect_wiped(journey)

    for site in SITES[:2]:
        journey.answer("follow_up", site)
    journey.answer("evaluation")
    assert journey.documents("evaluation")
    journey.answer("closure")
    closed(journey)


def resume_too_early(journey: Journey) -> None:
    """Someone presses Prefect's Resume button: the gate is still closed, the run rests again, and the manager hears of it."""
    rested = journey.run()
    assert rested is not None
    with journey.prefect() as prefect:
        prefect.request("POST", f"flow_runs/{rested.id}/resume", {})
    until(lambda: (run := journey.run()) is not None and run.type == "PAUSED" and run.state_id != rested.state_id, SOON_S, "it rests again")
    journey.shows("Awaiting Protocol review")
    assert journey.incidents() == ["prefect:resumed:"]
    assert journey.status("protocol_review") == "open"
    journey.gets_mail(MANAGER, "incident à examiner")


def mail_server_down(journey: Journey) -> None:
    """The step goes on while no mail leaves; when the server is back, the message that was owed arrives."""
    journey.mailbox.stop()
    journey.answer("protocol_review")
    until(lambda: journey.status("ethics") == "open", SOON_S, "the dossier is rendered")
    assert any("ethics-dossier" in name for name in journey.documents("ethics"))
    assert journey.mail("s.garnier") == []
    journey.mailbox.start()
    journey.a_day_passes()
    journey.gets_mail("s.garnier", "Avis éthique (CPP) – TELEREHAB-HIP-1 : à compléter")


def hold_and_release(journey: Journey) -> None:
    journey.ledger.hold(EXPERIMENT, MANAGER, "Device recalled")
    journey.shows("On hold")
    journey.a_day_passes()
    journey.ledger.release(EXPERIMENT, MANAGER, "Device checked")
    journey.shows("Awaiting 2 gates: Ethics opinion (CPP), Data protection impact assessment")
    journey.answer("data_protection")
    journey.answer("ethics")
    for site in SITES:
        journey.shows("Awaiting Site agreement", site)


def prefect_down(journey: Journey) -> None:
    """Checkpoints, a stop and mail go on while Prefect is away; then the picture catches up, and the owed documents are made."""
    journey.server.stop()
    for site in SITES[:2]:
        journey.answer("site_agreement", site)
    journey.ledger.stop(EXPERIMENT, MANAGER, "No staff left", site="STDENIS")
    journey.gets_mail("k.hoarau", "participation du site arrêtée")
    assert journey.status("onboarding", "CAEN") == "working"
    journey.server.start()
    journey.shows("Stopped", "STDENIS")
    for site in SITES[:2]:
        journey.answer("onboarding", site)
        assert any("site-pack" in name for name in journey.documents("onboarding", site))
        journey.answer("baseline", site)
        journey.shows("Awaiting Stay and tablet training", site)


def prefect_wiped(journey: Journey) -> None:
    """Prefect's database is lost: every track is drawn again from the ledger, finished gates included."""
    before = {site: journey.track(site) for site in ("", *SITES)}
    journey.server.stop()
    forget_everything(journey.server)
    journey.server.start()
    for site in SITES[:2]:
        journey.answer("stay", site)
        journey.shows("Awaiting Home follow-up and day 90", site)
    assert all(journey.track(site) != run for site, run in before.items())
    through = {f"{step}:CAEN:1": "COMPLETED" for step in ("site_agreement", "onboarding", "baseline", "stay")}
    until(lambda: journey.bars("CAEN") == through | {"follow_up:CAEN:1": "RUNNING"}, SOON_S, "CAEN's timeline is drawn again")


def forget_everything(server: PrefectServer) -> None:
    """Put the server's database back to how it was when it was made."""
    for name in ("prefect.db-wal", "prefect.db-shm"):
        (server.home / name).unlink(missing_ok=True)
    os.replace(server.home / "empty.db", server.home / "prefect.db")


def closed(journey: Journey) -> None:
    journey.shows("Closed")
    for site, state in (("CAEN", "Closed"), ("METZ", "Closed"), ("STDENIS", "Stopped")):
        journey.shows(state, site)
    runs = {site: journey.run(site) for site in ("", *SITES)}
    assert {site: run and run.type for site, run in runs.items()} == {
        "": "COMPLETED",
        "CAEN": "COMPLETED",
        "METZ": "COMPLETED",
        "STDENIS": "CANCELLED",
    }
    own = ("protocol_review", "ethics", "data_protection", "evaluation", "closure")
    until(lambda: journey.bars() == {f"{step}::1": "COMPLETED" for step in own}, SOON_S, "the experiment's timeline")
    until(lambda: journey.bars("STDENIS") == {"site_agreement:STDENIS:1": "CANCELLED"}, SOON_S, "the stopped site's timeline")

    journey.gets_mail("j.smith", "end of the experiment")  # the sponsor reads English, all others French
    journey.gets_mail("e.lambert", "fin de l'expérimentation")
    journey.gets_mail("a.martin", "Convention – ")
    assert not any(asked in subject for asked in ("à signer", "à compléter") for subject in journey.mail("y.payet"))
    assert journey.status("cnil_authorisation") == "skipped"
    assert verify(journey.database)["ok"]
    assert verification.verify(journey.database)["findings"] == []
