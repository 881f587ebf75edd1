"""`insitu launch`, `status`, `hold`, `release`, `stop`, `journal`, `notices`: an experiment as a project manager sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from insitu.cli.opening import By, CommandId, Data, Json, Opened, opened
from insitu.cli.show import as_json, as_table, day

Code = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its code, as `insitu status` lists them.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Kept in the journal.")]
OneSite = Annotated[str, typer.Option(metavar="CODE", help="This site's part only.")]


def add_to(app: typer.Typer) -> None:
    for command in (launch, status, hold, release, stop, journal, notices):
        app.command()(command)


def launch(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL")],
    by: By,
    site: Annotated[list[str], typer.Option(metavar="CODE", help="A site that takes part; give it once for each site.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A launch field of the protocol.")] = None,
    version: Annotated[str | None, typer.Option(help="This release of the protocol, not the latest.")] = None,
    title: Annotated[str | None, typer.Option(help="What this experiment is called.")] = None,
    command_id: CommandId = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Launch an experiment and print its code."""
    from insitu.cli.values import launch_values
    from sites.releases import find_release, plan_of

    here = opened(data)
    with here.database.read() as connection:
        fields = plan_of(connection, find_release(connection, protocol, version)["hash"]).protocol.launch
    values = launch_values(set_ or [], fields)
    sites = [code.strip() for one in site for code in one.split(",") if code.strip()]
    found = here.ledger.launch(protocol, sites, values, by, version=version, title=title, command_id=command_id)
    if json:
        as_json(found)
        return
    typer.echo(found["code"])
    typer.echo(here.word("launched", **found), err=True)


def status(
    experiment: Annotated[str | None, typer.Argument(metavar="EXPERIMENT", help="All of them without one.")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Show an experiment's gate board, with why each closed gate is closed; without one, list the experiments."""
    from sites import inbox
    from sites.clock import SystemClock
    from sites.policy import EVERYTHING

    here, now = opened(data), SystemClock().now()
    if experiment is None:
        found = inbox.experiments(here.database, here.locale)
        as_json(found) if json else _show_experiments(here, found)
    else:
        board = inbox.status(here.database, experiment, now, here.locale, access=EVERYTHING)
        as_json(board) if json else _show_board(here, board)
    if not json:
        _warn_of_arrears(here, now)


def _warn_of_arrears(here: Opened, now: datetime) -> None:
    """Say on standard error what the machine is behind with. Prefect's picture may be nobody's task here."""
    from sites.arrears import arrears

    for kind in arrears(here.database, now).behind:
        if kind != "picture":
            typer.echo(here.word(f"behind_{kind}"), err=True)


def _show_experiments(here: Opened, found: list[dict[str, Any]]) -> None:
    headers = [here.word(name) for name in ("experiment", "title", "state", "phase", "open", "progress", "next_due")]
    rows = (
        [one["code"], one["title"], one["state"], one["phase"], one["open"], f"{one['progress']:.0%}", one["next_due_on"] or ""]
        for one in found
    )
    as_table(headers, rows, empty=here.word("nothing"))


def _show_board(here: Opened, board: dict[str, Any]) -> None:
    typer.echo(f"{board['code']} — {board['title']} ({board['protocol']} {board['version']})")
    typer.echo(f"{here.word('state')}: {board['state']}   {here.word('phase')}: {board['phase']}")
    typer.echo(", ".join(f"{site['code']} {site['state']}" for site in board["sites"]))
    headers = [here.word(name) for name in ("gate", "site", "round", "status", "due", "waiting_for")]
    rows = ([gate["title"], gate["site"], gate["round"], gate["status"], _due(here, gate), _waiting(here, gate)] for gate in board["gates"])
    as_table(headers, rows, empty=here.word("nothing"))
    for incident in board["incidents"]:
        typer.echo(f"! {day(incident['at'])} {incident['message']}")


def _due(here: Opened, gate: dict[str, Any]) -> str:
    return f"{gate['due_on']} {here.word('late')}" if gate["late"] else gate["due_on"] or ""


def _waiting(here: Opened, gate: dict[str, Any]) -> str:
    vacant = {role: f"{role}: {here.word('vacant')}" for role in gate["vacant"]}
    return "\n".join(
        f"{one['what']} ({vacant.get(one['role'], one['role'])})" if one["role"] else one["what"] for one in gate["waiting_for"]
    )


def hold(
    experiment: Code, by: By, reason: Reason, site: OneSite = "", command_id: CommandId = None, json: Json = False, data: Data = None
) -> None:
    """Put an experiment, or a site's part, on hold: clocks stop, nothing can be completed."""
    here = opened(data)
    _show_state(here, here.ledger.hold(experiment, by, reason, site=site, command_id=command_id), json)


def release(
    experiment: Code, by: By, reason: Reason, site: OneSite = "", command_id: CommandId = None, json: Json = False, data: Data = None
) -> None:
    """Let an experiment, or a site's part, go on; deadlines move by the time it was held."""
    here = opened(data)
    _show_state(here, here.ledger.release(experiment, by, reason, site=site, command_id=command_id), json)


def stop(
    experiment: Code, by: By, reason: Reason, site: OneSite = "", command_id: CommandId = None, json: Json = False, data: Data = None
) -> None:
    """End an experiment, or a site's part, early and for good."""
    here = opened(data)
    _show_state(here, here.ledger.stop(experiment, by, reason, site=site, command_id=command_id), json)


def _show_state(here: Opened, found: dict[str, Any], json: bool) -> None:
    as_json(found) if json else typer.echo(here.word("experiment_is", **found))


def journal(experiment: Code, json: Json = False, data: Data = None) -> None:
    """List the facts of an experiment, oldest first."""
    from json import dumps

    from sites import inbox
    from sites.policy import EVERYTHING

    here = opened(data)
    facts = inbox.journal(here.database, experiment, EVERYTHING)
    if json:
        as_json(facts)
        return
    headers = ["#", *(here.word(name) for name in ("when", "fact", "by", "step", "site", "details"))]
    rows = (
        [fact["seq"], day(fact["at"]), fact["kind"], fact["by"], fact["step"], fact["site"], dumps(fact["data"], ensure_ascii=False)[:80]]
        for fact in facts
    )
    as_table(headers, rows, empty=here.word("nothing"))


def notices(
    experiment: Annotated[str | None, typer.Argument(metavar="EXPERIMENT", help="All of them without one.")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """List what was sent to whom, when, by which channel, and the result."""
    from notifications.dispatch import sent
    from sites.policy import EVERYTHING

    here = opened(data)
    found = sent(here.database, experiment, EVERYTHING)
    if json:
        as_json(found)
        return
    headers = [here.word(name) for name in ("when", "to", "channel", "result", "subject", "details")]
    rows = ([day(one["at"]), one["person"], one["channel"], one["state"], one["subject"], one["error"]] for one in found)
    as_table(headers, rows, empty=here.word("nothing"))
