"""Whether a completion costs the same however long the history and however many the sites."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import scene
from sites.database import Database
from sites.ledger import Ledger

WINDOW = 200
HISTORY_MARKS = (10, 1_000, 10_000)
SITE_COUNTS = (10, 100, 1_000)


def run() -> dict[str, Any]:
    """Median wall and processor milliseconds of a completion: by history in one experiment, by sites, and at the join of all sites."""
    with TemporaryDirectory(prefix="insitu-bench-") as folder:
        history = _by_history(Path(folder))
        sites = {count: _by_sites(Path(folder), count) for count in SITE_COUNTS}
    return {
        "history": history,
        "sites": sites,
        "history_10000_over_10": _ratio(history[10_000], history[10]),
        "sites_1000_over_10": _ratio(sites[1_000]["middle"], sites[10]["middle"]),
        "last_gate_1000_over_10": _ratio(sites[1_000]["last"], sites[10]["last"]),
    }


def _ratio(large: dict[str, float], small: dict[str, float]) -> float:
    return round(large["cpu_ms"] / small["cpu_ms"], 2)


def _by_history(folder: Path) -> dict[int, dict[str, float]]:
    """One experiment of 100 sites × 105 gates: the cost of the 200 completions from the 10th, the 1,000th and the 10,000th on."""
    ledger = _ledger(folder / "history.db", scene.joined(105), 100)
    code = ledger.launch("joined-105", scene.codes(100), {}, scene.MANAGER)["code"]
    completions = _completions(ledger, code, scene.codes(100), range(105))
    found, done = {}, 0
    for mark in HISTORY_MARKS:
        _spend(islice(completions, mark - done))
        found[mark] = _median(islice(completions, WINDOW))
        done = mark + WINDOW
    return found


def _by_sites(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Four gates at each of `count` sites: the cost of the second gate, and of the last, which the join counts."""
    ledger = _ledger(folder / f"sites-{count}.db", scene.joined(4), count)
    experiments = [ledger.launch("joined-4", scene.codes(count), {}, scene.MANAGER)["code"] for _ in range(max(1, WINDOW // count))]
    measured = {}
    for gate, name in enumerate(("first", "middle", "third", "last")):
        costs = (cost for code in experiments for cost in _completions(ledger, code, scene.codes(count)[:WINDOW], range(gate, gate + 1)))
        measured[name] = _median(costs)
    return {name: measured[name] for name in ("middle", "last")}


def _ledger(file: Path, protocol: str, sites: int) -> Ledger:
    return scene.prepare(Database(f"sqlite:///{file}"), [protocol], sites)


def _completions(ledger: Ledger, code: str, sites: list[str], gates: range) -> Iterator[tuple[float, float]]:
    for gate in gates:
        for site in sites:
            wall, cpu = time.perf_counter(), time.process_time()
            done = ledger.complete(f"{code}:gate-{gate}:{site}:1", scene.ANSWERS, scene.COORDINATOR, command_id=uuid.uuid4().hex)
            yield time.perf_counter() - wall, time.process_time() - cpu
            assert done["gate"] == "passed", done


def _spend(costs: Iterator[tuple[float, float]]) -> None:
    for _ in costs:
        pass


def _median(costs: Iterator[tuple[float, float]]) -> dict[str, float]:
    pairs = list(costs)
    return {
        "wall_ms": round(statistics.median(wall for wall, _ in pairs) * 1000, 2),
        "cpu_ms": round(statistics.median(cpu for _, cpu in pairs) * 1000, 2),
    }
