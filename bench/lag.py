"""How long Prefect lags behind the ledger, and how long an automated step takes, with a real server, projector and worker."""

from __future__ import annotations

import multiprocessing as mp
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import psutil
from sqlalchemy import select

from bench import scene
from flows.client import Prefect
from flows.lock import VARIABLE
from flows.server import PrefectServer
from sites import inbox
from sites.database import Database, table
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.settings import Settings
from sites.tables import Experiment, Track

SITE = "S0001"
EXPERIMENTS, GATES = 10, 25
PER_SECOND = 5
LOOK_EVERY_S = 0.02
SETTLE_LIMIT_S = 120
WAKE_UPS = 40
PERSON_TAKES_S = 0.5  # between a step's opening and its answer: the run has come to rest

_TRACK, _EXPERIMENT = table(Track), table(Experiment)


@dataclass(slots=True)
class Passed:
    """A gate passed at `at` (monotonic): what Prefect should show next, and when it did."""

    run: str
    step: int
    task_run: str
    at: float
    run_seen: float = 0.0
    gate_seen: float = 0.0


@dataclass(slots=True)
class Watcher:
    """Looks in Prefect's API, from a thread of its own, for what has been passed."""

    prefect: Prefect
    waiting: list[Passed] = field(default_factory=list)
    done: list[Passed] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            self._look([one for one in self.waiting if not one.run_seen], self._runs)
            self._look([one for one in self.waiting if not one.gate_seen], self._gates)
            seen = [one for one in self.waiting if one.run_seen and one.gate_seen]
            self.done += seen
            for one in seen:
                self.waiting.remove(one)
            self.stop.wait(LOOK_EVERY_S)

    def _look(self, pending: list[Passed], look: Callable[[list[Passed]], None]) -> None:
        if pending:
            look(pending)

    def _runs(self, pending: list[Passed]) -> None:
        runs, now = self.prefect.runs(list({one.run for one in pending})), time.monotonic()
        for one in pending:
            if (run := runs.get(one.run)) and run.state.startswith("Awaiting Step") and int(run.state.split()[-1]) >= one.step:
                one.run_seen = now

    def _gates(self, pending: list[Passed]) -> None:
        wanted = {"task_runs": {"id": {"any_": [one.task_run for one in pending]}}}
        rows, now = self.prefect.request("POST", "task_runs/filter", wanted), time.monotonic()
        completed = {row["id"] for row in rows if row["state_type"] == "COMPLETED"}
        for one in pending:
            if one.task_run in completed:
                one.gate_seen = now


def measure(folder: Path) -> dict[str, Any]:
    """Complete gates at a steady pace and see when Prefect shows each; then do automated steps one at a time.

    `projection_lag_ms` (commit → the run's state and the gate's task run are both in Prefect's API) and `wake_up_ms` (commit → the
    next step's action is done): each p50, p95, max; `run_p50` is of the run's state alone. The looking itself takes up to 20 ms, and
    a share of the server.
    """
    database = Database(f"sqlite:///{folder / 'lag.db'}")
    ledger = scene.prepare(database, [scene.linear(GATES), scene.automated(WAKE_UPS + 1)])
    os.environ.setdefault(VARIABLE, "insitu:bench")  # for the server, and for all who ask it
    with PrefectServer(folder / "prefect") as server:
        settings = Settings(folder / "house", database.url, prefect_api_url=server.api_url, locale="en")
        with _house(settings) as process:
            lag = _projection_lag(ledger, server.api_url)
            wake_up = _wake_up(ledger)
            rss = round(process.memory_info().rss / 2**20, 1)
    database.dispose()
    return {"projection_lag_ms": lag, "wake_up_ms": wake_up, "house_rss_mb": rss}


@contextmanager
def _house(settings: Settings) -> Iterator[psutil.Process]:
    """What `insitu up` runs beside Prefect, in a process of its own."""
    context = mp.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=_live, args=(settings, ready, stop), daemon=True)
    process.start()
    ready.wait(SETTLE_LIMIT_S)
    yield psutil.Process(process.pid)
    stop.set()
    process.join(30)


def _live(settings: Settings, ready: Event, stop: Event) -> None:
    from insitu.services import up

    with up(settings, "127.0.0.1", 0, print):
        ready.set()
        stop.wait()


def _projection_lag(ledger: Ledger, api_url: str) -> dict[str, float]:
    codes = [ledger.launch(f"linear-{GATES}", [SITE], {}, scene.MANAGER)["code"] for _ in range(EXPERIMENTS)]
    runs = _tracks(ledger.database, codes)
    watcher = Watcher(Prefect(api_url))
    looking = threading.Thread(target=watcher.run, daemon=True)
    looking.start()
    began = time.monotonic()
    for number in range(EXPERIMENTS * (GATES - 1)):
        threading.Event().wait(max(0.0, began + number / PER_SECOND - time.monotonic()))
        code, gate = codes[number % EXPERIMENTS], number // EXPERIMENTS
        scene.complete(ledger, code, gate, SITE)
        task_run = str(uuid5(UUID(runs[code]), f"gate-{gate}:{SITE}:1"))
        watcher.waiting.append(Passed(runs[code], gate + 1, task_run, time.monotonic()))
    _until(lambda: not watcher.waiting, "Prefect shows every gate")
    watcher.stop.set()
    looking.join()
    watcher.prefect.close()
    return {
        **_spread([max(one.run_seen, one.gate_seen) - one.at for one in watcher.done]),
        "run_p50": _spread([one.run_seen - one.at for one in watcher.done])["p50"],
    }


def _wake_up(ledger: Ledger) -> dict[str, float]:
    """Commit to action done, one step at a time, after one that warms the worker up."""
    code, times = ledger.launch(f"automated-{WAKE_UPS + 1}", [SITE], {}, scene.MANAGER)["code"], list[float]()
    began = time.monotonic()
    for gate in range(WAKE_UPS):
        _until(lambda gate=gate: _is_open(ledger, f"{code}:gate-{gate}:{SITE}:1"), "the worker does its action")  # type: ignore[misc]
        times.append(time.monotonic() - began)
        threading.Event().wait(PERSON_TAKES_S)
        scene.complete(ledger, code, gate, SITE)
        began = time.monotonic()
    return _spread(times[1:])


def _is_open(ledger: Ledger, checkpoint: str) -> bool:
    return bool(inbox.checkpoint(ledger.database, checkpoint, ledger.clock.now(), access=EVERYTHING)["status"] == "open")


def _tracks(database: Database, codes: list[str]) -> dict[str, str]:
    """Each experiment's flow run at the site, once all are there."""
    joined = _TRACK.join(_EXPERIMENT, _EXPERIMENT.c.id == _TRACK.c.experiment_id)
    wanted = select(_EXPERIMENT.c.code, _TRACK.c.flow_run_id).select_from(joined).where(_TRACK.c.site == SITE)

    def found() -> dict[str, str]:
        with database.read() as connection:
            return {row.code: row.flow_run_id for row in connection.execute(wanted)}

    _until(lambda: found().keys() >= set(codes), "every experiment has its runs")
    return found()


def _until(holds: Callable[[], bool], what: str) -> None:
    end, pause = time.monotonic() + SETTLE_LIMIT_S, threading.Event()
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {SETTLE_LIMIT_S} s")
        pause.wait(0.005)


def _spread(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cuts[49] * 1000), "p95": round(cuts[94] * 1000), "max": round(max(seconds) * 1000)}
