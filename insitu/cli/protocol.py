"""`insitu protocol`: documents before and after their release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insitu.cli.opening import Data, Json, Opened, file_text, opened
from insitu.cli.show import as_json, as_table, day

if TYPE_CHECKING:
    from protocols.errors import Problem
    from protocols.model import Protocol

app = typer.Typer(name="protocol", help="Protocols: check, release, show.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID")]
Version = Annotated[str | None, typer.Option(help="This release, not the latest.")]


@app.command("lint")
def lint(files: Annotated[list[Path], typer.Argument(metavar="FILE…")], json: Json = False, data: Data = None) -> None:
    """Say everything that is wrong with protocol files, by line; exit status 2 when one cannot be released."""
    here = opened(data)
    found = [problem for file in files for problem in _problems(here, file)]
    if json:
        as_json([_shape(problem) for problem in found])
    elif found:
        for problem in found:
            typer.echo(str(problem))
    else:
        typer.echo(here.word("sound", files=len(files)))
    if any(problem.level == "error" for problem in found):
        raise typer.Exit(2)


def _problems(here: Opened, file: Path) -> list[Problem]:
    from flows.actions.render import known_templates
    from protocols.lint import LATER_RULES, Known
    from sites.database import Database
    from sites.readiness import revision_of
    from sites.releases import problems

    text, known = file_text(file), Known(templates=known_templates())
    found = problems(text, str(file), known=known)
    if not LATER_RULES.isdisjoint(problem.code for problem in found) and revision_of(there := Database(here.settings.database_url)):
        found = problems(text, str(file), database=there, known=known)  # what was released there is only warned of them
    return found


def _shape(problem: Problem) -> dict[str, Any]:
    names = ("file", "line", "code", "message", "path", "level")
    return {name: getattr(problem, name) for name in names}


@app.command("add")
def add(file: Annotated[Path, typer.Argument(metavar="FILE")], json: Json = False, data: Data = None) -> None:
    """Release a protocol; the same content again changes nothing, a release never changes."""
    from sites import releases
    from sites.clock import SystemClock

    here = opened(data)
    found = releases.add(here.database, file_text(file), SystemClock(), str(file))
    as_json(found) if json else typer.echo(here.word("released", **found))


@app.command("list")
def list_(json: Json = False, data: Data = None) -> None:
    """List the released protocols."""
    here = opened(data)
    found = [_summary(here, row) for row in _releases(here)]
    if json:
        as_json(found)
        return
    headers = [here.word(name) for name in ("protocol", "version", "title", "added")]
    rows = ([one["id"], one["version"], one["title"], day(one["added_at"])] for one in found)
    as_table(headers, rows, empty=here.word("nothing"))


def _releases(here: Opened) -> list[dict[str, Any]]:
    from sites.releases import releases

    return releases(here.database)


def _summary(here: Opened, row: dict[str, Any]) -> dict[str, Any]:
    from json import loads

    from protocols.model import in_locale
    from sites.inbox import iso

    title = in_locale(loads(row["content"])["title"], here.locale)
    return {name: row[name] for name in ("id", "version", "hash")} | {"title": title, "added_at": iso(row["added_at"])}


@app.command("show")
def show(protocol: Id, version: Version = None, json: Json = False, data: Data = None) -> None:
    """Print a released protocol as it was added; with --json its canonical form and its hash."""
    from json import loads

    from sites.releases import find_release

    here = opened(data)
    with here.database.read() as connection:
        row = find_release(connection, protocol, version)
    if json:
        as_json(_summary(here, row) | {"content": loads(row["content"])})
    else:
        typer.echo(row["source"] or row["content"])


@app.command("diagram")
def diagram(protocol: Id, version: Version = None, json: Json = False, data: Data = None) -> None:
    """Print a protocol's steps and arrows as a Mermaid flowchart."""
    from protocols.diagram import mermaid

    here = opened(data)
    text = mermaid(_released(here, protocol, version), here.locale)
    as_json({"mermaid": text}) if json else typer.echo(text)


def _released(here: Opened, protocol: str, version: str | None) -> Protocol:
    from sites.releases import find_release, plan_of

    with here.database.read() as connection:
        return plan_of(connection, find_release(connection, protocol, version)["hash"]).protocol
