"""Figures against published data read in place, and against the standard library, which computes exactly."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.actions.plot import draw
from flows.actions.statistics import describe, evaluation, figures, tally
from protocols.clocks import Place
from protocols.model import Protocol
from protocols.parsing import parse
from protocols.state import SiteInfo, SiteState, State, StepKey, StepState, StepStatus

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "evaluation"
TRIALS = PUBLISHED / "trials" / "higgi13425__medicaldata" / "data"
SUS = PUBLISHED / "sus" / "jpfolador__susEvaluation" / "usability-db-en.csv"
DATASETS = PUBLISHED / "stats" / "raphaelvallat__pingouin" / "src" / "pingouin" / "datasets"

PROTOCOL = """
insitu: 1
id: measures
version: 1.0.0
title: Measures
solution: {name: Sensor}
roles:
  coordinator: {scope: site, title: Coordinator}
  manager: {scope: experiment, title: Manager}
steps:
  - id: review
    title: Review
    phase: preparation
    checkpoint:
      role: manager
      form:
        - {id: risk, type: choice, options: [low, high], label: Risk}
        - {id: budget, type: number, unit: EUR, label: Budget}
  - id: measure
    title: Measure
    phase: during
    scope: site
    after: [review]
    checkpoint:
      role: coordinator
      form:
        - {id: included, type: integer, label: "Included <b> $x$"}
        - {id: blocked, type: boolean, label: Blocked}
        - {id: blocked_days, type: integer, show_if: answers.blocked, label: Days blocked}
        - {id: means, type: choices, options: [phone, visit, letter], label: Means}
        - {id: comment, type: text, label: Comment}
        - id: rows
          type: table
          label: Rows
          columns:
            - {id: participant, type: text, label: Participant}
            - {id: value, type: number, label: Value, unit: mg/L}
            - {id: arm, type: choice, options: [sulindac, placebo], label: Arm}
"""


def protocol() -> Protocol:
    return parse(PROTOCOL).protocol


def state(
    measured: Mapping[str, Mapping[str, Any]],
    *,
    review: Mapping[str, Any] | None = None,
    stopped: Iterable[str] = (),
    not_passed: Iterable[str] = (),
) -> State:
    """An experiment where each site has answered `measure`."""
    sites = {
        code: SiteInfo(code, f"Site {code}", "hospital", Place(), SiteState.STOPPED if code in set(stopped) else SiteState.ACTIVE)
        for code in measured
    }
    steps = {}
    for code, answers in measured.items():
        status = StepStatus.OPEN if code in set(not_passed) else StepStatus.PASSED
        steps[StepKey("measure", code)] = StepState(StepKey("measure", code), status=status, answers=answers)
    if review is not None:
        steps[StepKey("review")] = StepState(StepKey("review"), status=StepStatus.PASSED, answers=review)
    return State(sites=sites, steps=steps, active=len(sites))


def figure(result: dict[str, Any], field: str, column: str | None = None) -> dict[str, Any]:
    return next(found for found in result["figures"] if (found["field"], found["column"]) == (field, column))


def published(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    if not path.exists():
        pytest.skip(f"the published data set {path.name} is not on this machine")
    with path.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text, delimiter=delimiter))


def rows_by(rows: Iterable[Mapping[str, str]], site: str, value: str, arm: str | None = None) -> dict[str, dict[str, Any]]:
    """The data set as each site's table; an empty cell stays unanswered."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        cells: dict[str, Any] = {"participant": f"P{number}"}
        cells |= {"value": float(row[value])} if row[value] else {}
        cells |= {"arm": row[arm]} if arm else {}
        tables.setdefault(f"S{row[site]}", []).append(cells)
    return {code: {"rows": cells} for code, cells in tables.items()}


def exactly(values: Sequence[float]) -> dict[str, float]:
    """The same summary by the standard library, whose `inclusive` quantiles are type 7."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {
        "n": len(values),
        "total": sum(values),
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values),
        "median": middle,
        "q1": low,
        "q3": high,
        "iqr": high - low,
        "min": min(values),
        "max": max(values),
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # By hand: type 7 puts the quartiles of n values at positions 1 + (n - 1) / 4 and 1 + 3 (n - 1) / 4.
        ([1, 2, 3, 4], {"n": 4, "mean": 2.5, "q1": 1.75, "median": 2.5, "q3": 3.25, "iqr": 1.5, "total": 10}),
        # Squared deviations 9, 1, 1, 1, 0, 0, 4, 16 add up to 32, over 7.
        ([2, 4, 4, 4, 5, 5, 7, 9], {"mean": 5, "sd": 2.138089935, "median": 4.5, "min": 2, "max": 9}),
        ([7, None], {"n": 1, "missing": 1, "mean": 7, "sd": None, "median": 7, "q1": 7, "iqr": 0}),
        ([None, None], {"n": 0, "missing": 2, "mean": None, "sd": None, "min": None, "total": None}),
        ([0.1, 0.2], {"total": 0.3, "mean": 0.15}),
        ([3_000_000_017, 3_000_000_019], {"sd": 1.414213562, "max": 3_000_000_019}),
    ],
)
def test_a_summary_is_what_the_definitions_give(values: list[float | None], expected: dict[str, float]) -> None:
    found = describe(values)
    assert {key: found[key] for key in expected} == expected


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 3)), min_size=2, max_size=60), st.integers(0, 5))
def test_a_summary_agrees_with_the_standard_library_on_any_values(values: list[float], missing: int) -> None:
    found = describe([*values, *[None] * missing])
    scale = max(1.0, *map(abs, values))
    assert found.pop("missing") == missing
    assert found == pytest.approx(exactly(values), rel=1e-9, abs=1e-9 * scale)


def test_several_choices_are_each_a_share_of_those_who_answered() -> None:
    found = tally([["phone", "visit"], ["phone"], None], ["phone", "visit", "letter"])
    assert (found["n"], found["missing"]) == (2, 1)
    assert [(count["n"], count["percent"]) for count in found["counts"]] == [(2, 100.0), (1, 50.0), (0, 0.0)]


def test_theophylline_concentrations_give_the_summary_that_r_prints() -> None:
    result = evaluation(protocol(), state(rows_by(published(TRIALS / "Theoph.theoph.csv"), "Subject", "conc")))
    found = figure(result, "rows", "value")
    # summary(datasets::Theoph$conc) in R: 0.000 2.877 5.275 4.960 7.140 11.400, in four figures
    shown = [found["pooled"][key] for key in ("min", "q1", "median", "mean", "q3", "max")]
    assert shown == pytest.approx([0.0, 2.877, 5.275, 4.960, 7.140, 11.400], abs=6e-4)
    assert (found["pooled"]["n"], len(found["by_site"])) == (132, 12)
    assert {site["n"] for site in found["by_site"]} == {11}


@pytest.mark.parametrize(
    ("path", "site", "value"),
    [
        (TRIALS / "Theoph.theoph.csv", "Subject", "conc"),
        (TRIALS / "Indometh.indometh.csv", "Subject", "conc"),
        (TRIALS / "polyps.csv", "sex", "number12m"),
        (DATASETS / "tips.csv", "day", "total_bill"),
        (DATASETS / "rm_missing.csv", "Study", "BOLD"),
        (DATASETS / "ancova.csv", "Method", "Income"),
    ],
    ids=lambda part: part.stem if isinstance(part, Path) else part,
)
def test_published_data_give_the_exact_figures_by_site_and_pooled(path: Path, site: str, value: str) -> None:
    measured = rows_by(published(path), site, value)
    found = figure(evaluation(protocol(), state(measured)), "rows", "value")
    expected = {code: [row["value"] for row in answers["rows"] if "value" in row] for code, answers in measured.items()}
    absent = {code: len(answers["rows"]) - len(expected[code]) for code, answers in measured.items()}
    for summary in found["by_site"]:
        code = summary["site"]
        assert summary["missing"] == absent[code]
        assert {key: summary[key] for key in exactly(expected[code])} == pytest.approx(exactly(expected[code]), rel=1e-9)
    everyone = [number for numbers in expected.values() for number in numbers]
    assert found["pooled"] == pytest.approx({**exactly(everyone), "missing": sum(absent.values())}, rel=1e-9)


def test_the_polyps_trial_counts_its_arms_and_its_two_patients_lost_at_twelve_months() -> None:
    result = evaluation(protocol(), state(rows_by(published(TRIALS / "polyps.csv"), "sex", "number12m", "treatment")))
    assert figure(result, "rows", "value")["pooled"]["missing"] == 2
    assert figure(result, "rows", "arm")["pooled"]["counts"] == [
        {"value": "sulindac", "n": 11, "percent": 50.0},
        {"value": "placebo", "n": 11, "percent": 50.0},
    ]


def test_usability_scores_of_thirty_six_judges_are_described_without_loss() -> None:
    judges = published(SUS, ";")
    items = [[int(answer) for answer in list(judge.values())[4:14]] for judge in judges]
    # Brooke 1996: odd items minus one, five minus even items, times 2.5
    scores = [2.5 * sum(item - 1 if number % 2 == 0 else 5 - item for number, item in enumerate(judge)) for judge in items]
    measured = {"CAEN": {"rows": [{"value": score} for score in scores]}}
    found = figure(evaluation(protocol(), state(measured)), "rows", "value")["pooled"]
    assert len(scores) == 36
    assert found == pytest.approx({**exactly(scores), "missing": 0}, rel=1e-9)


def test_only_what_was_shown_and_left_blank_is_missing() -> None:
    measured = {
        "A": {"blocked": True, "blocked_days": 4},
        "B": {"blocked": True},  # shown, not answered
        "C": {"blocked": False},  # never shown
        "D": {},  # cannot have been shown either
    }
    result = evaluation(protocol(), state(measured))
    days, blocked = figure(result, "blocked_days"), figure(result, "blocked")
    assert (days["pooled"]["n"], days["pooled"]["missing"], [site["site"] for site in days["by_site"]]) == (1, 1, ["A", "B"])
    assert (blocked["pooled"]["n"], blocked["pooled"]["missing"]) == (3, 1)


def test_a_site_that_has_not_passed_is_left_out_and_a_stopped_one_that_had_is_marked() -> None:
    measured = {"A": {"included": 3}, "B": {"included": 5}, "C": {"included": 100}}
    result = evaluation(protocol(), state(measured, stopped=["B"], not_passed=["C"]))
    found = figure(result, "included")
    assert found["by_site"] == [{"site": "A", "stopped": False, "value": 3}, {"site": "B", "stopped": True, "value": 5}]
    assert (found["pooled"]["n"], found["pooled"]["total"]) == (2, 8)
    assert [site["state"] for site in result["sites"]] == ["active", "stopped", "active"]


def test_a_step_of_the_experiment_counts_once_however_many_sites_there_are() -> None:
    result = evaluation(protocol(), state({"A": {}, "B": {}}, review={"risk": "low", "budget": 1200.5}))
    assert (figure(result, "budget")["per"], figure(result, "budget")["by_site"]) == ("experiment", [])
    assert figure(result, "budget")["pooled"]["n"] == 1
    assert figure(result, "risk")["pooled"]["counts"][0] == {"value": "low", "n": 1, "percent": 100.0}


def test_no_text_and_no_participant_enters_the_result() -> None:
    measured = {"A": {"comment": "Mrs Doe fell", "rows": [{"participant": "Doe", "value": 1.0}]}}
    assert "Doe" not in json.dumps(evaluation(protocol(), state(measured)))


def test_the_order_in_which_steps_were_passed_changes_nothing() -> None:
    measured = {code: {"included": number, "rows": [{"value": number / 3}]} for number, code in enumerate("ABC")}
    forward, backward = state(measured), state(measured)
    backward.steps = dict(reversed(backward.steps.items()))
    assert evaluation(protocol(), forward) == evaluation(protocol(), backward)
    assert draw(figures(protocol(), forward), "fr") == draw(figures(protocol(), backward), "fr")


@pytest.mark.parametrize(("locale", "everyone", "gone"), [("fr", "Tous les sites", "site arrêté"), ("en", "All sites", "stopped site")])
def test_the_drawing_says_in_words_what_it_shows(locale: str, everyone: str, gone: str) -> None:
    measured = {"A": {"included": 3, "rows": [{"value": float(number)} for number in range(9)]}, "B": {"included": 5}}
    drawing = draw(figures(protocol(), state(measured, stopped=["B"])), locale)
    root = ElementTree.fromstring(drawing)
    space = "{http://www.w3.org/2000/svg}"
    described = root.findtext(f"{space}desc") or ""
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "plot-title plot-desc"
    assert root.findtext(f"{space}title")
    assert everyone in described
    assert f"B, {gone}" in described
    assert "Included <b> $x$" in described
    assert "n = 9" in described
    assert "<metadata" not in drawing  # neither a date nor a program's version: the same figures, the same bytes


def test_there_is_no_drawing_without_a_number_from_a_site() -> None:
    assert draw(figures(protocol(), state({"A": {"blocked": True}}, review={"budget": 3.0})), "fr") == ""
