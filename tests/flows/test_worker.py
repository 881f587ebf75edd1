"""The in-process worker: what it does when runs come thick and fast, fail, or were left by another."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.settings import temporary_settings
from stage import Stage

from flows.client import Prefect, PrefectUnavailable
from flows.deployments import ENTRYPOINTS, SITE_TRACK
from flows.house import House, move_into
from flows.projector import Projector
from flows.server import PrefectServer
from flows.worker import InsituWorker
from sites.settings import Settings


def test_many_experiments_are_awake_at_once_and_all_come_to_rest(stage: Stage) -> None:
    codes = [stage.launch("CAEN") for _ in range(6)]
    stage.project_until(lambda: all(stage.shown(code) == "Awaiting Ethics opinion (CPP)" for code in codes), limit_s=60)
    assert [stage.incidents(code) for code in codes] == [[]] * 6


def test_a_run_left_by_a_dead_worker_starts_again(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    run = stage.track(code)
    stage.worker.stop()
    # Where a worker killed between taking a run and starting it leaves it.
    assert stage.prefect.set_state(run, {"type": "PENDING", "name": "Submitting"}, force=True)
    stage.prefect.request("PATCH", f"flow_runs/{run}/labels", {"prefect.worker.name": "killed"})

    async def rescue() -> int:
        with temporary_settings({"api.url": stage.settings.prefect_api_url}):
            async with InsituWorker(name="rescuer") as worker:
                worker.stuck_after = timedelta()
                return await worker.rescue()

    asyncio.run(rescue())
    assert stage.shown(code) == "Rescued"


def foreign(folder: Path) -> dict[str, dict[str, object]]:
    """Deployments that would run something of somebody else's as the worker's account, if it did what they say; each leaves a trace."""
    trace = f"open({str(folder / 'ran')!r}, 'w').close()"
    (folder / "theirs.py").write_text(f"from prefect import flow\n\n{trace}\n\n@flow\ndef theirs():\n    {trace}\n")
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {folder / 'ran'}"}}
    ours = {"entrypoint": ENTRYPOINTS[SITE_TRACK], "parameters": {"code": "NOPE", "site": "CAEN"}}
    return {
        "a module of theirs": {"entrypoint": "theirs:theirs", "path": str(folder)},
        "a file of theirs": {"entrypoint": f"{folder / 'theirs.py'}:theirs", "path": str(folder)},
        "steps before": ours | {"pull_steps": [shell], "path": str(folder)},
        "variables of the job": ours | {"job_variables": {"command": f"touch {folder / 'ran'}", "env": {"PYTHONPATH": str(folder)}}},
        "nothing": {},
    }


def test_the_worker_runs_insitus_own_flows_whatever_a_deployment_says_and_lives_on(stage: Stage, tmp_path: Path) -> None:
    flow = stage.prefect.request("POST", "flows/", {"name": "theirs"})["id"]
    stage.projector.reconcile(everything=True)
    runs = {}
    for name, content in foreign(tmp_path).items():
        deployment = {"name": name, "flow_id": flow, "work_pool_name": "insitu"} | content
        runs[name] = stage.prefect.create_run(stage.prefect.request("POST", "deployments/", deployment)["id"], {"name": name}).id
    ended = ("FAILED", "CRASHED", "COMPLETED", "CANCELLED")
    stage.project_until(lambda: all(run.type in ended for run in stage.prefect.runs(list(runs.values())).values()))
    shown = {name: stage.prefect.runs([id_])[id_] for name, id_ in runs.items()}
    assert {name: run.state for name, run in shown.items() if run.state == "Refused"} == dict.fromkeys(
        ["a module of theirs", "a file of theirs", "nothing"], "Refused"
    )
    assert "names 'theirs:theirs', and this worker runs flows.experiment:experiment" in shown["a module of theirs"].message
    assert not (tmp_path / "ran").exists()
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")


def test_a_track_whose_deployment_was_turned_elsewhere_is_refused_told_and_put_right(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    stage.projector.reconcile(everything=True)
    deployment = stage.prefect.request("GET", "deployments/name/experiment/mini")["id"]
    stage.prefect.request("PATCH", f"deployments/{deployment}", {"entrypoint": f"{tmp_path / 'theirs.py'}:theirs"})
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.incidents(code) == ["prefect:failed:"])
    assert stage.shown(code) == "Refused"
    stage.projector.reconcile(everything=True)
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    assert not (tmp_path / "ran").exists()


def test_a_run_that_keeps_failing_is_one_incident_and_goes_on_once_its_cause_is_gone(stage: Stage, tmp_path: Path) -> None:
    nowhere = Settings.load(environment={"INSITU_HOME": str(tmp_path / "nowhere"), "PREFECT_API_URL": stage.settings.prefect_api_url})
    move_into(House.open(nowhere))  # a worker whose database has no tables
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.incidents(code) == ["prefect:failed:"])
    assert stage.shown(code) == "Failed"

    move_into(House(stage.settings, stage.database, stage.ledger))
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    stage.project_until(lambda: stage.open_incidents(code) == [])
    assert stage.incidents(code) == ["prefect:failed:"]


def test_everything_is_drawn_again_when_prefect_lost_its_database(stage: Stage, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    closed, running = stage.launch("CAEN"), stage.launch("CAEN")
    for code in (closed, running):
        stage.project_until(lambda code=code: stage.shown(code) == "Awaiting Ethics opinion (CPP)")  # type: ignore[misc]
        stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    stage.ledger.stop(closed, "manager", "Enough")
    stage.project_until(lambda: stage.shown(closed) == "Stopped" and stage.shown(running, "CAEN") == "Awaiting Onboarding")
    lost = stage.track(running)

    with PrefectServer(tmp_path_factory.mktemp("empty")) as empty:
        environment = {"INSITU_HOME": str(stage.settings.data), "PREFECT_API_URL": empty.api_url, "INSITU_LOCALE": "en"}
        stage.prefect = Prefect(empty.api_url)
        stage.projector = Projector(stage.database, stage.ledger, Settings.load(environment=environment))
        stage.projector.reconcile()
        stage.project_until(lambda: stage.gates(running) == {"Ethics opinion (CPP)": "COMPLETED"})
        assert stage.track(running) != lost
        assert {stage.shown(closed), stage.shown(running), stage.shown(running, "CAEN")} == {
            "Stopped",
            "Awaiting 1 site",
            "Awaiting Onboarding",
        }
        assert stage.incidents(running) == []


def test_a_server_is_not_taken_for_ours_because_it_answers_on_our_port(prefect: PrefectServer, tmp_path: Path) -> None:
    ours = PrefectServer(tmp_path / "server", prefect.port)
    with pytest.raises(PrefectUnavailable, match="did not start"):
        ours.start()
    assert not ours.is_running


def test_a_run_that_two_workers_fetched_is_the_first_s_and_the_other_lives_on(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == "Awaiting Ethics opinion (CPP)")
    stage.worker.stop()
    run = stage.track(code)
    assert stage.prefect.set_state(run, {"type": "SCHEDULED", "name": "Waking"}, force=True)

    async def both() -> str:
        with temporary_settings({"api.url": stage.settings.prefect_api_url, "worker.prefetch_seconds": 0}):
            async with InsituWorker(name="first") as first, InsituWorker(name="second") as second:
                fetched = [entry for entry in await second._get_scheduled_flow_runs() if str(entry.flow_run.id) == run]
                await first._submit_scheduled_flow_runs(fetched)
                while stage.prefect.runs([run])[run].type != "PAUSED":
                    await asyncio.sleep(0.05)
                await second._submit_scheduled_flow_runs(fetched)
                while second._submitting_flow_run_ids:
                    await asyncio.sleep(0.05)
                await second.get_and_submit_flow_runs()
                return "lives"

    assert asyncio.run(both()) == "lives"
    assert stage.shown(code) == "Awaiting Ethics opinion (CPP)"
