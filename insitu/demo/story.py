"""The demonstration's story: telerehab-hip at three sites, every person played, nothing of the machine's part."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, select

from protocols.errors import InsituError
from protocols.facts import FactKind
from protocols.state import StepStatus
from sites import inbox
from sites.clock import SetClock
from sites.database import table
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.qualifications import NewDelegation, NewTraining, record, sign_delegation, sign_training
from sites.signing import unasked
from sites.tables import Notice, Step

PROTOCOL, SITES = "telerehab-hip", ("CAEN", "METZ", "STDENIS")
COORDINATOR = {"CAEN": "a.martin", "METZ": "p.morel", "STDENIS": "k.hoarau"}
INVESTIGATOR = {"CAEN": "e.lambert", "METZ": "c.weber", "STDENIS": "y.payet"}
MANAGER, METHODOLOGIST, ETHICS, DPO, PATIENTS = "b.petit", "m.leroy", "s.garnier", "d.nguyen", "r.faure"
STAYING, LEAVING = ("CAEN", "METZ"), "STDENIS"
SUS = {"CAEN": [82.5, 77.5, 90, 70, 85], "METZ": [65, 72.5, 80, 87.5]}
MACHINE_LIMIT_S = 60

_NOTICE, _STEP = table(Notice), table(Step)


class Story:
    """One experiment and the people who carry it; `clock` runs ahead, and waits for the machine at every turn."""

    def __init__(self, ledger: Ledger, clock: SetClock) -> None:
        self.ledger, self.clock = ledger, clock
        self.code = ""

    # ------------------------------------------------------------------ the chapters, in order

    def launch(self) -> None:
        """The project manager launches the experiment."""
        launch = {"planned_start": "2026-09-01", "target_participants": 120, "grant_eur": 180000}
        self.code = self.ledger.launch(PROTOCOL, SITES, launch, MANAGER)["code"]
        self.settle()

    def teams_are_delegated(self) -> None:
        """At each site the project manager signs for the investigator, who signs for the coordinator; each on the training they had."""
        for site in SITES:
            self._qualify(INVESTIGATOR[site], "principal_investigator", site, by=MANAGER)
            self._qualify(COORDINATOR[site], "site_coordinator", site, by=INVESTIGATOR[site])

    def committee_refuses(self) -> None:
        """The opinion is long in coming: a reminder goes out; then the committee wants changes, and the protocol goes back."""
        self._review(1, "1.0")
        self._assess(1)
        self.days_pass(31)
        requests = "Préciser l'information des aidants et la durée de conservation."
        self._opinion(1, {"opinion": "changes_requested", "reference": "CPP 2026-041", "requests": requests})

    def committee_agrees(self) -> None:
        """The second round is favourable."""
        self._review(2, "1.1")
        self._assess(2)
        self.days_pass(12)
        self._opinion(2, {"opinion": "favourable", "reference": "CPP 2026-041 bis"})

    def sites_open(self) -> None:
        """Two sites sign and are set up; the third stays silent."""
        for site in STAYING:
            self.days_pass(3)
            agreement = {"signed_on": self.today, "insurance_checked": True}
            self.complete("site_agreement", COORDINATOR[site], agreement, site=site)
        for site in STAYING:
            self.days_pass(4)
            visit = {"visit_date": self.today, "trained_staff": 4, "kits_received": 12, "network_tested": True}
            self.complete("onboarding", COORDINATOR[site], visit, COORDINATOR[site], INVESTIGATOR[site], site=site)

    def one_site_stops(self) -> None:
        """The silence is escalated to the project manager, who ends that site's part."""
        while not self._happened(FactKind.ESCALATED, LEAVING):
            self.days_pass(5)
        self.ledger.stop(self.code, MANAGER, "Le service ferme cet été ; aucun patient inclus.", site=LEAVING)
        self.settle()

    def patients_come_and_go(self) -> None:
        """Patients are included, operated on, trained, and followed at home for ninety days."""
        for site, count in zip(STAYING, (24, 18), strict=True):
            self.days_pass(7)
            self.complete("baseline", COORDINATOR[site], {"screened": count + 9, "included": count, "consents_checked": True}, site=site)
        for site, count in zip(STAYING, (23, 18), strict=True):
            self.days_pass(20)
            stay = {"operated": count, "trained_before_discharge": count - 1, "incidents": 1}
            self.complete("stay", COORDINATOR[site], stay, site=site)
        self.days_pass(90)
        for site, count in zip(STAYING, (21, 16), strict=True):
            scores = [{"participant": f"{site}-{number:02}", "score": score} for number, score in enumerate(SUS[site], 1)]
            self.complete("follow_up", COORDINATOR[site], {"completed_d90": count, "sus_scores": scores}, INVESTIGATOR[site], site=site)

    def evaluate(self) -> None:
        """The machine computes the figures and writes the report; the methodologist and the patients' representative sign."""
        self.days_pass(10)
        conclusion = {"conclusion": "scale_up", "rationale": "Adhésion élevée et scores SUS bons dans les deux sites."}
        self.complete("evaluation", METHODOLOGIST, conclusion, METHODOLOGIST, PATIENTS)

    def close(self) -> None:
        """The steering committee decides."""
        self.days_pass(5)
        self.complete("closure", MANAGER, {"decision": "generalise"}, MANAGER)
        self.settle()

    # ------------------------------------------------------------------ what people do

    def _qualify(self, person: str, role: str, site: str, *, by: str) -> None:
        """Record and sign a person's delegation and training: the protocol's site roles require both."""
        database, clock, today = self.ledger.database, self.clock, self.clock.now().date()
        number = record(database, clock, NewDelegation(person, role, site, self.code, today), by=by)
        sign_delegation(database, clock, number, by=by, prove=unasked)
        protocol = inbox.protocol_of(database, self.code)
        number = record(database, clock, NewTraining(person, protocol.id, protocol.version, site, today), by=by)
        sign_training(database, clock, number, by=by, prove=unasked)

    def _review(self, round_: int, version: str) -> None:
        self.days_pass(2)
        self.complete("protocol_review", METHODOLOGIST, {"synopsis_version": version, "sample_size_justified": True}, round_=round_)

    def _assess(self, round_: int) -> None:
        self.days_pass(3)
        assessment = {"reference_methodology": "MR-001", "residual_risk": "low"}
        self.complete("data_protection", DPO, assessment, DPO, round_=round_)

    def _opinion(self, round_: int, opinion: Mapping[str, Any]) -> None:
        self.complete("ethics", ETHICS, {"opinion_date": self.today, **opinion}, ETHICS, MANAGER, round_=round_)

    def complete(self, step: str, by: str, answers: Mapping[str, Any], *signers: str, site: str = "", round_: int = 1) -> None:
        """Let a person answer a checkpoint and others sign it, once the machine has done its part before and after."""
        self.settle()
        checkpoint = f"{self.code}:{step}:{site}:{round_}"
        self.ledger.complete(checkpoint, answers, by)
        for signer in signers:
            self.settle()
            self.ledger.sign(checkpoint, signer, prove=unasked)
        self.settle()

    @property
    def today(self) -> str:
        return self.clock.now().date().isoformat()

    # ------------------------------------------------------------------ time, and the machine

    def days_pass(self, days: int) -> None:
        """Let the clock run ahead, stopping at every alarm on the way until its messages have gone out."""
        self.settle()
        until = self.clock.now() + timedelta(days=days)
        while (alarm := self.ledger.next_timer_at()) is not None and alarm <= until:
            self.clock.set(max(alarm, self.clock.now()) + timedelta(seconds=1))
            self.settle()
        self.clock.set(max(until, self.clock.now()))
        self.settle()

    def settle(self) -> None:
        """Wait until the worker has done what is owed, the alarms due have fired and the messages have gone out."""
        self.wait_until(self._machine_is_idle, "the worker and the dispatcher")

    def wait_until(self, done: Callable[[], bool], who: str) -> None:
        """Wait for the machine, for a minute at most. Raises InsituError."""
        limit = time.monotonic() + MACHINE_LIMIT_S
        while not done():
            if time.monotonic() > limit:
                raise InsituError(f"The demonstration waited {MACHINE_LIMIT_S} s for {who}, in vain. What is open: {self._owed()}.")
            time.sleep(0.05)

    def _machine_is_idle(self) -> bool:
        alarm = self.ledger.next_timer_at()
        return not self._owed() and (alarm is None or alarm > self.clock.now()) and not self._messages_wait()

    def _owed(self) -> list[str]:
        """The steps the machine works on."""
        working = select(_STEP.c.step).where(_STEP.c.status == StepStatus.WORKING.value)
        with self.ledger.database.read() as connection:
            return list(connection.execute(working).scalars())

    def _messages_wait(self) -> bool:
        due = select(exists().where(_NOTICE.c.state == "owed", _NOTICE.c.next_at <= self.clock.now()))
        with self.ledger.database.read() as connection:
            return bool(connection.execute(due).scalar())

    def _happened(self, kind: FactKind, site: str) -> bool:
        return any(fact["kind"] == kind and fact["site"] == site for fact in inbox.journal(self.ledger.database, self.code, EVERYTHING))


Chapter = tuple[dict[str, str], Callable[[Story], None]]
CHAPTERS: tuple[Chapter, ...] = (
    ({"fr": "Lancement sur trois sites", "en": "Launch at three sites"}, Story.launch),
    (
        {"fr": "Délégations et formations signées sur chaque site", "en": "Delegations and trainings signed at each site"},
        Story.teams_are_delegated,
    ),
    (
        {"fr": "Le CPP tarde, est relancé, puis demande des modifications", "en": "The ethics committee is late, and wants changes"},
        Story.committee_refuses,
    ),
    ({"fr": "Second tour : avis favorable", "en": "Second round: a favourable opinion"}, Story.committee_agrees),
    ({"fr": "Deux sites s'ouvrent, le troisième se tait", "en": "Two sites open, the third is silent"}, Story.sites_open),
    ({"fr": "Escalade, puis arrêt du troisième site", "en": "Escalation, then the third site stops"}, Story.one_site_stops),
    ({"fr": "Inclusions, séjours, suivi à trois mois", "en": "Inclusions, stays, three months at home"}, Story.patients_come_and_go),
    ({"fr": "Évaluation et rapport", "en": "Evaluation and report"}, Story.evaluate),
    ({"fr": "Clôture et décision", "en": "Closure and decision"}, Story.close),
)
