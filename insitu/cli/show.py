"""How a command shows what it found: a table, a line, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import typer

WIDTH_WITHOUT_TERMINAL = 160


def as_json(value: Any) -> None:
    """Print JSON; times in RFC 3339 UTC."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, (datetime, date)) else str(value)


def as_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str, title: str = "") -> None:
    """Print rows under their headers, or the sentence for when there are none."""
    listed = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not listed:
        typer.echo(empty)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, headers), title=escape(title) or None, box=SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for row in listed:
        table.add_row(*map(escape, row))
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    console.print(table)


def day(moment: str | datetime | None) -> str:
    """A time to the minute on this machine's own clock, "" for none."""
    if moment is None:
        return ""
    instant = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return instant.astimezone().strftime("%Y-%m-%d %H:%M")
