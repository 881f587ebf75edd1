"""`insitu up`, `serve`, `dispatch`, `worker`, `demo`: what runs until it is told to stop."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    pass
