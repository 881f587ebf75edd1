"""`insitu site`, `insitu person`, `insitu assign`: who takes part, and where."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from insitu.cli.opening import Data, Json, Opened, file_bytes, opened
from insitu.cli.show import as_json, as_table

site_app = typer.Typer(name="site", help="Care settings.", no_args_is_help=True)
person_app = typer.Typer(name="person", help="People, and the roles they hold.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML, or CSV by its ending; `-` for standard input.")]


@site_app.command("import")
def import_sites(file: File, json: Json = False, data: Data = None) -> None:
    """Import the sites of a file, all or nothing; the same file again changes nothing."""
    _import(opened(data), file, ("sites",), json)


@person_app.command("import")
def import_people(file: File, json: Json = False, data: Data = None) -> None:
    """Import the people and assignments of a file, all or nothing; the same file again changes nothing."""
    _import(opened(data), file, ("people", "assignments"), json)


def _import(here: Opened, file: Path, kinds: tuple[str, ...], json: bool) -> None:
    from sites.registry import import_file
    from sites.sheets import decoded

    found = import_file(here.database, decoded(file_bytes(file), str(file)), str(file), kinds, clock=here.ledger.clock)
    _warn(found)
    if json:
        as_json(found)
        return
    for kind in kinds:
        typer.echo(here.word("imported", **found[kind] | {"kind": here.word(kind)}))


def _warn(found: dict[str, Any]) -> None:
    for warning in found["warnings"]:
        typer.echo(warning, err=True)


@site_app.command("list")
def list_sites(json: Json = False, data: Data = None) -> None:
    """List the sites."""
    from sites.registry import sites

    here = opened(data)
    found = sites(here.database)
    if json:
        as_json(found)
        return
    names = ("code", "name", "kind", "territory", "timezone")
    as_table([here.word(name) for name in names], ([row[name] for name in names] for row in found), empty=here.word("nothing"))


@person_app.command("list")
def list_people(json: Json = False, data: Data = None) -> None:
    """List the people and their roles; of a channel only its kind is shown."""
    from sites.registry import assignments, people

    here = opened(data)
    held = assignments(here.database)
    found = [person | {"assignments": [one for one in held if one["person"] == person["id"]]} for person in people(here.database)]
    if json:
        as_json(found)
        return
    headers = [here.word(name) for name in ("person", "name", "email", "locale", "channels", "roles")]
    rows = ([row["id"], row["name"], row["email"], row["locale"], " ".join(row["channels"]), _roles(row)] for row in found)
    as_table(headers, rows, empty=here.word("nothing"))


def _roles(person: dict[str, Any]) -> str:
    return ", ".join("@".join(filter(None, (one["role"], one["site"], one["experiment"]))) for one in person["assignments"])


def add_to(app: typer.Typer) -> None:
    app.command()(assign)


def assign(
    person: Annotated[str, typer.Argument(metavar="PERSON")],
    role: Annotated[str, typer.Argument(metavar="ROLE")],
    site: Annotated[str | None, typer.Option(metavar="CODE", help="At this site only.")] = None,
    experiment: Annotated[str | None, typer.Option(metavar="CODE", help="In this experiment only.")] = None,
    from_: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First day, local.")] = None,
    until: Annotated[datetime | None, typer.Option("--until", formats=["%Y-%m-%d"], metavar="DATE", help="Last day, local.")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Let a person hold a role, everywhere or at a site or in an experiment."""
    from sites import registry

    here = opened(data)
    found = registry.assign(here.database, person, role, site, experiment, _date(from_), _date(until), clock=here.ledger.clock)
    _warn(found)
    as_json(found) if json else typer.echo(here.word("assigned", **found))


def _date(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
