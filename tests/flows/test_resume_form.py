"""Prefect's Resume dialog shows the one checkpoint a run waits for; what is filled in there is a draft, and opens nothing."""

from __future__ import annotations

import json
from typing import Any

from stage import Stage

from sites.database import table
from sites.tables import Draft


def form_of(stage: Stage, code: str, site: str = "") -> dict[str, Any]:
    """The schema that the dialog of a track's run would show, {} without one."""
    run = stage.prefect.request("GET", f"flow_runs/{stage.track(code, site)}")
    keys = run["state"]["state_details"].get("run_input_keyset")
    found = keys and stage.prefect._http.get(f"flow_runs/{run['id']}/input/{keys['schema']}").text
    return json.loads(found) if found else {}


def resume(stage: Stage, code: str, filled_in: dict[str, Any]) -> dict[str, Any]:
    """What Prefect's button does."""
    run = stage.track(code)
    answer: dict[str, Any] = stage.prefect.request("POST", f"flow_runs/{run}/resume", {"run_input": filled_in})
    return answer


def drafts(stage: Stage) -> list[tuple[str, str, dict[str, Any]]]:
    with stage.database.read() as connection:
        rows = connection.execute(table(Draft).select()).mappings()
        return [(row["person"], row["origin"], row["answers"]) for row in rows]


def test_what_is_filled_in_in_prefect_becomes_a_draft_each_time_and_opens_no_gate(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    assert form_of(stage, code)["properties"]["favourable"]["title"] in ("Favourable", "Favorable")
    for said in (True, False):
        assert resume(stage, code, {"favourable": said})["status"] == "ACCEPT"
        stage.project_until(lambda said=said: drafts(stage) == [("", "prefect", {"favourable": said})])  # type: ignore[misc]
        stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    assert stage.incidents(code) == []
    assert stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")["gate"] == "passed"


def test_a_dialog_refuses_what_the_form_does_not_offer(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    assert resume(stage, code, {"favourable": "perhaps"})["status"] == "REJECT"
    assert drafts(stage) == []


def test_a_run_resumed_with_nothing_filled_in_rests_again_and_is_reported(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    resume(stage, code, {})
    stage.project_until(lambda: stage.incidents(code) == ["prefect:resumed:"])
    assert drafts(stage) == []


def test_the_next_gate_has_a_form_of_its_own_although_no_flow_ran(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    stage.project_until(lambda: stage.shown(code, "CAEN") == "Awaiting Onboarding")
    assert list(form_of(stage, code, "CAEN")["properties"]) == ["ready"]
    assert form_of(stage, code) == {}
