"""A newcomer starts insitu and creates the first manager; three coordinators in three browsers bring an experiment to its closing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest
from mail_server import Mailbox
from people import DESK, PASSWORD, PHONE, Person
from playwright.sync_api import Browser, expect

from flows.server import free_port

COMMAND = [sys.executable, "-c", "from insitu.cli import main; main()"]
SITES = {"CAEN": ("a.martin", "e.lambert"), "METZ": ("p.morel", "c.weber"), "STDENIS": ("k.hoarau", "y.payet")}
OTHERS = ("b.petit", "m.leroy", "s.garnier", "d.nguyen", "r.faure")
TODAY = date.today().isoformat()  # noqa: DTZ011 - the browser's own day
CODE = "TELEREHAB-HIP-1"
TOUR = {
    "people": f"/experiments/{CODE}/people",
    "messages": f"/experiments/{CODE}/messages",
    "documents": f"/experiments/{CODE}/documents",
    "journal": f"/experiments/{CODE}/journal",
    "signatures": f"/experiments/{CODE}/signatures",
    "manage": f"/experiments/{CODE}/manage",
    "library": "/library",
    "protocol": "/library/telerehab-hip/1.1.0",
    "deadlines": "/deadlines",
    "delegations": "/admin/delegations",
    "person": "/admin/people/a.martin",
    "access": "/admin/access",
    "account": "/account",
    "notices": "/account/notices",
    "calendar": "/account/calendar",
}
RECORD = "section[aria-labelledby=record]"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    box.start()
    yield box
    box.stop()


@pytest.fixture
def started(tmp_path: Path, mailbox: Mailbox) -> Iterator[str]:
    """The address that `insitu up` prints, on an empty folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_"))}
    env = clean | {"INSITU_HOME": str(tmp_path), "INSITU_LOCALE": "en", "INSITU_MAIL_URL": mailbox.url}
    with subprocess.Popen([*COMMAND, "up", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as up:
        assert up.stdout is not None
        said = "".join(iter(up.stdout.readline, "Ctrl-C stops all of it.\n"))
        found = re.search(r"^Pages: (\S+)$", said, re.MULTILINE)
        assert found, said
        yield found[1]
        up.send_signal(signal.SIGINT)
        _, errors = up.communicate(timeout=60)
    assert (up.returncode, "Traceback" in errors) == (0, False), errors


@pytest.mark.journey
@pytest.mark.timeout(600)
def test_a_newcomer_brings_an_experiment_from_nothing_to_its_closing(chromium: Browser, started: str, mailbox: Mailbox) -> None:
    boss = create_the_first_manager(chromium, started)
    import_people(boss)
    invite(boss, *OTHERS, *(person for pair in SITES.values() for person in pair))
    launch(boss)
    staff = {id: came_in(chromium, started, id, mailbox) for id in ("m.leroy", "s.garnier", "d.nguyen", "r.faure", "b.petit")}
    teams = {id: came_in(chromium, started, id, mailbox) for pair in SITES.values() for id in pair}
    delegate(boss, teams)
    prepare(staff)
    for site in SITES:
        run_site(site, teams)
    close(staff, boss)
    tour(boss, chromium)
    for person in (boss, *staff.values(), *teams.values()):
        person.leave()


def create_the_first_manager(chromium: Browser, address: str) -> Person:
    boss = Person(chromium, address, "h.durand")
    boss.open("/")
    expect(boss.page).to_have_url(re.compile("/setup"))
    boss.picture("setup")
    boss.fill(name="Hélène Durand", email="h.durand@example.org", id="h.durand", password=PASSWORD, password_again=PASSWORD)
    boss.press("Créer le premier compte")
    expect(boss.page).to_have_url(re.compile("/admin"))
    boss.picture("admin")
    return boss


def import_people(boss: Person) -> None:
    boss.open("/admin/import")
    boss.page.locator("[name=file]").set_input_files(str(files("insitu.demo") / "sites.yaml"))
    boss.press("Importer")
    expect(boss.page.get_by_role("status").first).to_contain_text("12")


def invite(boss: Person, *people: str) -> None:
    for id in people:
        boss.open(f"/admin/people/{id}")
        boss.press("Inviter")


def came_in(chromium: Browser, address: str, id: str, mailbox: Mailbox) -> Person:
    """A person who has followed their invitation; coordinators have phones."""
    is_coordinator = id in {pair[0] for pair in SITES.values()}
    person = Person(chromium, address, id, viewport=PHONE if is_coordinator else DESK)
    person.accept_invitation(mailbox)
    return person


def launch(boss: Person) -> None:
    boss.open("/launch/telerehab-hip")
    for site in SITES:
        boss.page.get_by_label(re.compile(f"{site}|Caen|Remparts|Barachois")).and_(boss.page.locator(f"[value='{site}']")).first.check()
    boss.page.get_by_label(re.compile("Début prévu")).fill(TODAY)
    boss.page.get_by_label(re.compile("Nombre de participants")).fill("40")
    boss.picture("launch")
    boss.press("Lancer")
    expect(boss.page).to_have_url(re.compile(f"/experiments/{CODE}"))


def delegate(boss: Person, teams: dict[str, Person]) -> None:
    """The manager signs for the investigators, who sign for the coordinators."""
    for site, (coordinator, investigator) in SITES.items():
        record(boss, investigator, "principal_investigator", site)
        record(teams[investigator], coordinator, "site_coordinator", site)


def record(by: Person, person: str, role: str, site: str) -> None:
    """Record and sign a delegation and a training."""
    by.open(f"/admin/delegations?new-person={person}")
    by.fill(within=RECORD, person=person, role=role, site=site, experiment=CODE, **{"from": TODAY})
    by.press("Enregistrer")
    by.fill(password=PASSWORD)
    by.press("Signer")
    by.open(f"/admin/trainings?new-person={person}")
    by.fill(within=RECORD, person=person, protocol="telerehab-hip 1.1.0", site=site, on=TODAY)
    by.press("Enregistrer")
    by.fill(password=PASSWORD)
    by.press("Signer")


def prepare(staff: dict[str, Person]) -> None:
    review = {"Version du synopsis": "1.0", "Effectif justifié": True}
    staff["m.leroy"].complete(f"{CODE}:protocol_review::1", review)
    impact = {"Méthodologie de référence": "MR-001", "Risque résiduel": "low"}
    staff["d.nguyen"].complete(f"{CODE}:data_protection::1", impact)
    staff["d.nguyen"].sign(f"{CODE}:data_protection::1")
    ethics = f"{CODE}:ethics::1"
    wait_for_the_machine(staff["s.garnier"], ethics)
    staff["s.garnier"].complete(ethics, {"Avis": "favourable", "Date de l'avis": TODAY, "Référence": "CPP 2026-041"})
    staff["s.garnier"].sign(ethics)
    staff["b.petit"].sign(ethics)


def wait_for_the_machine(person: Person, checkpoint: str) -> None:
    """Until the form is there: a document is being made first."""
    for _ in range(120):
        person.open(f"/checkpoints/{checkpoint}")
        if person.page.locator("form#answers").count():
            return
        threading.Event().wait(0.5)
    raise AssertionError(f"{checkpoint} never asked for answers: {person.page.locator('main').inner_text()}")


def run_site(site: str, teams: dict[str, Person]) -> None:
    nurse, doctor = (teams[id] for id in SITES[site])
    nurse.open("/today")
    if site == "CAEN":
        nurse.picture("today")
    nurse.complete(f"{CODE}:site_agreement:{site}:1", {"Signée le": TODAY, "Assurance vérifiée": True})
    onboarding = f"{CODE}:onboarding:{site}:1"
    wait_for_the_machine(nurse, onboarding)
    if site == "CAEN":
        nurse.picture("checkpoint")
    visit = {"Visite de mise en place": TODAY, "Professionnels formés": "4", "Kits reçus": "12", "Réseau testé": True}
    nurse.complete(onboarding, visit)
    nurse.sign(onboarding)
    if site == "CAEN":
        doctor.open(f"/checkpoints/{onboarding}")
        doctor.picture("sign")
    doctor.sign(onboarding)
    patients = {"Patients présélectionnés": "30", "Patients inclus": "24", "Consentements vérifiés": True}
    nurse.complete(f"{CODE}:baseline:{site}:1", patients)
    nurse.complete(f"{CODE}:stay:{site}:1", {"Patients opérés": "24", "Formés avant la sortie": "23", "Incidents": "0"})
    nurse.complete(f"{CODE}:follow_up:{site}:1", {"Bilans J90 complets": "21"})
    doctor.sign(f"{CODE}:follow_up:{site}:1")


def tour(boss: Person, chromium: Browser) -> None:
    """Every other page, once the experiment is closed: the pictures of the documentation, and that each opens."""
    for name, path in TOUR.items():
        boss.open(path)
        expect(boss.page.locator("h1")).to_have_count(1)
        boss.picture(name)
    nobody = Person(chromium, boss.address, "nobody")
    nobody.open("/sign-in")
    nobody.picture("sign-in")
    nobody.leave()


def close(staff: dict[str, Person], boss: Person) -> None:
    boss.open(f"/experiments/{CODE}")
    boss.picture("board-page")
    boss.open(f"/experiments/{CODE}/timeline")
    boss.picture("timeline")
    boss.open("/experiments")
    boss.picture("portfolio")
    evaluation, closure = f"{CODE}:evaluation::1", f"{CODE}:closure::1"
    wait_for_the_machine(staff["m.leroy"], evaluation)
    staff["m.leroy"].complete(evaluation, {"Conclusion": "scale_up", "Justification": "Adhésion élevée dans les trois sites."})
    staff["m.leroy"].sign(evaluation)
    staff["r.faure"].sign(evaluation)
    wait_for_the_machine(staff["b.petit"], closure)
    staff["b.petit"].complete(closure, {"Décision": "generalise"})
    staff["b.petit"].sign(closure)
    boss.open(f"/experiments/{CODE}")
    expect(boss.page.locator("main")).to_contain_text("clôturé")
