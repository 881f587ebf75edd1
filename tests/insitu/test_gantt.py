"""The Gantt chart: bars from a state, and the drawing of bars."""

from __future__ import annotations

from datetime import date, timedelta
from xml.etree import ElementTree

import pytest
from small import SMALL, launch, to_setup
from visit import Visit, doors_on

from insitu.entrance.language import language
from insitu.web.experiment import gantt
from insitu.web.experiment.gantt import Bar
from sites import releases
from sites.board import keys_of
from sites.clock import SetClock
from sites.database import Database
from sites.ledger import Ledger
from sites.snapshot import find, load

MONDAY = date(2026, 3, 2)


@pytest.fixture
def ledger(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Ledger:
    releases.add(sqlite_database, SMALL, clock, "protocol.yaml")
    return Ledger(sqlite_database, clock)


def bars(ledger: Ledger, code: str, *sites: str) -> dict[tuple[str, str], Bar]:
    """The bars by step and site; of some sites only when these are named."""
    with ledger.database.read() as connection:
        loaded = load(connection, find(connection, code))
    keys = [key for key in keys_of(loaded.plan, loaded.state) if not sites or key.site in ("", *sites)]
    found = gantt.bars(loaded.plan, loaded.state, keys, ledger.clock.now(), "en")
    return {(one.step, one.site): one for one in found}


def days(*numbers: int) -> tuple[date, ...]:
    return tuple(MONDAY + timedelta(days=number) for number in numbers)


def test_what_is_to_come_is_reckoned_from_the_deadlines_before_it(ledger: Ledger) -> None:
    found = bars(ledger, launch(ledger))
    review, ethics, setup, closure = (found[key] for key in (("review", ""), ("ethics", ""), ("setup", "CAEN"), ("closure", "")))
    assert (review.planned, review.real, review.due) == (days(0, 10), (MONDAY, None), MONDAY + timedelta(days=10))
    assert (ethics.planned, ethics.real, ethics.is_forecast) == (days(10, 10), None, True)
    assert setup.planned == days(10, 15)
    assert closure.planned == days(15, 15)


def test_what_was_done_has_its_real_time(ledger: Ledger, clock: SetClock) -> None:
    code = launch(ledger)
    clock.advance(timedelta(days=3))
    names = to_setup(ledger, code)
    clock.advance(timedelta(days=9))
    ledger.complete(names[0], {"ready": True}, "nurse.caen")
    found = bars(ledger, code)
    assert found["review", ""].real == days(0, 3)
    assert (found["setup", "CAEN"].real, found["setup", "CAEN"].planned) == (days(3, 12), days(3, 8))
    assert (found["setup", "METZ"].real, found["setup", "METZ"].late) == ((MONDAY + timedelta(days=3), None), True)
    # METZ is late already: the closure cannot come before today.
    assert found["closure", ""].planned == days(12, 12)


def test_nothing_is_reckoned_from_a_site_not_seen(ledger: Ledger, clock: SetClock) -> None:
    code = launch(ledger)
    names = to_setup(ledger, code)
    ledger.complete(names[0], {"ready": True}, "nurse.caen")
    assert bars(ledger, code, "CAEN")["closure", ""].planned == days(0, 0)
    assert bars(ledger, code)["closure", ""].planned == days(5, 5)


def test_a_stopped_experiment_has_nothing_to_come(ledger: Ledger) -> None:
    code = launch(ledger)
    ledger.stop(code, "project_manager", "no money")
    assert {one.planned for key, one in bars(ledger, code).items() if key[0] != "review"} == {None}


def bar(**changes: object) -> Bar:
    given: dict[str, object] = {
        "step": "s", "title": "Step <b>&amp;", "site": "", "phase": "before", "round": 1, "status": "open", "late": False,
        "planned": days(0, 10), "real": (MONDAY, None), "due": MONDAY + timedelta(days=10), "is_forecast": False,
    }  # fmt: skip
    return Bar(**(given | changes))  # type: ignore[arg-type]


def drawn(*found: Bar) -> ElementTree.Element:
    svg = gantt.draw(
        found,
        MONDAY + timedelta(days=5),
        title="T <1>",
        desc="D",
        month=lambda day: gantt.month(day, language("fr").locale),
        today_word="aujourd’hui",
    )
    return ElementTree.fromstring(str(svg))


def classes(svg: ElementTree.Element) -> list[str]:
    return [one.attrib["class"] for one in svg if "class" in one.attrib]


def test_a_drawing_is_well_formed_named_and_without_styles() -> None:
    svg = drawn(bar(), bar(title="x" * 10_000, site="METZ"))
    assert svg.attrib["role"] == "img"
    assert [one.text for one in svg[:2]] == ["T <1>", "D"]
    assert next(one.text for one in svg if one.attrib.get("class") == "label") == "Step <b>&amp;"
    assert all(len(one.text or "") <= gantt.LONGEST_LABEL for one in svg if one.attrib.get("class") == "label")
    assert not any("style" in one.attrib for one in svg.iter())


def test_each_bar_shows_planned_real_and_deadline() -> None:
    svg = drawn(bar(), bar(late=True), bar(real=None, due=None, is_forecast=True), bar(planned=None, real=None, due=None))
    counted = {name: classes(svg).count(name) for name in ("planned", "forecast", "real", "late", "due", "today", "label")}
    assert counted == {"planned": 2, "forecast": 1, "real": 1, "late": 1, "due": 2, "today": 1, "label": 4}
    real = next(one for one in svg if one.attrib.get("class") == "real")
    today = next(one for one in svg if one.attrib.get("class") == "today")
    end = int(real.attrib["x"]) + int(real.attrib["width"])
    assert today.attrib["d"].startswith(f"M{end} ")  # what is under way goes on until today


def test_a_drawing_of_nothing_and_one_of_ten_years_both_fit() -> None:
    assert drawn() is not None
    svg = drawn(bar(planned=(MONDAY, MONDAY + timedelta(days=3660))))
    assert classes(svg).count("month") <= 13
    assert all(0 <= int(one.attrib["x"]) <= gantt.WIDTH + 5 for one in svg if "x" in one.attrib)


def test_the_page_narrows_to_a_site_or_a_phase(ledger: Ledger, clock: SetClock) -> None:
    code = launch(ledger)
    visit = Visit(doors_on(ledger.database, clock)).sign_in("project_manager")
    rows = lambda query: visit.get(f"/experiments/{code}/timeline?{query}").text.count('class="label"')  # noqa: E731
    assert [rows(query) for query in ("", "site=CAEN", "phase=closure", "site=NOPE&phase=nope")] == [5, 4, 1, 5]


def test_a_drawing_too_long_to_read_shows_one_site_at_a_time() -> None:
    many = [bar(site=f"S{number}") for number in range(300)] + [bar()]
    assert len(gantt.chosen(many, "S7", "")) == 2
    assert gantt.chosen(many, "", "after") == []
