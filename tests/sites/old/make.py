"""Makes an old installation: run with the code of commit d13b6e1, never with today's (README.md beside it).

    python make.py CHECKOUT FOLDER [POSTGRESQL-ADDRESS]

Six experiments of the library's protocols, by the commands and the acts of that commit, on SQLite in FOLDER or on the database given;
then `insitu backup` and `insitu verify` of that commit, and what they said, in `expected.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

CHECKOUT, FOLDER = (Path(one).resolve() for one in sys.argv[1:3])
ADDRESS = sys.argv[3] if len(sys.argv) > 3 else f"sqlite:///{FOLDER / 'insitu.db'}"
SITES = {"CAEN": "FR", "METZ": "FR-57", "VIRE": "FR"}
LOCAL = ("principal_investigator", "site_coordinator", "it_security_officer")
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
FILES = {"hash": hashlib.sha256(PDF).hexdigest(), "name": "avis-cpp.pdf", "size": len(PDF)}

sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]
os.environ |= {"INSITU_HOME": str(FOLDER), "INSITU_DATABASE_URL": ADDRESS, "INSITU_LOCALE": "en", "PYTHONPATH": str(CHECKOUT)}
os.environ["INSITU_KEY"] = "a key for the tests of old installations, of no secret"
FOLDER.mkdir(parents=True, exist_ok=True)

from mail_server import Mailbox  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402
from sqlalchemy import select  # noqa: E402

from flows.actions import ActionContext, action, render  # noqa: E402
from notifications.dispatch import Dispatcher  # noqa: E402
from protocols.model import FieldType  # noqa: E402
from sites import conflicts, deputies, files, glass, inbox, qualifications  # noqa: E402
from sites.checkpoint_links import send_link  # noqa: E402
from sites.clock import SetClock  # noqa: E402
from sites.database import Database, table  # noqa: E402
from sites.identity.accounts import create_account, disable, invite  # noqa: E402
from sites.identity.sessions import open_session  # noqa: E402
from sites.identity.tokens import create_token  # noqa: E402
from sites.ledger import Ledger  # noqa: E402
from sites.settings import Settings  # noqa: E402
from sites.tables import AccessRow, Experiment, Release, Step  # noqa: E402


def insitu(*words: str, **kept: Any) -> str:
    """A command of that commit, at the time it really is."""
    done = subprocess.run(
        [sys.executable, "-c", "from insitu.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=FOLDER,
        check=False,
        **kept,
    )
    if done.returncode:
        raise SystemExit(f"insitu {' '.join(words)}: {done.stderr}")
    return done.stdout


def read(file: Path) -> Any:
    return YAML(typ="safe", pure=True).load(file.read_text("utf-8"))


def as_json(answers: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in answers.items()}


def without_pango() -> None:
    """From now on, documents are HTML only, as on a machine without that library: the fonts in each PDF are most of its size."""
    render.to_pdf = lambda html: (None, "no Pango here")


class Play:
    """One experiment played by everybody in it, on a clock that is set."""

    def __init__(self, ledger: Ledger, clock: SetClock, protocol: str, sites: list[str], **launch: Any) -> None:
        self.ledger, self.clock = ledger, clock
        self.usual = read(CHECKOUT / "tests" / "protocols" / "stories" / "usual" / f"{protocol}.yaml")
        self.code = str(ledger.launch(protocol, sites, as_json(self.usual["launch"] | launch), "project_manager", title="")["code"])
        self.protocol = inbox.protocol_of(ledger.database, self.code)
        self.sites = sites
        if any(role.requires for role in self.protocol.roles.values()):
            from qualified import qualify_town

            qualify_town(ledger, self.code)
        self.work()

    def days(self, number: float) -> None:
        self.clock.advance(timedelta(days=number))
        self.ledger.fire_timers(10_000)

    def name(self, told: str) -> str:
        step, _, site = told.partition("@")
        gates = inbox.status(self.ledger.database, self.code, self.clock.now())["gates"]
        return next(f"{self.code}:{step}:{site}:{one['round']}" for one in gates if (one["step"], one["site"] or "") == (step, site))

    def complete(self, told: str, *, sign: bool = True, **changes: Any) -> None:
        name, step = self.name(told), told.partition("@")[0]
        form = next(one for one in self.protocol.steps if one.id == step).checkpoint
        answers = as_json(self.usual[step] | changes)
        for field in form.form:
            if field.type is FieldType.FILE and "pdf" in files.accepted_kinds(field):
                answers[field.id] = files.store(self.ledger, field, "avis-cpp.pdf", PDF)
        self.ledger.complete(name, answers, form.role)
        if sign:
            self.sign(told)
        self.work()

    def sign(self, told: str, most: int = 9) -> None:
        name = self.name(told)
        while most and (wanted := inbox.checkpoint(self.ledger.database, name, self.clock.now())["next_signature"]):
            self.ledger.sign(name, wanted["role"])
            most -= 1

    def work(self, *, fails: bool = False) -> None:
        """The machine's actions, real ones: documents are rendered and kept."""
        settings = Settings.load()
        while owed := [one for site in ("", *self.sites) for one in inbox.owed_actions(self.ledger.database, self.code, site)]:
            for one in owed:
                if fails:
                    self.ledger.record_action(one["checkpoint"], one["index"], error="The printer is on fire")
                    continue
                step, site, number = one["checkpoint"].split(":")[1:]
                asked = next(each for each in self.protocol.steps if each.id == step).run[one["index"]]
                context = ActionContext(
                    self.code, step, site, int(number), self.ledger, self.ledger.database, settings, self.protocol, "en"
                )
                self.ledger.record_action(one["checkpoint"], one["index"], action(asked.do)(context, **asked.with_))

    def play_on(self, *steps: str, days: float = 3) -> None:
        for told in steps:
            self.days(days)
            self.complete(told)


def settle() -> None:
    """Sites, people and assignments, by the commands."""
    protocols = [read(file) for file in sorted((CHECKOUT / "protocols" / "library").glob("*.yaml"))]
    roles = sorted({role for protocol in protocols for role in protocol["roles"]})
    people = [*roles, "second.manager", "nurse.caen", "leaver"]
    house = {
        "sites": [
            {
                "code": code,
                "name": f"Hôpital de {code.title()}",
                "kind": "public_hospital",
                "territory": territory,
                "timezone": "Europe/Paris",
            }
            for code, territory in SITES.items()
        ],
        "people": [{"id": who, "name": who.replace("_", " ").title(), "email": f"{who}@example.org", "locale": "en"} for who in people],
        "assignments": [
            *({"person": role, "role": role} for role in roles),
            {"person": "second.manager", "role": "project_manager"},
            {"person": "nurse.caen", "role": "site_coordinator", "site": "CAEN"},
        ],
    }
    file = FOLDER / "house.yaml"
    with file.open("w", encoding="utf-8") as writing:
        YAML().dump(house, writing)
    insitu("site", "import", file.name)
    insitu("person", "import", file.name)
    file.unlink()


def returned_and_running(ledger: Ledger, clock: SetClock) -> None:
    """The committee asks for changes once; one site is set up, the other late, and its manager is told."""
    play = Play(ledger, clock, "telerehab-hip", ["CAEN", "METZ"])
    play.play_on("protocol_review", "data_protection")
    without_pango()
    play.days(31)
    play.complete("ethics", opinion="changes_requested", requests="Shorten the notice")
    play.play_on("protocol_review", "data_protection", "ethics")
    play.play_on("site_agreement@CAEN", "onboarding@CAEN")
    play.days(3)
    play.complete("baseline@CAEN", included=0)  # the gate stays closed on these answers
    ledger.save_draft(play.name("site_agreement@METZ"), "site_coordinator", {"insurance_checked": False})
    play.days(60)  # what METZ owes is late by now
    ledger.ask(play.name("baseline@CAEN"), "site_coordinator", "May we go on screening?")


def closed(ledger: Ledger, clock: SetClock) -> None:
    play = Play(ledger, clock, "pre-admission-econsent", ["CAEN", "VIRE"])
    play.play_on("data_protection", "accessibility")
    for step in ("onboarding", "invitations", "admission_check", "patient_feedback"):
        play.play_on(f"{step}@CAEN", f"{step}@VIRE")
    play.play_on("evaluation")


def on_hold(ledger: Ledger, clock: SetClock) -> None:
    play = Play(ledger, clock, "swallowing-sensor-nursing-home", ["VIRE", "METZ"])
    play.play_on("intake", "qualification", "data_protection", "protocol_design", "ansm", "ethics")
    play.play_on("site_agreement@VIRE", "site_agreement@METZ", "green_light@VIRE", "green_light@METZ")
    play.play_on("consents@VIRE", "consents@METZ")
    play.days(2)
    play.complete("first_recordings@METZ", skin_injuries=2)  # its part stops
    ledger.hold(play.code, "project_manager", "The sensor is recalled")


def stopped(ledger: Ledger, clock: SetClock) -> None:
    play = Play(ledger, clock, "fall-detection-nursing-home", ["VIRE", "METZ"])
    play.days(2)
    play.complete("qualification", regime="outside_research", reasons="Mere test of organisation")
    play.play_on("data_protection", "protocol_design", "easy_notice")
    ledger.hold(play.code, "project_manager", "Works in the building", site="METZ")
    play.days(20)
    ledger.release(play.code, "project_manager", "The works are over", site="METZ")
    ledger.stop(play.code, "project_manager", "The holder gives up")


def reopened(ledger: Ledger, clock: SetClock) -> None:
    play = Play(ledger, clock, "ed-triage-ai", ["CAEN", "METZ"])
    play.play_on("qualification", "protocol_design")
    play.days(1)
    ledger.reopen(play.name("protocol_design"), "methodologist", "The sequence was not sealed")
    play.days(1)
    play.play_on("protocol_design", "data_protection")
    play.complete("retro_validation", sign=False)
    ledger.decline(play.name("retro_validation"), "methodologist", "I trained the model")


def by_the_commands(clock: SetClock, ledger: Ledger) -> None:
    """The second tele-rehabilitation, launched and answered by the commands, at the time it really is."""
    launch = ("--set", "planned_start=2027-01-11", "--set", "target_participants=40")
    code = insitu("launch", "telerehab-hip", "--site", "CAEN", "--site", "VIRE", *launch, "--as", "second.manager").strip()
    review = json.dumps({"synopsis_version": "1", "sample_size_justified": True})
    insitu("complete", f"{code}:protocol_review::1", "--as", "methodologist", "--answers", "-", "--command-id", "first", input=review)
    insitu("hold", code, "--site", "VIRE", "--reason", "Moves house", "--as", "project_manager")
    insitu("account", "invite", "nurse.caen", "--as", "project_manager")
    assessment = json.dumps({"reference_methodology": "MR-003", "residual_risk": "low"})
    insitu("complete", f"{code}:data_protection::1", "--as", "data_protection_officer", "--answers", "-", input=assessment)
    ledger.report_incident(code, "undeliverable:x", "undeliverable", "A message did not reach anybody")
    ledger.owe_notice(f"{code}:ethics::1", "reminder", ["ethics_officer"], occasion="by hand")
    ledger.record_action(f"{code}:ethics::1", 0, error="The printer is on fire")


def let_in(database: Database, clock: SetClock, code: str) -> None:
    """Accounts, a session, a token, links, deputies, a conflict, an emergency look: all that the access journal tells."""
    with database.write() as connection:
        for person in ("project_manager", "site_coordinator", "leaver"):
            create_account(connection, person, "a long walk by the sea", clock.now(), by="project_manager")
        open_session(connection, "project_manager", clock.now(), method="password", address="192.0.2.7", agent="an old browser")
    disable(database, clock, "leaver", by="project_manager")
    create_token(database, clock, "project_manager", "nightly export", "write", 300)
    invite(database, clock, "methodologist", by="project_manager")
    send_link(database, clock, f"{code}:baseline:CAEN:1", "site_coordinator", by="project_manager")
    today = clock.now().date()
    deputies.name_deputy(database, clock, "project_manager", "second.manager", today, today + timedelta(days=20), by="project_manager")
    conflicts.declare(database, clock, "sponsor", code, "I hold shares", by="sponsor")
    glass.break_glass(database, clock, "regulatory_officer", code, "METZ", "A patient fell")
    number = qualifications.record_delegation(
        database, clock, "nurse.caen", "site_coordinator", "CAEN", code, today, None, by="project_manager", evidence=FILES["hash"]
    )
    qualifications.sign_delegation(database, clock, number, by="principal_investigator", meaning="I delegate")
    qualifications.end_delegation(database, clock, number, by="project_manager", on=today + timedelta(days=30), why="She leaves")
    trained = ("nurse.caen", "telerehab-hip", "1.1.0", "CAEN", today, None)
    qualifications.record_training(database, clock, *trained, by="project_manager")


def send_some(database: Database, clock: SetClock) -> None:
    """Deal with most of the messages that are owed: those no longer true are dropped, the others go to a mail server of ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        mailbox = Mailbox(probe.getsockname()[1])
    mailbox.start()
    try:
        Dispatcher(database, clock, replace(Settings.load(), mail_url=mailbox.url)).run_once(limit=65)
    finally:
        mailbox.stop()


def main() -> None:
    settle()
    database = Database(ADDRESS)
    clock = SetClock(datetime(2026, 1, 5, 11, tzinfo=UTC))
    ledger = Ledger(database, clock)
    for part in (returned_and_running, closed, on_hold, stopped, reopened):
        clock.set(datetime(2026, 1, 5, 11, tzinfo=UTC))
        part(ledger, clock)
    clock.set(datetime(2026, 8, 3, 9, tzinfo=UTC))
    send_some(database, clock)
    let_in(database, clock, "TELEREHAB-HIP-1")
    clock.set(datetime.now(UTC))
    by_the_commands(clock, ledger)
    told = {"backup": json.loads(insitu("backup", str(FOLDER / "backup.zip"), "--json")), "verify": json.loads(insitu("verify", "--json"))}
    told["backup"].pop("file")
    (FOLDER / "expected.json").write_text(json.dumps(told | _heads(database), indent=1, sort_keys=True) + "\n")
    database.dispose()


def _heads(database: Database) -> dict[str, Any]:
    experiment, access, step, release = table(Experiment), table(AccessRow), table(Step), table(Release)
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(select(experiment).order_by(experiment.c.id)).mappings()]
        last = connection.execute(select(access.c.seq, access.c.hash).order_by(access.c.seq.desc()).limit(1)).one()
        statuses = connection.execute(select(step.c.status)).scalars().all()
        released = connection.execute(select(release.c.hash)).scalars().all()
    return {
        "experiments": {row["code"]: {"state": row["state"], "seq": row["seq"], "head": row["head"]} for row in rows},
        "access": {"seq": last.seq, "head": last.hash},
        "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
        "protocols": sorted(released),
    }


main()
