"""What Prefect should show, as tables of cases: rows of the ledger in, a picture out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from stage import PROTOCOL

from flows.picture import NAME_LENGTH, Rest, StepView, View, artifacts, picture, pictures, progress
from protocols.parsing import parse
from protocols.state import ExperimentState, SiteState, StepStatus

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
TRIAL = parse(PROTOCOL, "").protocol
OPEN, WORKING, PASSED, INCIDENT = StepStatus.OPEN, StepStatus.WORKING, StepStatus.PASSED, StepStatus.INCIDENT


def step(name: str, status: StepStatus = OPEN, site: str = "", round: int = 1, **more: object) -> StepView:
    return StepView(name, site, round, status, opened_at=T0, since=T0 + DAY, **more)  # type: ignore[arg-type]


def view(*steps: StepView, state: ExperimentState = ExperimentState.RUNNING, past: tuple[StepView, ...] = (), **sites: SiteState) -> View:
    parts = sites or {"CAEN": SiteState.ACTIVE, "NANCY": SiteState.ACTIVE}
    return View("MINI-1", "Trial", state, TRIAL, parts, steps, past)


ETHICS, CAEN = step("ethics"), step("onboarding", site="CAEN")

CASES = [
    ("one open gate", view(ETHICS), "", Rest.RESTS, "PAUSED", "Awaiting Ethics opinion (CPP)"),
    ("a later round says which", view(replace(ETHICS, round=2)), "", Rest.RESTS, "PAUSED", "Awaiting Ethics opinion (CPP) (round 2)"),
    ("two open gates", view(ETHICS, step("closure")), "", Rest.RESTS, "PAUSED", "Awaiting 2 gates: Ethics opinion (CPP), Closure"),
    ("owed actions come first", view(ETHICS, step("closure", WORKING)), "", Rest.WORKS, "RUNNING", "Working: Closure"),
    ("an incident before an open gate", view(ETHICS, step("closure", INCIDENT)), "", Rest.RESTS, "PAUSED", "Incident: Closure"),
    ("nothing live but sites", view(step("ethics", PASSED), CAEN), "", Rest.RESTS, "PAUSED", "Awaiting 2 sites"),
    ("a hold hides what is owed", view(step("closure", WORKING), state=ExperimentState.ON_HOLD), "", Rest.RESTS, "PAUSED", "On hold"),
    ("a hold reaches the sites", view(CAEN, state=ExperimentState.ON_HOLD), "CAEN", Rest.RESTS, "PAUSED", "On hold"),
    ("a site's own hold", view(CAEN, CAEN=SiteState.ON_HOLD), "CAEN", Rest.RESTS, "PAUSED", "On hold"),
    ("not its experiment's", view(ETHICS, CAEN, CAEN=SiteState.ON_HOLD), "", Rest.RESTS, "PAUSED", "Awaiting Ethics opinion (CPP)"),
    ("a closed experiment", view(step("ethics", PASSED), state=ExperimentState.CLOSED), "", Rest.ENDED, "COMPLETED", "Closed"),
    ("a stopped experiment", view(ETHICS, state=ExperimentState.STOPPED), "", Rest.ENDED, "CANCELLED", "Stopped"),
    ("a site of it", view(CAEN, state=ExperimentState.STOPPED), "CAEN", Rest.ENDED, "CANCELLED", "Stopped"),
    ("a stopped site", view(CAEN, CAEN=SiteState.STOPPED, NANCY=SiteState.ACTIVE), "CAEN", Rest.ENDED, "CANCELLED", "Stopped"),
    (
        "a stopped site of a closed experiment",
        view(CAEN, CAEN=SiteState.STOPPED, NANCY=SiteState.ACTIVE, state=ExperimentState.CLOSED),
        "CAEN",
        Rest.ENDED,
        "CANCELLED",
        "Stopped",
    ),
    ("a site that is through", view(replace(CAEN, status=PASSED)), "CAEN", Rest.ENDED, "COMPLETED", "Closed"),
]


@pytest.mark.parametrize(("shown", "site", "rest", "type_", "state"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_track_shows_what_it_waits_for(shown: View, site: str, rest: Rest, type_: str, state: str) -> None:
    drawn = picture(shown, site, "en")
    assert (drawn.rest, drawn.type, drawn.state) == (rest, type_, state)


def test_a_name_too_long_for_a_list_is_cut_and_says_so() -> None:
    wordy = TRIAL.model_copy(update={"steps": (TRIAL.steps[0].model_copy(update={"title": "A" * 300}),)})
    name = picture(replace(view(ETHICS), protocol=wordy), "", "en").state
    assert len(name) == NAME_LENGTH
    assert name.endswith("…")


def test_titles_and_messages_follow_the_locale_and_state_names_stay_searchable() -> None:
    due = replace(ETHICS, due_at=T0 + 30 * DAY, awaits="answers", awaits_role="ethics_officer")
    french = picture(view(due), "", "fr", "http://insitu.example/")
    assert french.state == "Awaiting Avis éthique (CPP)"
    link = "http://insitu.example/checkpoints/MINI-1:ethics::1"
    assert french.message == f"Avis éthique (CPP) · Référent éthique · échéance 2026-04-01 · {link}"
    late = picture(view(replace(due, overdue=True)), "", "en")
    assert "late since 2026-04-01" in late.message


def test_a_site_s_track_begins_with_its_first_step() -> None:
    assert list(pictures(view(ETHICS))) == [""]
    assert list(pictures(view(ETHICS, CAEN))) == ["", "CAEN"]


def test_gates_are_bars_with_their_dates_and_earlier_rounds_stay() -> None:
    returned = step("ethics", StepStatus.RETURNED)
    again = replace(ETHICS, round=2, opened_at=T0 + 2 * DAY, since=T0 + 2 * DAY)
    bars = picture(view(again, past=(returned,)), "", "en").gates
    assert {key: (bar.title, bar.type, bar.start, bar.end) for key, bar in bars.items()} == {
        "ethics::1": ("Ethics opinion (CPP)", "CANCELLED", T0, T0 + DAY),
        "ethics::2": ("Ethics opinion (CPP) (round 2)", "RUNNING", T0 + 2 * DAY, None),
    }


def test_a_step_not_yet_reached_has_no_bar() -> None:
    assert picture(view(StepView("closure", "", 2, StepStatus.WAITING, since=T0)), "", "en").gates == {}


def test_tags_tie_the_tracks_together() -> None:
    assert picture(view(ETHICS), "", "en").tags == ("experiment:MINI-1", "insitu", "phase:preparation", "protocol:mini")
    assert picture(view(CAEN), "CAEN", "en").tags == ("experiment:MINI-1", "insitu", "phase:before", "protocol:mini", "site:CAEN")


def test_artifacts_tell_the_board_and_progress_counts_active_sites_only() -> None:
    both = view(step("ethics", PASSED), replace(CAEN, status=PASSED))
    assert progress(both) == 50.0  # ethics, 2 onboardings and closure: 2 of 4
    one = view(step("ethics", PASSED), replace(CAEN, status=PASSED), CAEN=SiteState.STOPPED, NANCY=SiteState.ACTIVE)
    assert progress(one) == 33.3  # ethics, 1 onboarding and closure: 1 of 3
    for locale, gate in (("en", "Gate"), ("fr", "Jalon")):
        drawn = artifacts(both, locale, "http://insitu.example")
        assert {kind: one["type"] for kind, one in drawn.items()} == {
            "board": "table",
            "summary": "markdown",
            "progress": "progress",
            "link": "markdown",
        }
        assert [row["Site"] for row in drawn["board"]["data"] if gate in row] == ["", "CAEN"]
