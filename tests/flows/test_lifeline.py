"""A child that ends with its parent, and one that did not and is found at the next start."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from flows.orphan import end_orphan, identity, remember

PARENT = """
import subprocess, sys, time
from flows.lifeline import command, lifeline
with lifeline() as (reading, writing):
    child = subprocess.Popen(command(reading, "http.server", ["0", "--bind", "127.0.0.1"]), pass_fds=(reading,), start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def comes_true(holds: Callable[[], bool], limit_s: float = 30) -> bool:
    pause = threading.Event()
    return any(holds() or pause.wait(0.05) for _ in range(int(limit_s / 0.05)))


def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert "http.server" in identity(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert comes_true(lambda: not identity(child))


def test_a_process_that_outlived_its_parent_is_ended_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "server.pid"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as orphan:
        remember(file, orphan.pid)
        assert end_orphan(file)
        assert orphan.wait(30) == -signal.SIGTERM
    assert not file.exists()
    assert not end_orphan(file)


def test_another_process_that_was_given_the_same_number_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "server.pid"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as other:
        file.write_text(f"{other.pid}\n1 python -m flows.lifeline 3 prefect server start\n")
        assert not end_orphan(file)
        assert other.poll() is None
        other.kill()
