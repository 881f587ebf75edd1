"""How many gates a second: clients in a closed loop complete checkpoints, each waiting until the next gate can be read."""

from __future__ import annotations

import multiprocessing as mp
import os
import resource
import sqlite3
import statistics
import time
import uuid
from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import psutil
from sqlalchemy import text

from bench import scene
from sites import inbox
from sites.clock import SystemClock
from sites.database import Database
from sites.ledger import Ledger
from sites.policy import EVERYTHING

SITE = "S0001"


def run(experiments: int, gates: int, clients: int, url: str) -> dict[str, Any]:
    """Play `experiments` linear experiments of `gates` gates with as many processes as `clients`, on an empty database.

    Returns gates_per_s, latency_ms (p50, p95, p99 from "complete" called to the next gate read), rss_mb of all processes at
    their largest, bytes_per_gate of database growth, cpu_s_per_gate of the clients.
    """
    database = Database(url)
    ledger = scene.prepare(database, [scene.linear(gates)])
    codes = [ledger.launch(f"linear-{gates}", [SITE], {}, scene.MANAGER)["code"] for _ in range(experiments + clients)]
    warm_up, codes = codes[:clients], codes[clients:]
    database.dispose()
    context = mp.get_context("spawn")
    results: Queue[dict[str, Any]] = context.Queue()
    warm, start = context.Barrier(clients + 1), context.Barrier(clients + 1)
    workers = [
        context.Process(target=_client, args=(url, warm_up[number], codes[number::clients], gates, warm, start, results))
        for number in range(clients)
    ]
    for worker in workers:
        worker.start()
    warm.wait()
    before = size(database)
    start.wait()
    began = time.perf_counter()
    parts = [results.get() for _ in workers]
    elapsed = time.perf_counter() - began
    for worker in workers:
        worker.join()
    return _summary(parts, elapsed, size(database) - before, experiments * gates)


def _client(url: str, warm_up: str, codes: list[str], gates: int, warm: Barrier, start: Barrier, results: Queue[dict[str, Any]]) -> None:
    ledger = Ledger(Database(url), SystemClock())
    for gate in range(gates):
        _pass_gate(ledger, warm_up, gate, gates)
    warm.wait()
    start.wait()
    used, latencies = _cpu(), []
    for gate in range(gates):
        for code in codes:
            began = time.perf_counter()
            _pass_gate(ledger, code, gate, gates)
            latencies.append(time.perf_counter() - began)
    results.put({"latencies": latencies, "cpu": _cpu() - used, "rss": psutil.Process(os.getpid()).memory_info().rss})


def _pass_gate(ledger: Ledger, code: str, gate: int, gates: int) -> None:
    """Complete a gate's checkpoint, and read the next one open."""
    done = ledger.complete(f"{code}:gate-{gate}:{SITE}:1", scene.ANSWERS, scene.COORDINATOR, command_id=uuid.uuid4().hex)
    assert done["gate"] == "passed", done
    if gate + 1 < gates:
        shown = inbox.checkpoint(ledger.database, f"{code}:gate-{gate + 1}:{SITE}:1", ledger.clock.now(), access=EVERYTHING)
        assert shown["status"] == "open", shown


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _summary(parts: list[dict[str, Any]], elapsed: float, grown: int, gates: int) -> dict[str, Any]:
    latencies = sorted(latency * 1000 for part in parts for latency in part["latencies"])
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "gates": gates,
        "gates_per_s": round(gates / elapsed, 1),
        "latency_ms": {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "p99": round(cuts[98], 2)},
        "rss_mb": round(sum(part["rss"] for part in parts) / 2**20, 1),
        "bytes_per_gate": round(grown / gates),
        "cpu_s_per_gate": round(sum(part["cpu"] for part in parts) / gates, 5),
    }


def size(database: Database) -> int:
    """The bytes the database takes on disk, its log folded in."""
    if not database.file:
        with database.read() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    with closing(sqlite3.connect(database.file, timeout=30)) as driver:
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(driver.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0])
