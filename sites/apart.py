"""Conditions that could hold a process, evaluated in one of their own that is ended when it takes too long.

A condition over a table of thousands of rows, or with loops within loops, costs seconds or years. What it may take is processor time,
not time on the wall: on a busy machine the same condition on the same values comes to the same end, so that what was found is kept.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from threading import Lock
from typing import Any

from protocols.conditions import NotEvaluated, run

SECONDS = 0.5  # of one core, in the evaluation itself
LONGEST = 5.0  # on the wall, with the start of the process, on a machine that has no core to spare
MEMORY = 1 << 30
_OVERRUN = (-signal.SIGPROF, -signal.SIGABRT)  # out of time, out of memory
_KEPT = 512
_MOMENT = "a moment"  # no name that a condition can read holds a blank

_found: OrderedDict[bytes, Any] = OrderedDict()
_lock = Lock()
_ENDED = object()


def evaluate(source: str, values: Mapping[str, Any]) -> Any:
    """What a source comes to on these values. Raises NotEvaluated when it takes more than `SECONDS`, ValueError when it fails."""
    sent = json.dumps([source, values], default=_written).encode()
    key = sha256(sent).digest()
    with _lock:
        known = _found.get(key)
    if known is None:
        known = _asked(sent)
        with _lock:
            _found[key] = known
            while len(_found) > _KEPT:
                _found.popitem(last=False)
    if known is _ENDED:
        raise NotEvaluated
    if "error" in known:
        raise ValueError(known["error"])
    return known["value"]


def _asked(sent: bytes) -> Any:
    """What the other process answers, or that it was ended. Raises NotEvaluated, which is not kept, where the machine was too busy."""
    command = [sys.executable, "-I", "-m", "sites.apart"]
    try:
        told = subprocess.run(command, input=sent, capture_output=True, timeout=LONGEST, check=False)  # noqa: S603 - nothing of it is given
    except subprocess.TimeoutExpired:
        raise NotEvaluated from None
    if told.returncode in _OVERRUN:
        return _ENDED
    if told.returncode:
        raise NotEvaluated
    return json.loads(told.stdout)


def _written(moment: datetime) -> dict[str, str]:
    return {_MOMENT: moment.isoformat()}


def _read(pairs: dict[str, Any]) -> Any:
    return datetime.fromisoformat(pairs[_MOMENT]) if _MOMENT in pairs else pairs


def _answer() -> None:
    """Evaluate what stands on the standard input; the kernel ends this process when its time is over."""
    import resource

    source, values = json.loads(sys.stdin.buffer.read(), object_hook=_read)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    run("true", {})  # the evaluator is loaded before the clock runs
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        value = run(source, values)
        told = {"value": value} if isinstance(value, bool) else {"error": f"it gives {value!r}, not true or false"}
    except Exception as error:  # noqa: BLE001 - whatever it is, the process that asked says it
        told = {"error": str(error)}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _answer()
