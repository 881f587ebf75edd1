"""`insitu up` on one machine: what another terminal does shows in Prefect, and one Ctrl-C ends all of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from flows.lock import authorization

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
        assert "insitu prefect password" in said
        shown = shown_state(found["Prefect"], code, insitu("prefect", "password").stdout.strip())
        assert shown.startswith("Awaiting")
        second = insitu("up", "--port", "0")
        assert (second.returncode, "already up" in second.stderr) == (1, True)
        up.send_signal(signal.SIGINT)
        _, errors = up.communicate(timeout=60)
    assert (up.returncode, "Traceback" in errors) == (0, False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(found["Prefect"], trust_env=False)


def shown_state(prefect: str, code: str, lock: str) -> str:
    """The state Prefect comes to show for the experiment's own run, "" when it shows none within two minutes."""
    wanted = {"flow_runs": {"tags": {"all_": [f"experiment:{code}"]}}, "flows": {"name": {"any_": ["experiment"]}}}
    pause = threading.Event()
    for _ in range(240):
        runs = httpx.post(f"{prefect}/api/flow_runs/filter", json=wanted, trust_env=False, headers={"authorization": authorization(lock)})
        states = [run["state_name"] for run in runs.json()] if runs.is_success else []
        if states and states[0].startswith("Awaiting"):
            return str(states[0])
        pause.wait(0.5)
    return ""


ANOTHER = """
import json, sys, urllib.error, urllib.request
from pathlib import Path

prefect, data, parent = sys.argv[1:]
told = {}
for method, path in (("POST", "flow_runs/filter"), ("POST", "deployments/"), ("GET", "admin/settings")):
    asked = urllib.request.Request(f"{prefect}/api/{path}", b"{}" if method == "POST" else None, {"Content-Type": "application/json"})
    try:
        told[path] = urllib.request.urlopen(asked, timeout=30).status
    except urllib.error.HTTPError as error:
        told[path] = error.code
readable, commands = [], []
for file in Path(data).rglob("*"):
    try:
        readable += [str(file)] if file.is_file() and file.open("rb").read(1) is not None else []
    except OSError:
        pass
told["readable"] = [name for name in readable if "/prefect/" in name or name.endswith("/key")]
for process in Path("/proc").iterdir():
    try:
        commands += [(process / "cmdline").read_text()] if process.name.isdigit() else []
        told["environment"] = (process / "environ").read_text() if process.name == parent else told.get("environment")
    except OSError:
        pass
told["commands"] = [one for one in commands if "prefect" in one]
print(json.dumps(told))
"""


@pytest.mark.journey
@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another account of this machine, which only root may")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="the other account needs a Python of the system's")
def test_another_account_of_the_machine_can_neither_ask_prefect_nor_read_what_opens_it() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_"))}
    with TemporaryDirectory(prefix="insitu-up-") as folder:
        Path(folder).chmod(0o755)  # the way there is open: what is tried is what lies in it
        env = clean | {"INSITU_HOME": f"{folder}/home", "INSITU_LOCALE": "en"}
        with subprocess.Popen([*COMMAND, "up", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as up:
            assert up.stdout is not None
            said = "".join(iter(up.stdout.readline, "Ctrl-C stops all of it.\n"))
            prefect = re.search(r"^Prefect: (\S+)$", said, re.MULTILINE)
            assert prefect is not None, said
            lock = subprocess.check_output([*COMMAND, "prefect", "password"], text=True, env=env).strip()
            # Its own Python: this one's may lie where only its owner looks.
            words = ["/usr/bin/python3", "-c", ANOTHER, prefect[1], f"{folder}/home", str(up.pid)]
            told = json.loads(subprocess.check_output(words, user="nobody", group="nogroup", text=True, env={}, cwd="/"))
            up.send_signal(signal.SIGINT)
            up.communicate(timeout=60)
    assert {path: told[path] for path in ("flow_runs/filter", "deployments/", "admin/settings")} == {
        "flow_runs/filter": 401,
        "deployments/": 401,
        "admin/settings": 401,
    }
    assert told["readable"] == []
    assert not told.get("environment")
    assert told["commands"], "the server is seen, its password is not"
    assert lock.partition(":")[2] not in " ".join(told["commands"])
