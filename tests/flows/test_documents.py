"""Documents of a whole experiment, played by its actors on a real ledger up to its evaluation."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from qualified import qualify_site
from sqlalchemy import func, insert, select

from flows.actions import ActionContext, numbers, words
from flows.actions.evaluate import evaluate
from flows.actions.page import Page
from flows.actions.record import Record, read
from flows.actions.render import known_templates, render, to_html, to_pdf
from protocols.errors import InvalidInput, UnknownThing
from protocols.model import LOCALES, Protocol
from protocols.state import StepKey, StepState, StepStatus
from sites import releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.inbox import protocol_of
from sites.ledger import Ledger
from sites.settings import Settings
from sites.signing import unasked
from sites.tables import Assignment, Document, Person, Site

START = datetime(2027, 1, 14, 8, tzinfo=UTC)
CODES = {"CAEN": "CHU Caen Normandie", "LILLE": "CHU <b>Lille</b> & Sud", "VIRE": "Centre hospitalier de Vire"}
ROLES = ("project_manager", "methodologist", "ethics_officer", "data_protection_officer", "patient_representative")
SITE_ROLES = ("site_coordinator", "principal_investigator")
REQUEST = "Préciser la procédure d'arrêt <script>alert(1)</script>"
ANSWERS: dict[str, dict[str, Any]] = {
    "protocol_review": {"synopsis_version": "1.0", "sample_size_justified": True},
    "data_protection": {"reference_methodology": "MR-001", "residual_risk": "low"},
    "site_agreement": {"signed_on": "2027-01-15", "insurance_checked": True},
    "onboarding": {"visit_date": "2027-01-15", "trained_staff": 4, "kits_received": 12, "network_tested": True},
    "baseline": {"screened": 40, "included": 11, "consents_checked": True},
    "stay": {"operated": 10, "trained_before_discharge": 9, "incidents": 0},
    "follow_up": {"completed_d90": 8, "sus_scores": [{"participant": f"P{n}", "score": 60 + 2.5 * n} for n in range(8)]},
}


def answers(step: StepState) -> dict[str, Any]:
    if step.key.step != "ethics":
        return ANSWERS[step.key.step]
    opinion = {"opinion_date": "2027-01-15", "reference": f"CPP-{step.round}"}
    return opinion | ({"opinion": "changes_requested", "requests": REQUEST} if step.round == 1 else {"opinion": "favourable"})


def settle(database: Database) -> None:
    """The protocol, three sites, and one person for each role and site."""
    database.migrate()
    releases.add(database, (files("protocols") / "library" / "telerehab-hip.yaml").read_text("utf-8"), SetClock(START))
    place = {"kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"}
    holders = [(role, "") for role in ROLES] + [(role, site) for role in SITE_ROLES for site in CODES]
    with database.write() as connection:
        connection.execute(insert(table(Site)), [place | {"code": code, "name": name} for code, name in CODES.items()])
        for role, site in holders:
            person = {"id": f"{role}{site}", "name": f"Name of {role} {site}", "email": f"{role}{site}@example.org"}
            connection.execute(insert(table(Person)).values(person | {"locale": "fr", "channels": []}))
            connection.execute(insert(table(Assignment)).values(person=person["id"], role=role, site=site, experiment=""))


def play(database: Database, until: StepKey, number: int = 1) -> tuple[Ledger, str]:
    """Act for everyone until that round of a step is reached. VIRE is stopped, LILLE is late, the first ethics opinion is a return."""
    clock = SetClock(START)
    ledger = Ledger(database, clock)
    launch = {"planned_start": "2027-03-01", "target_participants": 40, "grant_eur": 250000}
    code = ledger.launch("telerehab-hip", list(CODES), launch, "project_manager", title="ReHip & co")["code"]
    for site in CODES:
        people = {"investigator": f"principal_investigator{site}", "coordinator": f"site_coordinator{site}"}
        qualify_site(ledger, code, site, manager="project_manager", **people)
    protocol = protocol_of(database, code)
    for _ in range(200):
        state = read(database, code).state
        reached = state.step(until)
        if reached.status.is_live and reached.round == number:
            return ledger, code
        step = next(step for step in state.steps.values() if step.status.is_live)
        clock.advance(timedelta(days=1))
        act(ledger, clock, code, protocol, step)
    raise AssertionError(f"{until} was never reached")


def act(ledger: Ledger, clock: SetClock, code: str, protocol: Protocol, step: StepState) -> None:
    name = f"{code}:{step.key.step}:{step.key.site}:{step.round}"
    planned = next(planned for planned in protocol.steps if planned.id == step.key.step)
    assert planned.checkpoint is not None
    if step.status is StepStatus.WORKING:
        ledger.record_action(name, step.actions_done, {})
    elif step.key == StepKey("follow_up", "VIRE"):
        ledger.stop(code, "project_manager", "Investigatrice mutée", site="VIRE")
    elif step.key == StepKey("stay", "LILLE") and not step.overdue and step.due_at:
        clock.set(step.due_at + timedelta(days=1))
        ledger.fire_timers()
    elif not step.leads_to:
        ledger.complete(name, answers(step), f"{planned.checkpoint.role}{step.key.site}")
    else:
        wanted = planned.checkpoint.signatures[len(step.signatures)].role
        ledger.sign(name, f"{wanted}{step.key.site if wanted in SITE_ROLES else ''}", prove=unasked)


def context(ledger: Ledger, code: str, step: str, site: str = "", number: int = 1, locale: str = "fr") -> ActionContext:
    settings = Settings(data=Path(), database_url=ledger.database.url)
    protocol = protocol_of(ledger.database, code)
    return ActionContext(code, step, site, number, ledger, ledger.database, settings, protocol, locale)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, str]]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('played') / 'insitu.db'}")
    settle(database)
    yield play(database, StepKey("evaluation"))
    database.dispose()


@pytest.fixture(scope="module")
def protocol(played: tuple[Ledger, str]) -> Protocol:
    return protocol_of(played[0].database, played[1])


@pytest.fixture(scope="module")
def record(played: tuple[Ledger, str]) -> Record:
    return read(played[0].database, played[1])


class Outline(HTMLParser):
    """What a reader with a screen reader meets: headings, captions, header cells; and whatever asks for something from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.language, self.tags, self.outside, self.cells_without_scope = "", [], [], 0
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if "svg" not in self.tags[-1:]:  # a drawing has its own words and shapes
            self.tags.append(tag)
        if tag == "html":
            self.language = given.get("lang") or ""
        if tag == "th" and "scope" not in given:
            self.cells_without_scope += 1
        local = ("#", "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
        links = [given.get(name) or "#" for name in ("src", "href", "xlink:href", "action", "data")]
        self.outside += [link for link in links if not link.startswith(local)]

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg":
            self.tags.append("/svg")

    def count(self, tag: str) -> int:
        return self.tags.count(tag)


def document(protocol: Protocol, record: Record, template: str, locale: str) -> str:
    site = "LILLE" if template == "site-pack" else ""
    return to_html(template, Page(protocol, record, locale, "evaluation", site))


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("template", sorted(known_templates()))
def test_a_document_stands_alone_and_can_be_heard(protocol: Protocol, record: Record, template: str, locale: str) -> None:
    outline = Outline(document(protocol, record, template, locale))
    assert outline.language == locale
    assert outline.count("h1") == outline.count("main") == 1
    assert outline.count("table") == outline.count("caption") > 2
    assert outline.cells_without_scope == 0
    assert not outline.outside
    assert not {"script", "link", "iframe", "img", "object", "b"} & set(outline.tags)  # LILLE's name holds a tag, and so does a request


@pytest.mark.parametrize("template", sorted(known_templates()))
def test_both_languages_say_the_same_things_in_their_own_words(protocol: Protocol, record: Record, template: str) -> None:
    french, english = (Outline(document(protocol, record, template, locale)) for locale in ("fr", "en"))
    assert french.tags == english.tags


def test_every_word_is_there_in_both_languages_with_the_same_blanks() -> None:
    french, english = (words.WORDS[locale] for locale in LOCALES)
    assert set(french) == set(english)
    assert all(french[key].count("{") == english[key].count("{") for key in french)


def test_the_ethics_dossier_of_a_second_round_carries_the_committees_first_requests(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'insitu.db'}")
    settle(database)
    ledger, code = play(database, StepKey("ethics"), 2)
    made = render(context(ledger, code, "ethics", number=2), template="ethics-dossier")
    html = ledger.document(made["documents"][0]["hash"])["content"].decode()
    for said in (
        "telerehab-hip 1.1.0",
        read(database, code).protocol_hash,
        "IIa",
        "CPP-1",
        "Préciser la procédure d&#39;arrêt &lt;script&gt;",
        "Référent éthique et réglementaire",
        "45 jours, fin reportée si fériée",
    ):
        assert said in html
    assert made["documents"][0]["name"] == f"{code}-ethics-dossier-2.html"
    database.dispose()


def test_a_site_pack_gives_the_sites_own_deadlines_forms_and_signers(protocol: Protocol, record: Record) -> None:
    html = to_html("site-pack", Page(protocol, record, "fr", "onboarding", "LILLE"))
    due = record.step("follow_up", "LILLE").due_at
    assert due is not None
    for said in (
        "CHU &lt;b&gt;Lille&lt;/b&gt; &amp; Sud",
        numbers.day(due, "fr", "Europe/Paris"),
        "Formulaire à imprimer&#160;: Suivi à domicile et J90",
        "J&#39;autorise les inclusions",
    ):
        assert said in html
    assert "Avis du représentant des patients" not in html


def test_the_report_tells_returns_delays_early_ends_figures_and_signatures(protocol: Protocol, record: Record) -> None:
    html = to_html("evaluation-report", Page(protocol, record, "en", "evaluation"))
    page = Page(protocol, record, "en", "evaluation")
    gates = {(row[0], row[1], row[2]): row for row in page.gates}
    assert gates["Ethics opinion (CPP)", "–", "1"][3] == "Returned"
    assert gates["Ethics opinion (CPP)", "–", "2"][3] == "Passed"
    assert gates["Stay and tablet training", "LILLE", "1"][7].startswith("Yes, since")
    # VIRE's stay opened a day after LILLE's and was left unanswered just as long.
    assert {(row[0], row[1]) for row in page.gates if row[7] != "No"} == {("Stay and tablet training", site) for site in ("LILLE", "VIRE")}
    (ending,) = page.endings
    assert (ending[0], ending[2], ending[3]) == ("VIRE", "Name of project_manager ", "Investigatrice mutée")
    assert len(page.signatures) == sum(len(state.signatures) for state in (*record.past, *record.state.steps.values())) >= 10
    # Eight scores from 60 to 77.5 by 2.5 at each of two sites: their mean and median are both 68.75.
    assert "68.75" in html
    assert "VIRE (stopped)" in html
    assert "<svg role='img'" in html


def test_evaluating_twice_gives_the_same_result_and_stores_one_drawing(played: tuple[Ledger, str]) -> None:
    ledger, code = played
    asked = context(ledger, code, "evaluation")
    first = evaluate(asked)
    stored = documents(ledger)
    assert evaluate(asked) == first
    assert documents(ledger) == stored
    # 60, 62.5 … 77.5, each twice: the quartiles stand at positions 4.75 and 12.25 of 16.
    scores = next(figure for figure in first["figures"] if figure["column"] == "score")["pooled"]
    assert (scores["n"], scores["mean"], scores["q1"], scores["q3"]) == (16, 68.75, 64.375, 73.125)
    drawing = ledger.document(first["documents"][0]["hash"])
    assert (drawing["media_type"], drawing["content"][:4]) == ("image/svg+xml", b"<svg")


def test_rendering_twice_stores_once(played: tuple[Ledger, str]) -> None:
    ledger, code = played
    asked = context(ledger, code, "onboarding", "CAEN", locale="en")
    first = render(asked, template="site-pack")
    stored = documents(ledger)
    assert render(asked, template="site-pack") == first
    assert documents(ledger) == stored
    assert all(hashlib.sha256(ledger.document(one["hash"])["content"]).hexdigest() == one["hash"] for one in first["documents"])


def test_without_the_system_libraries_the_html_stays_and_a_note_says_why(
    played: tuple[Ledger, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, code = played
    (tmp_path / "weasyprint.py").write_text("raise OSError(\"cannot load library 'libpango-1.0-0'\")")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    made = render(context(ledger, code, "ethics"), template="ethics-dossier")
    assert [one["media_type"] for one in made["documents"]] == ["text/html"]
    assert "libpango" in made["pdf_note"]


def test_a_site_pack_asked_for_by_the_experiment_is_made_for_every_active_site(played: tuple[Ledger, str]) -> None:
    ledger, code = played
    made = render(context(ledger, code, "evaluation"), template="site-pack")
    pages = [one["name"] for one in made["documents"] if one["media_type"] == "text/html"]
    assert pages == [f"{code}-CAEN-site-pack-1.html", f"{code}-LILLE-site-pack-1.html"]


def test_an_unknown_template_is_named_with_the_nearest_one(played: tuple[Ledger, str]) -> None:
    ledger, code = played
    with pytest.raises(InvalidInput, match=r"'ethics-dosier'.*did you mean 'ethics-dossier'"):
        render(context(ledger, code, "ethics"), template="ethics-dosier")


def test_an_unknown_experiment_has_no_record(played: tuple[Ledger, str]) -> None:
    with pytest.raises(UnknownThing):
        read(played[0].database, "NOWHERE-1")


def test_another_process_an_hour_away_makes_the_same_bytes(protocol: Protocol, record: Record, tmp_path: Path) -> None:
    html = document(protocol, record, "site-pack", "fr")
    html = html.replace("</main>", f"{Page(protocol, record, 'fr', 'evaluation').plot}</main>")
    pdf, problem = to_pdf(html)
    if pdf is None:
        pytest.skip(f"this machine makes no PDF: {problem}")
    (tmp_path / "report.html").write_text(html, "utf-8")
    script = (
        "import hashlib, pathlib, sys; from flows.actions.render import to_pdf;"
        "print(hashlib.sha256(to_pdf(pathlib.Path(sys.argv[1]).read_text('utf-8'))[0]).hexdigest())"
    )
    elsewhere = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", script, str(tmp_path / "report.html")]
    other = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(pdf).hexdigest()
    assert pdf.startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("value", "french", "english"),
    [
        (None, "–", "–"),
        (0.0, "0", "0"),
        (3, "3", "3"),
        (77.5, "77,5", "77.5"),
        (76.73076923, "76,73", "76.73"),
        (0.004321, "0,00432", "0.00432"),
        (-1234.5, "-1\u202f234,5", "-1,234.5"),
        (250000, "250\u202f000", "250,000"),
        (0.9999, "1", "1"),
    ],
)
def test_numbers_are_written_as_each_language_does(value: float | None, french: str, english: str) -> None:
    assert (numbers.written(value, "fr"), numbers.written(value, "en")) == (french, english)


def test_a_moment_is_written_on_the_wall_of_its_site() -> None:
    late = datetime(2027, 12, 31, 23, 30, tzinfo=UTC)
    assert numbers.minute(late, "fr", "Europe/Paris") == "1\u00a0janvier\u00a02028, 00:30 (UTC+01:00)"
    assert numbers.day(late, "en", "America/Martinique") == "31\u00a0December\u00a02027"
    assert numbers.day("2027-03-01", "en") == "1\u00a0March\u00a02027"


def documents(ledger: Ledger) -> int:
    with ledger.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table(Document))).scalar_one())
