"""The main job, start to finish, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from insitu.cli import main; main()"]


def insitu(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_"))}
    command = [*COMMAND, *words, "--json", "--data", str(home)]
    return subprocess.run(command, capture_output=True, text=True, env=clean | {"INSITU_LOCALE": "fr"}, timeout=280, check=False)


@pytest.mark.journey
def test_the_demonstration_plays_a_whole_experiment_to_its_closure(tmp_path: Path) -> None:
    done = insitu(tmp_path, "demo")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["state"], told["prefect_state"]) == ("closed", "Closed")
    assert told["messages"].keys() >= {"opened", "reminder", "overdue", "escalated", "returned", "stopped", "closed", "notify"}
    assert told["mails"] == sum(told["messages"].values()) == len(list((tmp_path / "mail").iterdir()))
    documents = {Path(file).name: Path(file).read_bytes() for file in told["documents"]}
    report = next(content for name, content in documents.items() if name.endswith("evaluation-report-1.html"))
    assert "82,5" in report.decode()
    assert "Traceback" not in done.stderr
    board = json.loads(insitu(tmp_path, "status", told["experiment"]).stdout)
    assert [site["state"] for site in board["sites"]] == ["active", "active", "stopped"]
    assert {(gate["step"], gate["round"]) for gate in board["gates"]} >= {("ethics", 2), ("protocol_review", 2)}
    assert json.loads(insitu(tmp_path, "verify").stdout)["ok"]
    refused = insitu(tmp_path, "demo")
    assert (refused.returncode, "folder of its own" in refused.stderr) == (3, True)
