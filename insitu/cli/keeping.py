"""`insitu backup`, `restore`, `verify`, `anchor`: keeping the ledger, and trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from insitu.cli.opening import Data, Json, Opened, opened
from insitu.cli.show import as_json
from protocols.errors import InvalidInput
from protocols.phrase import Phrase

File = Annotated[Path, typer.Argument(metavar="FILE")]


def add_to(app: typer.Typer) -> None:
    for command in (verify, anchor, backup, restore):
        app.command()(command)


def verify(
    experiment: Annotated[str | None, typer.Argument(metavar="EXPERIMENT", help="All of them without one.")] = None,
    anchors: Annotated[
        Path | None, typer.Option("--anchors", metavar="DIR", help="A copy of the anchors, instead of those this machine keeps.")
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Verify journals, states, protocols, documents and records, against the anchors too; exit status 1 when something does not fit."""
    from sites import verification

    here = opened(data)
    kept = anchors or here.settings.anchors
    if anchors and not anchors.is_dir():
        raise InvalidInput(Phrase("There is no folder {folder}.", folder=anchors))
    found = verification.verify(here.database, experiment, anchors=kept, data=None if anchors else here.settings.data)
    if json:
        as_json(found)
    elif found["ok"]:
        typer.echo(here.word("verified", **found))
        _say_anchors(here, found["anchors"])
    else:
        for one in found["findings"]:
            typer.echo(_finding(here, one), err=True)
        if found["count"] > len(found["findings"]):
            typer.echo(here.word("broken_more", count=found["count"] - len(found["findings"])), err=True)
    if not found["ok"]:
        raise typer.Exit(1)


def _finding(here: Opened, one: dict[str, Any]) -> str:
    """A finding as a line: where it is, then what it is."""
    why = here.text(one["why"])
    if one["seq"] is not None:
        return here.word("broken", experiment=one["experiment"], seq=one["seq"], why=why)
    place = [one["experiment"], one.get("step", ""), one.get("site", "")]
    return here.word("broken_at", place=", ".join(filter(None, place)), why=why) if any(place) else here.word("broken_somewhere", why=why)


def _say_anchors(here: Opened, anchors: dict[str, Any] | None) -> None:
    if anchors is None or anchors["last"] is None:
        typer.echo(here.word("anchors_none"))
        return
    typer.echo(here.word("anchors_hold", lines=anchors["lines"], **anchors["last"]))
    for key in anchors["keys"]:
        typer.echo(here.word("anchors_signed", **key))


def anchor(
    new_key: Annotated[bool, typer.Option("--new-key", help="Announce another key, which signs from the next anchor on.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Sign the heads of all journals into the file of anchors, now. `insitu up` and `insitu dispatch` do it once a day."""
    from sites.anchors.keeper import Keeper

    here = opened(data)
    line = Keeper(here.database, here.ledger.clock, here.settings).anchor(new_key=new_key)
    told = {name: getattr(line, name) for name in ("number", "date", "count", "root", "hash", "signer")}
    told |= {"file": str(here.settings.anchors)}
    if json:
        as_json(told | {"key": line.key, "next_key": line.next_key})
    else:
        typer.echo(here.word("anchored", **told))


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
