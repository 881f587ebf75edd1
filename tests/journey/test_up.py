"""`insitu up` on one machine: what another terminal does shows in Prefect, and one Ctrl-C ends all of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

COMMAND = [sys.executable, "-c", "from insitu.cli import main; main()"]
LAUNCH = ("--site", "CAEN", "--set", "planned_start=2026-05-01", "--set", "target_participants=120", "--as", "b.petit")


@pytest.mark.journey
def test_up_shows_in_prefect_what_another_terminal_does_and_stops_cleanly(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_"))}
    env = clean | {"INSITU_HOME": str(tmp_path), "INSITU_LOCALE": "en"}

    def insitu(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *words], capture_output=True, text=True, env=env, check=False)

    with subprocess.Popen([*COMMAND, "up", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as up:
        assert up.stdout is not None
        said = "".join(iter(up.stdout.readline, "Ctrl-C stops all of it.\n"))
        found = dict(re.findall(r"^(API|Prefect): (\S+)$", said, re.MULTILINE))
        assert httpx.get(found["API"], trust_env=False).json()["status"] == "ok"
        example = str(files("insitu.demo") / "sites.yaml")
        assert [insitu(kind, "import", example).returncode for kind in ("site", "person")] == [0, 0]
        code = insitu("launch", "telerehab-hip", *LAUNCH).stdout.strip()
        shown = shown_state(found["Prefect"], code)
        assert shown.startswith("Awaiting")
        second = insitu("up", "--port", "0")
        assert (second.returncode, "already up" in second.stderr) == (1, True)
        up.send_signal(signal.SIGINT)
        _, errors = up.communicate(timeout=60)
    assert (up.returncode, "Traceback" in errors) == (0, False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(found["Prefect"], trust_env=False)


def shown_state(prefect: str, code: str) -> str:
    """The state Prefect comes to show for the experiment's own run, "" when it shows none within two minutes."""
    wanted = {"flow_runs": {"tags": {"all_": [f"experiment:{code}"]}}, "flows": {"name": {"any_": ["experiment"]}}}
    pause = threading.Event()
    for _ in range(240):
        runs = httpx.post(f"{prefect}/api/flow_runs/filter", json=wanted, trust_env=False)
        states = [run["state_name"] for run in runs.json()] if runs.is_success else []
        if states and states[0].startswith("Awaiting"):
            return str(states[0])
        pause.wait(0.5)
    return ""
