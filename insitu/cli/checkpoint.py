"""`insitu inbox`, `complete`, `sign`, `retry` and `insitu checkpoint`: what people answer and sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from insitu.cli.opening import By, CommandId, Data, Json, Opened, answers_in, file_bytes, opened
from insitu.cli.show import as_json, as_table, day

app = typer.Typer(name="checkpoint", help="One checkpoint in full.", no_args_is_help=True)

Checkpoint = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="EXPERIMENT:step:SITE:round, as `insitu inbox` lists them.")]


def add_to(app: typer.Typer) -> None:
    for command in (inbox, complete, sign, retry):
        app.command()(command)


def inbox(by: By, json: Json = False, data: Data = None) -> None:
    """List the checkpoints a person may complete or sign now: due, late, blocked."""
    from sites import inbox as reads
    from sites.clock import SystemClock

    here = opened(data)
    found = reads.inbox(here.database, by, SystemClock().now())
    if json:
        as_json(found)
        return
    headers = [here.word(name) for name in ("checkpoint", "step", "needs", "due", "state")]
    rows = ([one["id"], one["title"], here.word(one["needs"]), one["due_on"] or "", _state(here, one)] for one in found)
    as_table(headers, rows, empty=here.word("nothing_to_do", person=by))


def _state(here: Opened, item: dict[str, Any]) -> str:
    found = [here.word(name) for name in ("late", "blocked") if item[name]]
    found += [here.word("in_place_of", of=item["of"])] if item["of"] else []
    return ", ".join(found + [here.word("lacks", what=here.word(name)) for name in item["lacks"]])


@app.command("show")
def show(
    checkpoint: Checkpoint,
    by: Annotated[str | None, typer.Option("--as", metavar="PERSON", help="Show this person's draft too.")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Show a checkpoint: its form, answers, signatures, earlier rounds, and why its gate is closed."""
    from sites import inbox as reads
    from sites.clock import SystemClock
    from sites.policy import EVERYTHING

    here = opened(data)
    found = reads.checkpoint(here.database, checkpoint, SystemClock().now(), person=by, locale=here.locale, access=EVERYTHING)
    if json:
        as_json(found)
        return
    typer.echo(f"{found['id']} — {found['title']}: {found['status']}")
    if found["help"]:
        typer.echo(found["help"])
    answers = found["answers"] or (found["draft"] or {}).get("answers") or {}
    rows = (
        [field["id"], field["type"] + (f", {here.word('required')}" if field["required"] else ""), field["label"], answers.get(field["id"])]
        for field in found["form"]
    )
    as_table([here.word(name) for name in ("field", "type", "label", "answer")], rows, empty=here.word("nothing"))
    for one in found["signatures"]:
        typer.echo(f"✓ {one['meaning']} — {one['by']} ({one['role']}), {day(one['at'])}")
    _say_what_it_waits_for(here, found)


def complete(
    checkpoint: Checkpoint,
    by: By,
    answers: Annotated[Path, typer.Option(metavar="FILE.json", help='A JSON object {"field": answer}; `-` for standard input.')],
    attach: Annotated[list[str] | None, typer.Option(metavar="FIELD=FILE", help="Store a file and answer a file field with it.")] = None,
    change: Annotated[bool, typer.Option("--change", help="Replace answers that wait for signatures; these are void.")] = False,
    command_id: CommandId = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Answer a checkpoint. Answers that are refused are kept as a draft."""
    given = answers_in(answers)
    here = opened(data)
    given |= _attached(here, checkpoint, attach or [], by)
    _show_outcome(here, here.ledger.complete(checkpoint, given, by, command_id=command_id, change=change), json)


def _attached(here: Opened, checkpoint: str, attach: list[str], by: str) -> dict[str, Any]:
    """The answers of file fields: each file is stored, if its field accepts it, and answered with its hash."""
    from protocols.errors import InvalidInput
    from sites import files
    from sites.checkpoints import CheckpointId
    from sites.releases import plan_of
    from sites.snapshot import find

    found: dict[str, Any] = {}
    for one in attach:
        field, sign, name = one.partition("=")
        if not sign:
            raise InvalidInput(f"--attach {one!r} should be FIELD=FILE, such as letter=opinion.pdf.")
        at, content = CheckpointId.parse(checkpoint), file_bytes(Path(name))
        with here.database.read() as connection:
            wanted = files.file_field(plan_of(connection, find(connection, at.experiment)["protocol"]), at.step, field)
        found[field] = files.store(here.ledger, wanted, Path(name).name, content, by=by)
    return found


def sign(
    checkpoint: Checkpoint,
    by: By,
    command_id: CommandId = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Put the next signature on a checkpoint's answers; what it means is in the protocol and kept with it."""
    from sites.signing import unasked

    here = opened(data)
    _show_outcome(here, here.ledger.sign(checkpoint, by, prove=unasked, command_id=command_id), json)


def retry(checkpoint: Checkpoint, by: By, command_id: CommandId = None, json: Json = False, data: Data = None) -> None:
    """Ask for a step's failed automated action again; only a project manager may."""
    here = opened(data)
    _show_outcome(here, here.ledger.retry_action(checkpoint, by, command_id=command_id), json)


def _show_outcome(here: Opened, found: dict[str, Any], json: bool) -> None:
    if json:
        as_json(found)
        return
    typer.echo(here.word("checkpoint_is", **found))
    if found.get("gate"):
        typer.echo(here.word("gate_is", **found))
    _say_what_it_waits_for(here, found)


def _say_what_it_waits_for(here: Opened, found: dict[str, Any]) -> None:
    for one in found["waiting_for"]:
        typer.echo(here.word("still_waits", **one))
