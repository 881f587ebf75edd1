"""What somebody deleted in Prefect, and what a worker that died left behind: put right by the projector, for every kind of work pool."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

from stage import Stage

from flows.client import Prefect
from flows.projector import Projector
from sites.settings import Settings

RESTING = "Awaiting Ethics opinion (CPP)"


def test_a_run_of_a_dead_stock_worker_is_scheduled_again_for_one_that_lives(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == RESTING)
    run = stage.track(code)
    stage.worker.stop()
    # As a stock worker leaves it that is killed between taking the run and starting it.
    stage.prefect.request("POST", "work_pools/insitu/workers/heartbeat", {"name": "stock", "heartbeat_interval_seconds": 1})
    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    assert stage.prefect.set_state(run, {"type": "PENDING", "name": "Submitting"}, force=True)
    stage.prefect.request("PATCH", f"flow_runs/{run}/labels", {"prefect.worker.name": "stock"})
    stage.projector.lost_after = timedelta()
    stage.project_until(lambda: stage.shown(code) == "Rescued")
    assert "stock" not in (stage.prefect.workers_online("insitu") or set())


def test_a_run_that_a_living_worker_has_is_left_to_it(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == RESTING)
    run = stage.track(code)
    stage.worker.stop()
    stage.prefect.request("POST", "work_pools/insitu/workers/heartbeat", {"name": "alive", "heartbeat_interval_seconds": 300})
    assert stage.prefect.set_state(run, {"type": "PENDING", "name": "Submitting"}, force=True)
    stage.prefect.request("PATCH", f"flow_runs/{run}/labels", {"prefect.worker.name": "alive"})
    stage.projector.lost_after = timedelta()
    stage.projector.reconcile()
    assert stage.shown(code) == "Submitting"


def test_a_deployment_deleted_in_prefect_is_put_back(stage: Stage) -> None:
    stage.projector.reconcile(everything=True)
    named = {"deployments": {"name": {"any_": ["mini"]}}}
    [deployment] = stage.prefect.request("POST", "deployments/filter", named)
    stage.prefect.request("DELETE", f"deployments/{deployment['id']}")
    stage.projector.reconcile()
    [again] = stage.prefect.request("POST", "deployments/filter", named)
    assert again["id"] != deployment["id"]


def test_runs_whose_work_pool_was_deleted_are_made_anew_in_one_put_back(stage: Stage) -> None:
    code = stage.launch("CAEN")
    stage.project_until(lambda: stage.shown(code) == RESTING)
    stranded = stage.track(code)
    stage.prefect.request("DELETE", "work_pools/insitu")
    stage.projector.reconcile()
    stage.project_until(lambda: stage.track(code) != stranded and stage.shown(code) == RESTING)
    assert stage.prefect.runs([stranded])[stranded].state == "Replaced"
    # The worker takes what is woken in the pool of the same name.
    stage.ledger.complete(f"{code}:ethics::1", {"favourable": True}, "alice")
    stage.ledger.complete(f"{code}:onboarding:CAEN:1", {"ready": True}, "caen")
    stage.project_until(lambda: stage.shown(code) == "Closed")


def test_what_the_machine_owes_while_prefect_is_away_is_an_incident_until_it_answers(stage: Stage, tmp_path: Path) -> None:
    code = stage.launch("CAEN")  # its first step owes an action
    nowhere = Settings.load(environment={"INSITU_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:1/api"})
    heard: list[BaseException | None] = []
    lost = Projector(stage.database, stage.ledger, nowhere, prefect=Prefect(nowhere.prefect_api_url, pause_s=0.001), heard=heard.append)
    lost.away_after_s = 0
    stop = threading.Event()
    running = threading.Thread(target=lost.run, args=(stop,))
    running.start()
    pause = threading.Event()
    for _ in range(600):
        if stage.open_incidents(code) or pause.wait(0.05):
            break
    stop.set()
    lost.nudge()
    running.join(60)
    assert stage.open_incidents(code) == ["prefect:away:"]
    assert {type(error).__name__ for error in heard} == {"PrefectUnavailable"}

    stage.projector.reconcile(everything=True)
    stage.project_until(lambda: stage.shown(code) == RESTING)
    assert stage.open_incidents(code) == []
