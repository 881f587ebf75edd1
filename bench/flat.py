"""Whether a completion costs the same however long the history and however many the sites."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterable, Iterator
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
        sites = _by_sites(Path(folder))
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
    """Three experiments of 100 sites × 105 gates with 10, 1,000 and 10,000 completions behind them: what the next 200 cost each."""
    ledger = _ledger(folder / "history.db", scene.joined(105), 100)
    running = {}
    for mark in HISTORY_MARKS:
        code = ledger.launch("joined-105", scene.codes(100), {}, scene.MANAGER)["code"]
        running[mark] = _completions(ledger, code, scene.codes(100), range(105))
        _spend(islice(running[mark], mark))
    return _medians_in_turn(running)


def _by_sites(folder: Path) -> dict[int, dict[str, dict[str, float]]]:
    """Experiments of four gates at 10, 100 and 1,000 sites: what the second gate costs, and the last, which the join counts."""
    ledgers = {count: _ledger(folder / f"sites-{count}.db", scene.joined(4), count) for count in SITE_COUNTS}
    codes = {count: _launch(ledger, count) for count, ledger in ledgers.items()}
    measured = {}
    for gate, name in enumerate(("first", "middle", "third", "last")):
        running = {count: _gate_everywhere(ledgers[count], codes[count], count, gate) for count in SITE_COUNTS}
        measured[name] = _medians_in_turn(running)
    return {count: {name: measured[name][count] for name in ("middle", "last")} for count in SITE_COUNTS}


def _launch(ledger: Ledger, count: int) -> list[str]:
    """As many experiments as give 200 completions a gate."""
    return [ledger.launch("joined-4", scene.codes(count), {}, scene.MANAGER)["code"] for _ in range(max(1, WINDOW // count))]


def _gate_everywhere(ledger: Ledger, codes: list[str], count: int, gate: int) -> Iterator[tuple[float, float]]:
    return (cost for code in codes for cost in _completions(ledger, code, scene.codes(count)[:WINDOW], range(gate, gate + 1)))


def _medians_in_turn(running: dict[int, Iterator[tuple[float, float]]]) -> dict[int, dict[str, float]]:
    """200 completions of each, one of each in turn: a machine that grows slower meanwhile slows them all alike."""
    turns = list(islice(zip(*running.values(), strict=False), WINDOW))
    return {name: _median(column) for name, column in zip(running, zip(*turns, strict=True), strict=True)}


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


def _median(pairs: Iterable[tuple[float, float]]) -> dict[str, float]:
    pairs = list(pairs)
    return {
        "wall_ms": round(statistics.median(wall for wall, _ in pairs) * 1000, 2),
        "cpu_ms": round(statistics.median(cpu for _, cpu in pairs) * 1000, 2),
    }
