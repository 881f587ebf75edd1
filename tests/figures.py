"""What long runs measured: a line of JSON each, appended, so that a run that was cut off goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).parents[1]
FILE = Path(os.environ.get("INSITU_FIGURES", HOUSE / ".insitu-soak" / "figures.jsonl"))


def commit() -> str:
    """The commit that is checked out."""
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HOUSE, capture_output=True, text=True, check=True).stdout.strip()


def lines() -> list[dict[str, Any]]:
    """What was measured, oldest first."""
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()] if FILE.exists() else []


def skip_if_done(name: str) -> None:
    """Skip a run that has passed at this commit."""
    if any(line["run"] == name and line["commit"] == commit() for line in lines()):
        pytest.skip(f"{name} has passed at this commit: see {FILE.name}")


def keep(name: str, **figures: Any) -> None:
    """Append what a run measured once it has passed."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    line = {"run": name, "commit": commit(), "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", **figures}
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
