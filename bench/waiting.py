"""What waiting costs: the memory of the long-lived processes with few and with many waiting experiments, and the way back after a crash."""

from __future__ import annotations

import json
import multiprocessing as mp
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from sqlalchemy import func, select, update

from bench import scene
from sites.clock import SystemClock
from sites.database import Database, table
from sites.ledger import Ledger
from sites.settings import Settings
from sites.tables import Notice, Step

FEW, MANY = 50, 5_000
GATES = 30
SITE = "S0001"
STEADY_S = 8
RESTARTS = 5

_NOTICE, _STEP = table(Notice), table(Step)

COME_BACK = """
import time; began = time.perf_counter()
import json, sys
from bench import scene
from sites.clock import SystemClock
from sites.database import Database
from sites.ledger import Ledger
imported = time.perf_counter()
url, code, gate = sys.argv[1:]
scene.complete(Ledger(Database(url), SystemClock()), code, int(gate), "S0001")
done = time.perf_counter()
print(json.dumps({"with_imports_s": done - began, "ledger_s": done - imported}))
"""


def run() -> dict[str, Any]:
    """Memory of a ledger's client and of a dispatcher (MB, steady) with 50 and 5,000 waiting experiments, and `back_s` after kill -9.

    `back_s` is the median of a few first completions in fresh processes: `ledger_s` without imports, `with_imports_s`, and `process_s` from
    the start of the interpreter.
    """
    with TemporaryDirectory(prefix="insitu-bench-") as folder:
        few, many = (_with_waiting(Path(folder), count) for count in (FEW, MANY))
    growth = {name: round(many["rss_mb"][name] / few["rss_mb"][name], 3) for name in few["rss_mb"]}
    return {f"waiting_{FEW}": few, f"waiting_{MANY}": many, "rss_growth": growth}


def _with_waiting(folder: Path, count: int) -> dict[str, Any]:
    database = Database(f"sqlite:///{folder / f'waiting-{count}.db'}")
    codes = _launch(database, count)
    settings = Settings(folder / f"waiting-{count}", database.url)
    rss = {"client": _rss(_client, database.url, codes[0]), "dispatcher": _rss(_dispatcher, settings)}
    back = [_come_back(database, codes[-1], gate) for gate in range(RESTARTS)]
    database.dispose()
    return {"rss_mb": rss, "back_s": {name: sorted(one[name] for one in back)[RESTARTS // 2] for name in back[0]}}


def _launch(database: Database, count: int) -> list[str]:
    """So many experiments, each at an open gate; what there was to tell about it was told long ago."""
    ledger = scene.prepare(database, [scene.linear(GATES)])
    codes = [ledger.launch(f"linear-{GATES}", [SITE], {}, scene.MANAGER)["code"] for _ in range(count)]
    with database.write() as connection:
        connection.execute(update(_NOTICE).values(state="done"))
    return codes


def _rss(live: Callable[..., None], *arguments: Any) -> float:
    """The memory of a process that has been at it for a while, in MB; then it is killed."""
    context = mp.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=live, args=(begun, *arguments), daemon=True)
    process.start()
    begun.wait(60)
    threading.Event().wait(STEADY_S)
    rss = psutil.Process(process.pid).memory_info().rss
    process.kill()
    process.join()
    return round(float(rss) / 2**20, 1)


def _client(begun: Event, url: str, code: str) -> None:
    """Pass gates of one experiment, one now and then."""
    ledger = Ledger(Database(url), SystemClock())
    for gate in range(GATES):
        scene.complete(ledger, code, gate, SITE)
        begun.set()
        threading.Event().wait(0.4)
    threading.Event().wait()


def _dispatcher(begun: Event, settings: Settings) -> None:
    from notifications.dispatch import Dispatcher

    begun.set()
    Dispatcher(Database(settings.database_url), SystemClock(), settings).run(threading.Event())


def _come_back(database: Database, code: str, gate: int) -> dict[str, float]:
    """A fresh process passes a gate; every other gate is then as open as it was."""
    before, began = _open_gates(database), time.perf_counter()
    told = subprocess.run([sys.executable, "-c", COME_BACK, database.url, code, str(gate)], check=True, capture_output=True, text=True)
    elapsed = time.perf_counter() - began
    assert _open_gates(database) == before, "the gate passed has opened the next"
    return {name: round(value, 3) for name, value in json.loads(told.stdout).items()} | {"process_s": round(elapsed, 3)}


def _open_gates(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).where(_STEP.c.status == "open")).scalar_one())
