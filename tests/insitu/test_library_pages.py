"""The library: each version readable, drawn and in words; protocols added with every problem shown."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from small import SMALL, launch
from sqlalchemy import insert
from visit import Visit, doors_on

from insitu.entrance.language import language
from insitu.web.library_diagram import BOX_WIDTH, diagram, overlaps, wrapped
from insitu.web.library_words import Reading
from protocols.model import Protocol, canonical, content_hash
from protocols.parsing import parse
from sites import releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.tables import Release

LIBRARY = sorted(entry.name for entry in (files("protocols") / "library").iterdir() if entry.name.endswith(".yaml"))


def protocol(name: str) -> Protocol:
    return parse((files("protocols") / "library" / name).read_text("utf-8"), name).protocol


def long_protocol(steps: int) -> Protocol:
    """Steps that all come after the first, and one after all of them: the widest there is."""
    middle = "".join(f"\n  - {{id: s{n}, title: Step {n}, phase: preparation, after: [first]}}" for n in range(steps - 2))
    names = ", ".join(f"s{n}" for n in range(steps - 2))
    head = SMALL[: SMALL.index("steps:")]
    first, last = (
        "\n  - {id: first, title: First, phase: preparation}",
        f"\n  - {{id: last, title: Last, phase: closure, after: [{names}]}}",
    )
    return parse(f"{head}steps:{first}{middle}{last}\n").protocol


@pytest.fixture
def ledger(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Ledger:
    releases.add(sqlite_database, SMALL, clock)
    return Ledger(sqlite_database, clock)


@pytest.fixture
def visit(ledger: Ledger, clock: SetClock) -> Visit:
    return Visit(doors_on(ledger.database, clock))


# ------------------------------------------------------------------ the drawing


@pytest.mark.parametrize("found", [*map(protocol, LIBRARY), long_protocol(40)], ids=lambda one: f"{one.id}-{len(one.steps)}")
def test_a_drawing_has_every_step_once_none_on_another_and_all_inside(found: Protocol) -> None:
    drawn = diagram(found, "en")
    assert sorted(box.step for box in drawn.boxes) == sorted(step.id for step in found.steps)
    assert overlaps(drawn) == []
    assert all(box.left >= 0 and box.left + BOX_WIDTH <= drawn.width and box.bottom <= drawn.height for box in drawn.boxes)
    inside = {(band.phase, box.step) for band in drawn.bands for box in drawn.boxes if band.top <= box.top < band.top + band.height}
    assert inside == {(step.phase, step.id) for step in found.steps}


def test_a_step_stands_below_those_of_its_phase_that_it_comes_after() -> None:
    found = protocol("telerehab-hip.yaml")
    top = {box.step: box.top for box in diagram(found, "en").boxes}
    phase = {step.id: step.phase for step in found.steps}
    pairs = [(after.step, step.id) for step in found.steps for after in step.after if phase[after.step] is step.phase]
    assert pairs
    assert all(top[before] < top[later] for before, later in pairs)


def test_an_arrow_leads_from_each_step_to_those_after_it_and_back_where_it_returns() -> None:
    found = protocol("telerehab-hip.yaml")
    drawn = diagram(found, "en")
    assert {(one.start, one.end) for one in drawn.arrows if not one.goes_back} == {
        (after.step, step.id) for step in found.steps for after in step.after
    }
    assert {(one.start, one.end) for one in drawn.arrows if one.goes_back} == {
        ("ethics", "protocol_review"),
        ("data_protection", "protocol_review"),
    }


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("Review", ("Review",)),
        ("", ("",)),
        ("One two three four five six seven", ("One two three four five", "six seven")),
        ("w" * 60, ("w" * 23 + "…",)),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3, ("a b c d e f g h i j k l", "m n o p q r s t u v w x…")),
    ],
)
def test_a_title_is_cut_to_fit_its_box(title: str, lines: tuple[str, ...]) -> None:
    assert wrapped(title) == lines


# ------------------------------------------------------------------ the words


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("answers.sound", "“Sound” is yes"),
        ("!answers.sound", "“Sound” is no"),
        ("answers.sound && answers.comments == 'x'", "“Sound” is yes and “Comments” is “x”"),
        ("answers.sound && (answers.sound || !answers.sound)", "“Sound” is yes and (“Sound” is yes or “Sound” is no)"),
        ("launch.target >= 2", "“Target” of the launch is at least 2"),
        ("double(launch.target) / 2.0 < 0.5", "“Target” of the launch ÷ 2 is less than 0.5"),
        ("steps.ethics.answers.opinion != 'no'", "“Opinion” of “Opinion” is not “no”"),
        ("steps.ethics.status == 'passed'", "the state of “Opinion” is “passed”"),
        ("sites.active > 1", "the number of active sites is more than 1"),
        ("true", ""),
        ("answers.nothing", ""),
        ("sites_of.setup.all(s, s.answers.ready)", ""),
        ("answers.sound &&", ""),
        ("((((", ""),
        ("", ""),
        ("!" * 3000 + "answers.sound", ""),
    ],
)
def test_a_condition_is_said_in_words_or_left_as_it_is_written(source: str, words: str) -> None:
    assert Reading(parse(SMALL).protocol, language("en")).condition(source, "review") == words


# ------------------------------------------------------------------ the pages


def test_whoever_holds_a_role_reads_the_library_and_their_own_sites_alone(visit: Visit, ledger: Ledger) -> None:
    launch(ledger)
    assert visit.get("/library").headers.get("location") != ("1 experiment ", "CAEN, METZ")
    manager = visit.sign_in("project_manager").get("/library").text
    nurse = visit.sign_in("nurse.caen").get("/library").text
    nobody = visit.sign_in("nobody").get("/library").text
    assert "CAEN, METZ" in manager
    assert ["CAEN" in nurse, "METZ" in nurse, "CAEN" in nobody, "Small" in nobody] == [True, False, False, False]
    assert ["1 experiment" in text for text in (manager, nurse, nobody)] == [True, True, False]


def test_a_version_is_readable_from_the_first_step_to_the_last(visit: Visit) -> None:
    text = visit.sign_in("methodologist").get("/library/small/1.0.0").text
    for said in (
        "Target",
        "whole number, from 1",
        "Ethics officer",
        "<q>I certify</q>",
        "(another person than those before)",
        "“Sound” is yes",
        "Calendar days from the day after the opening",
        "3 days before",
        "Sponsor is told after 2 days",
        "prepares the document “site-pack”",
        "(at every site)",
        '<svg class="diagram" role="img"',
    ):
        assert said in text, said
    assert "style=" not in text


@pytest.mark.parametrize("name", LIBRARY)
def test_the_page_of_every_protocol_stays_under_its_weight(visit: Visit, clock: SetClock, name: str) -> None:
    added = releases.add(visit.doors.database, (files("protocols") / "library" / name).read_text("utf-8"), clock)
    answer = visit.sign_in("methodologist").get(f"/library/{added['id']}/{added['version']}")
    assert (answer.status_code, len(answer.content) < 100_000) == (200, True)
    ids = re.findall(r' id="([^"]+)"', answer.text)
    assert len(ids) == len(set(ids))


def test_the_source_is_the_text_as_it_was_added(visit: Visit) -> None:
    answer = visit.sign_in("methodologist").get("/library/small/1.0.0/source")
    assert (answer.text, answer.headers["content-disposition"]) == (SMALL, 'attachment; filename="small-1.0.0.yaml"')


def test_the_short_address_leads_to_the_latest_version(visit: Visit, clock: SetClock) -> None:
    releases.add(visit.doors.database, SMALL.replace("1.0.0", "1.10.0"), clock)
    releases.add(visit.doors.database, SMALL.replace("1.0.0", "1.9.0"), clock)
    assert visit.sign_in("methodologist").get("/library/small").headers["location"] == "/library/small/1.10.0"


def test_a_pre_release_is_the_latest_only_where_there_is_nothing_else(visit: Visit, clock: SetClock) -> None:
    releases.add(visit.doors.database, SMALL.replace("1.0.0", "1.1.0-rc.1"), clock)
    assert visit.sign_in("methodologist").get("/library/small").headers["location"] == "/library/small/1.0.0"


def test_what_a_released_protocol_says_without_effect_is_said_on_its_page(visit: Visit, clock: SetClock) -> None:
    text = SMALL.replace("id: small", "id: older").replace("gate: {pass: answers.ready}", "gate: {pass: participants.complete >= 40}")
    protocol = parse(text + "incidents: {anything: at all}\n").protocol
    row = {"hash": content_hash(protocol), "id": "older", "version": "1.0.0", "content": canonical(protocol), "source": text}
    with visit.doors.database.write() as connection:
        connection.execute(insert(table(Release)), row | {"added_at": clock.now()})
    page = visit.sign_in("methodologist").get("/library/older/1.0.0").text
    shown = re.search(r"<dt>Without effect</dt><dd>(.*?)</dd>", page)
    assert shown is not None
    assert re.findall(r"<code>(\w+)</code>", shown[1]) == ["incidents", "participants"]
    assert "Without effect" not in visit.get("/library/small/1.0.0").text


@pytest.mark.parametrize("path", ["/library/none", "/library/small/9.9.9", "/library/small/9.9.9/source", "/library/small/../x"])
def test_a_protocol_that_is_not_there_is_not_found(visit: Visit, path: str) -> None:
    assert visit.sign_in("methodologist").get(path).status_code == 404


# ------------------------------------------------------------------ adding


def test_only_a_manager_of_everything_adds(visit: Visit) -> None:
    visit.sign_in("methodologist")
    assert visit.get("/library/add").status_code == 403
    assert "/library/add" not in visit.get("/library").text


def test_a_protocol_is_added_from_a_file_once_what_is_worth_reading_was_read(visit: Visit) -> None:
    visit.sign_in("project_manager")
    newer = SMALL.replace("version: 1.0.0", "version: 2.0.0")
    file = {"file": ("small.yaml", newer.encode(), "application/yaml")}
    answer = visit.post("/library/add", of="/library/add", files=file)
    assert (answer.status_code, "unused_role" in answer.text) == (422, True)  # a warning stops nothing, but is shown once
    answer = visit.post("/library/add", {"text": newer, "sure": "1"}, of="/library/add")
    assert (answer.status_code, answer.headers["location"]) == (303, "/library/small/2.0.0")
    assert visit.get("/library/small/2.0.0").status_code == 200


def test_every_problem_is_shown_with_its_line_and_the_text_stays(visit: Visit) -> None:
    visit.sign_in("project_manager")
    broken = SMALL.replace("after: [review]", "after: [reviw]").replace("role: site_coordinator\n", "role: coordinater\n")
    answer = visit.post("/library/add", {"text": broken}, of="/library/add")
    lines = {broken[: broken.index(word)].count("\n") + 1 for word in ("after: [reviw]", "role: coordinater")}
    assert answer.status_code == 422
    assert all(f"Line {line}<" in answer.text for line in lines)
    assert "after: [reviw]" in answer.text


def test_text_that_is_no_protocol_is_refused_and_stays_as_typed(visit: Visit) -> None:
    visit.sign_in("project_manager")
    for typed in ("<b>not a protocol</b>", "- &a [*a]", "x: [", "🦴 ‮", "{" * 2000):
        answer = visit.post("/library/add", {"text": typed}, of="/library/add")
        assert answer.status_code == 422, typed
        assert "<b>not" not in answer.text


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00x", "not UTF-8"), (b"x" * (1024 * 1024 + 1), "too large")],
)
def test_a_file_that_is_no_text_is_refused(visit: Visit, content: bytes, said: str) -> None:
    visit.sign_in("project_manager")
    answer = visit.post("/library/add", of="/library/add", files={"file": ("x.yaml", content, "application/yaml")})
    assert (answer.status_code, said in answer.text) == (422, True)


def test_a_version_that_was_released_with_other_content_is_refused(visit: Visit) -> None:
    visit.sign_in("project_manager")
    other = SMALL.replace("Small", "Smaller")
    answer = visit.post("/library/add", {"text": other, "sure": "1"}, of="/library/add")
    assert (answer.status_code, "was released with other content" in answer.text) == (422, True)
