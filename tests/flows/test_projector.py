"""Prefect comes to show what the ledger says, whatever anyone does there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update
from stage import LAUNCH, PROTOCOL, Stage

from flows.client import PrefectRefused
from flows.projector import Projector
from sites.clock import SetClock
from sites.database import table
from sites.tables import Track


def test_an_experiment_is_shown_from_launch_to_closure(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    run = stage.run(code)
    assert run is not None
    assert run.type == "PAUSED"
    assert "Ethics officer" in run.message
    assert f"/checkpoints/{code}:ethics::1" in run.message
    stage.project_until(lambda: stage.gates(code) == {"Ethics opinion (CPP)": "RUNNING"})

    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    stage.project_until(lambda: stage.shown(code, "CAEN") == "Awaiting Onboarding")
    stage.project_until(lambda: stage.gates(code) == {"Ethics opinion (CPP)": "COMPLETED"})
    assert stage.shown(code) == "Awaiting 1 site"

    stage.ledger.complete(f"{code}:onboarding:CAEN:1", {"ready": True}, "caen")
    stage.project_until(lambda: stage.shown(code) == "Closed")
    stage.project_until(lambda: stage.shown(code, "CAEN") == "Closed")
    stage.project_until(lambda: stage.gates(code, "CAEN") == {"CAEN: Onboarding": "COMPLETED"})
    stage.project_until(lambda: stage.row(code)["projected_seq"] == stage.row(code)["seq"])
    assert stage.incidents(code) == []


def test_what_is_cancelled_or_deleted_in_prefect_comes_back_and_is_reported(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    first = stage.track(code)

    assert stage.prefect.set_state(first, {"type": "CANCELLED", "name": "Cancelled"})
    stage.projector.reconcile()
    assert stage.shown(code) == "Awaiting Ethics opinion (CPP)"

    stage.prefect.request("DELETE", f"flow_runs/{first}")
    stage.projector.reconcile()
    assert stage.track(code) != first
    assert stage.shown(code) == "Awaiting Ethics opinion (CPP)"
    stage.project_until(lambda: stage.gates(code) == {"Ethics opinion (CPP)": "RUNNING"})
    assert [key.split(":")[1] for key in stage.incidents(code)] == ["cancelled", "deleted"]


def test_a_run_whose_deployment_was_deleted_in_prefect_is_made_anew(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    orphan = stage.run(code)
    assert orphan is not None
    stage.prefect.request("DELETE", f"deployments/{orphan.deployment}")

    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    stage.ledger.complete(f"{code}:onboarding:CAEN:1", {"ready": True}, "caen")
    stage.project_until(lambda: stage.row(code)["state"] == "closed")
    stage.project_until(lambda: stage.shown(code) == "Closed")
    assert stage.track(code) != orphan.id


def test_an_early_resume_finds_the_gate_closed_and_rests_again(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    rested = stage.run(code)
    assert rested is not None
    stage.prefect.request("POST", f"flow_runs/{rested.id}/resume", {})
    stage.project_until(lambda: (run := stage.run(code)) is not None and run.type == "PAUSED" and run.state_id != rested.state_id)
    assert stage.shown(code) == "Awaiting Ethics opinion (CPP)"
    assert stage.incidents(code) == ["prefect:resumed:"]
    assert stage.row(code)["state"] == "running"


def test_a_hold_and_a_stop_are_shown_on_every_track(stage: Stage) -> None:
    code = stage.launch()
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    stage.project_until(lambda: stage.shown(code, "NANCY") == "Awaiting Onboarding")

    stage.ledger.hold(code, "manager", "Device recalled", site="NANCY")
    stage.project_until(lambda: stage.shown(code, "NANCY") == "On hold")
    assert stage.shown(code, "CAEN") == "Awaiting Onboarding"
    stage.ledger.stop(code, "manager", "Device withdrawn")
    stage.project_until(lambda: stage.shown(code) == "Stopped")
    stage.project_until(lambda: {stage.shown(code, "CAEN"), stage.shown(code, "NANCY")} == {"Stopped"})
    stage.project_until(lambda: stage.gates(code, "CAEN") == {"CAEN: Onboarding": "CANCELLED"})


def test_launching_from_prefect_s_form_makes_one_experiment_however_often_the_run_starts(stage: Stage) -> None:
    stage.projector.reconcile(everything=True)
    [deployment] = stage.prefect.request("POST", "deployments/filter", {"deployments": {"name": {"any_": ["mini"]}}})
    form = {"sites": ["CAEN"], "launch": {"planned_start": "2026-12-01", "participants": 12}, "launched_by": "manager"}
    created = stage.prefect.request("POST", f"deployments/{deployment['id']}/create_flow_run", {"parameters": form})
    stage.project_until(lambda: bool(stage.experiments()))
    [code] = stage.experiments()
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    assert stage.track(code) == created["id"]

    stage.prefect.request("POST", f"flow_runs/{created['id']}/resume", {})
    stage.project_until(lambda: stage.incidents(code) == ["prefect:resumed:"])
    assert stage.experiments() == [code]


def test_prefect_s_form_refuses_what_the_protocol_refuses(stage: Stage) -> None:
    stage.projector.reconcile(everything=True)
    [deployment] = stage.prefect.request("POST", "deployments/filter", {"deployments": {"name": {"any_": ["mini"]}}})
    form = {"sites": ["CAEN"], "launch": {"planned_start": "2026-12-01", "participants": 0}, "launched_by": "manager"}
    with pytest.raises(PrefectRefused, match="participants"):
        stage.prefect.request("POST", f"deployments/{deployment['id']}/create_flow_run", {"parameters": form})
    form |= {"launch": {"planned_start": "2026-12-01", "participants": 5}, "launched_by": "alice"}
    created = stage.prefect.request("POST", f"deployments/{deployment['id']}/create_flow_run", {"parameters": form})
    stage.project_until(lambda: stage.prefect.runs([created["id"]])[created["id"]].type == "FAILED")
    refused = stage.prefect.runs([created["id"]])[created["id"]]
    assert refused.state == "Refused"
    assert "alice" in refused.message
    assert stage.experiments() == []


def test_a_failed_action_is_shown_as_an_incident_and_done_again_when_asked(stage: Stage) -> None:
    broken = PROTOCOL.replace("id: mini", "id: broken").replace("do: notify, with: {notice: dossier", "do: gone, with: {notice: dossier")
    stage.release_unchecked(broken)  # as after an upgrade that lost a package of actions
    code = str(stage.ledger.launch("broken", ["CAEN"], LAUNCH, "manager")["code"])
    stage.project_until(lambda: stage.shown(code) == "Incident: Ethics opinion (CPP)")
    run = stage.run(code)
    assert run is not None
    assert "'gone'" in run.message

    stage.ledger.retry_action(f"{code}:ethics::1", "manager")
    stage.project_until(lambda: (now := stage.run(code)) is not None and now.type == "PAUSED" and now.state_id != run.state_id)
    assert stage.shown(code) == "Incident: Ethics opinion (CPP)"


def test_under_a_clock_that_is_set_gates_are_drawn_at_the_moments_they_were_shown(stage: Stage) -> None:
    stage.ledger.clock = SetClock(datetime(2031, 3, 3, 9, tzinfo=UTC))
    before = datetime.now(UTC)
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    stage.project_until(lambda: stage.gates(code) == {"Ethics opinion (CPP)": "COMPLETED"})
    [gate] = [row for row in stage.task_runs(code) if row["task_key"] == "insitu.gate"]
    start, end = datetime.fromisoformat(gate["start_time"]), datetime.fromisoformat(gate["end_time"])
    assert before < start < end < datetime.now(UTC)


def test_a_gate_that_was_sent_and_lost_when_projector_and_server_crashed_is_sent_again(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    stage.project_until(lambda: stage.gates(code) == {"Ethics opinion (CPP)": "RUNNING"})
    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    with stage.database.write() as connection:  # what the dead projector remembers to have sent
        at = (table(Track).c.experiment_id == stage.row(code)["id"], table(Track).c.site == "")
        sent = dict(connection.execute(select(table(Track).c.picture).where(*at)).scalar_one())
        sent["gates"] = {key: ["COMPLETED", "Passed", start] for key, (_, _, start) in sent["gates"].items()}
        connection.execute(update(table(Track)).where(*at).values(picture=sent))

    stage.projector = Projector(stage.database, stage.ledger, stage.settings, on_wake=stage.worker.poke)
    stage.projector.reconcile(everything=True)
    stage.project_until(lambda: stage.gates(code) == {"Ethics opinion (CPP)": "COMPLETED"})
