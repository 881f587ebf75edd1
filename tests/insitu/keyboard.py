"""A way to type commands at an installation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from insitu.cli import app

LAUNCH = ("--site", "CAEN", "--site", "METZ", "--set", "planned_start=2026-05-01", "--set", "target_participants=120")


@dataclass
class Said:
    """What a command gave."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Terminal:
    """Types commands at one data folder."""

    data: Path

    def type(self, *words: str, typed: str | None = None) -> Said:
        result = CliRunner().invoke(app, [*words, "--data", str(self.data)], input=typed)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def json(self, *words: str, typed: str | None = None) -> Any:
        """The JSON a command prints when all goes well."""
        said = self.type(*words, "--json", typed=typed)
        assert said.status == 0, said.err
        return said.json

    def launch(self) -> str:
        return str(self.json("launch", "telerehab-hip", *LAUNCH, "--as", "b.petit")["code"])

    def complete(self, checkpoint: str, by: str, answers: dict[str, Any], *words: str) -> Any:
        return self.json("complete", checkpoint, "--as", by, "--answers", "-", *words, typed=json.dumps(answers))
