"""What `insitu up` loses while it runs, and what is left when it is killed: noticed, said, and put right."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.lock import authorization
from flows.orphan import identity

COMMAND = [sys.executable, "-c", "from insitu.cli import main; main()"]
LAUNCH = ("--site", "CAEN", "--set", "planned_start=2026-05-01", "--set", "target_participants=120", "--as", "b.petit")
READY = "Ctrl-C stops all of it.\n"


def until(holds: Callable[[], Any], what: str, limit_s: float = 120) -> Any:
    """What holds, once it does."""
    pause = threading.Event()
    for _ in range(int(limit_s / 0.1)):
        if found := holds():
            return found
        pause.wait(0.1)
    raise AssertionError(f"{what}: not within {limit_s:.0f} s")


@dataclass
class Up:
    """A running `insitu up`, and what it says of itself."""

    home: Path
    program: subprocess.Popen[str]
    api: str
    prefect: str = ""

    def wait_ready(self) -> None:
        assert self.program.stdout is not None
        said = "".join(iter(self.program.stdout.readline, READY))
        self.prefect = re.findall(r"^Prefect: (\S+)$", said, re.MULTILINE)[0]

    def health(self) -> dict[str, Any]:
        return dict(httpx.get(self.api, trust_env=False, timeout=30).json())

    def state(self, part: str) -> str:
        return str(self.health()["parts"][part]["state"])

    def server(self) -> int:
        """The process of its Prefect server."""
        return int((self.home / "prefect" / "server" / "insitu-server.pid").read_text().split()[0])

    def insitu(self, *words: str) -> str:
        done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, env=environment(self.home), check=True)
        return done.stdout

    def shown(self, code: str) -> str:
        """The state that Prefect shows for the experiment's own run."""
        wanted = {"flow_runs": {"tags": {"all_": [f"experiment:{code}"]}}, "flows": {"name": {"any_": ["experiment"]}}}
        try:
            headers = {"authorization": authorization(self.insitu("prefect", "password").strip())}
            answer = httpx.post(f"{self.prefect}/api/flow_runs/filter", json=wanted, headers=headers, trust_env=False)
        except httpx.TransportError:
            return ""
        return str(answer.json()[0]["state_name"]) if answer.is_success and answer.json() else ""


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_"))}
    # A hospital's proxy, at which nothing answers: what runs on this machine is not called through it.
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    return clean | proxies | {"INSITU_HOME": str(home), "INSITU_LOCALE": "en"}


def hear_of_the_terminal() -> None:
    """As in a terminal, even where these tests run under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def up(home: Path) -> Iterator[Up]:
    command = [*COMMAND, "up", "--port", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=environment(home), preexec_fn=hear_of_the_terminal) as program:
        try:
            assert program.stdout is not None
            api = next(found[1] for line in iter(program.stdout.readline, "") if (found := re.match(r"API: (\S+)$", line)))
            yield Up(home, program, api)
        finally:
            if program.poll() is None:
                program.kill()


@pytest.mark.journey
def test_prefect_is_not_waited_for_and_when_it_is_killed_it_comes_back_with_the_picture_behind_a_proxy(tmp_path: Path) -> None:
    folder = tmp_path / "prefect" / "server"
    folder.mkdir(parents=True)
    (folder / "prefect.db").write_bytes(b"this is not a database" * 1000)
    with up(tmp_path) as running:
        early = running.health()
        assert (early["status"], early["parts"]["prefect"]["state"]) == ("starting", "starting")
        assert early["parts"]["dispatcher"]["state"] == "ok"
        running.wait_ready()
        assert running.health()["status"] == "ok"
        assert [file.name.startswith("prefect.db.unreadable-") for file in folder.glob("prefect.db.unreadable-*")] == [True]
        for kind in ("site", "person"):
            running.insitu(kind, "import", str(files("insitu.demo") / "sites.yaml"))
        code = running.insitu("launch", "telerehab-hip", *LAUNCH).strip()
        until(lambda: running.shown(code).startswith("Awaiting"), "Prefect shows the experiment")

        lost = running.server()
        os.killpg(lost, signal.SIGKILL)
        until(lambda: running.state("prefect") != "ok", "the loss is said", 10)
        assert running.health()["status"] in ("degraded", "starting")
        running.insitu("hold", code, "--reason", "A recall", "--as", "b.petit")
        until(lambda: running.health()["status"] == "ok", "all is well again")
        until(lambda: running.shown(code) == "On hold", "the picture is right again", 60)
        assert running.server() != lost

        server = running.server()
        os.kill(running.program.pid, signal.SIGHUP)
        _, errors = running.program.communicate(timeout=60)
    assert (running.program.returncode, "Traceback" in errors, identity(server)) == (0, False, "")


@pytest.mark.journey
def test_three_kills_of_up_leave_no_two_servers_on_one_database(tmp_path: Path) -> None:
    servers = []
    for _ in range(3):
        with up(tmp_path) as running:
            servers.append(until(lambda running=running: _server_of(running), "its Prefect starts"))  # type: ignore[misc]
            running.program.kill()
            running.program.wait()
    # Prefect itself is told by the closed pipe; here it is in the midst of its start.
    until(lambda: not any(identity(server) for server in servers), "every server ends with its parent", 30)


def _server_of(running: Up) -> int:
    try:
        return running.server()
    except (OSError, IndexError):
        return 0
