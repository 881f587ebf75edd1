"""`insitu backup`, `restore`, `verify`: keeping the ledger, and trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from insitu.cli.opening import Data, Json, Opened, opened
from insitu.cli.show import as_json

File = Annotated[Path, typer.Argument(metavar="FILE")]


def add_to(app: typer.Typer) -> None:
    for command in (verify, backup, restore):
        app.command()(command)


def verify(
    experiment: Annotated[str | None, typer.Argument(metavar="EXPERIMENT", help="All of them without one.")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Recompute the journal's hash chain; exit status 1 when a fact was changed, lost or added."""
    from sites import journal

    here = opened(data)
    found = journal.verify(here.database, experiment)
    if json:
        as_json(found)
    elif found["ok"]:
        typer.echo(here.word("verified", **found))
    else:
        typer.echo(here.word("broken", **found["first_bad"]), err=True)
    if not found["ok"]:
        raise typer.Exit(1)


def backup(file: File, json: Json = False, data: Data = None) -> None:
    """Write the whole ledger to one file, of one moment, while others go on working."""
    from sites import backup as backups

    here = opened(data)
    _say(here, "backed_up", backups.backup(here.database, file, here.ledger.clock), json)


def restore(
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Lose what the ledger holds now.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Put a backup in place of an empty ledger and read every row back; nothing is written unless all of it fits."""
    from sites import backup as backups

    here = opened(data)
    _say(here, "restored", backups.restore(here.database, file, replace=replace, beside=here.settings.data), json)


def _say(here: Opened, key: str, found: dict[str, Any], json: bool) -> None:
    if json:
        as_json(found)
    else:
        typer.echo(here.word(key, **found, facts=found["tables"]["fact"]))
    if not found["journal"]["ok"]:
        typer.echo(here.word("journal_was_broken", why=found["journal"]["first_bad"]["why"]), err=True)
