"""`insitu delegation`, `training`, `deputy` and `conflict`: what lets a person act, or forbids it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insitu.cli.opening import By, Data, Json, Opened, file_bytes, opened
from insitu.cli.show import as_json, as_table

if TYPE_CHECKING:
    from sites.policy import Reader

delegation_app = typer.Typer(name="delegation", help="The delegation log: who may act in a role at a site.", no_args_is_help=True)
training_app = typer.Typer(name="training", help="Who was trained on which version of a protocol.", no_args_is_help=True)
deputy_app = typer.Typer(name="deputy", help="Who acts in someone's place while they are away.", no_args_is_help=True)
conflict_app = typer.Typer(name="conflict", help="Conflicts of interest, which forbid to act.", no_args_is_help=True)
apps = (delegation_app, training_app, deputy_app, conflict_app)

Person = Annotated[str, typer.Argument(metavar="PERSON")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", help="As `list` shows it.")]
Site = Annotated[str, typer.Option("--site", metavar="CODE", help="The site; none for the experiment as a whole.")]
Experiment = Annotated[str, typer.Option("--experiment", metavar="CODE", help="The experiment.")]
Evidence = Annotated[Path | None, typer.Option(metavar="FILE", help="A document to keep with it, such as the signed sheet.")]
Until = Annotated[datetime | None, typer.Option("--until", formats=["%Y-%m-%d"], metavar="DATE", help="Last day, local.")]
From = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First day, local; today by default.")]
On = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], metavar="DATE", help="The day, local; today by default.")]
Meaning = Annotated[str | None, typer.Option(metavar="TEXT", help="What the record means, as it was shown; another text is refused.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever reads it later.")]
OfPerson = Annotated[str, typer.Option("--person", metavar="PERSON", help="Of this person only.")]
Page = Annotated[int, typer.Option(min=1, help="Fifty a page, newest first.")]


# ------------------------------------------------------------------ delegations


@delegation_app.command("record")
def record_delegation(
    person: Person,
    role: Annotated[str, typer.Argument(metavar="ROLE")],
    experiment: Experiment,
    by: By,
    site: Site = "",
    from_: From = None,
    until: Until = None,
    evidence: Evidence = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Note that a person may act in a role at a site; it counts once the investigator has signed it."""
    from sites.qualifications import NewDelegation, record

    here = opened(data)
    days = (_day(here, from_), until.date() if until else None)
    new = NewDelegation(person, role, site, experiment, *days, _kept(here, evidence, by))
    number = record(here.database, here.ledger.clock, new, by=by)
    _say(here, json, "delegation_recorded", number, person=person, role=role)


@delegation_app.command("sign")
def sign_delegation(number: Number, by: By, meaning: Meaning = None, json: Json = False, data: Data = None) -> None:
    """Sign a delegation as the investigator of the site; as a project manager when it is the investigator's own."""
    from sites.qualifications import sign_delegation as sign
    from sites.signing import unasked

    here = opened(data)
    said = sign(here.database, here.ledger.clock, number, by=by, prove=unasked, meaning=meaning)
    _say(here, json, "signed_as", number, meaning=said)


@delegation_app.command("end")
def end_delegation(number: Number, by: By, reason: Reason, on: On = None, json: Json = False, data: Data = None) -> None:
    """End a delegation from a day on; it is never taken out of the log."""
    from sites.qualifications import end_delegation as end

    here = opened(data)
    end(here.database, here.ledger.clock, number, by=by, on=_day(here, on), why=reason)
    _say(here, json, "ended_on", number, on=_day(here, on))


@delegation_app.command("list")
def list_delegations(
    by: By, experiment: Experiment = "", site: Site = "", person: OfPerson = "", page: Page = 1, json: Json = False, data: Data = None
) -> None:
    """List the delegations that a person may see."""
    from sites.qualifications import delegations

    here = opened(data)
    found = delegations(here.database, _reader(here, by), site=site, experiment=experiment, person=person, page=page)
    _list(here, json, found, ("id", "person", "role", "site", "experiment", "from", "until", "state", "signed_by"))


# ------------------------------------------------------------------ trainings


@training_app.command("record")
def record_training(
    person: Person,
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL")],
    by: By,
    site: Site = "",
    version: Annotated[str | None, typer.Option(metavar="VERSION", help="The latest by default.")] = None,
    on: On = None,
    until: Until = None,
    evidence: Evidence = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Note that a person was trained on a version of a protocol; it counts once the investigator has signed it."""
    from sites.qualifications import NewTraining, record
    from sites.releases import find_release

    here = opened(data)
    with here.database.read() as connection:
        found = find_release(connection, protocol, version)["version"]
    new = NewTraining(person, protocol, found, site, _day(here, on), until.date() if until else None, _kept(here, evidence, by))
    number = record(here.database, here.ledger.clock, new, by=by)
    _say(here, json, "training_recorded", number, person=person, protocol=f"{protocol} {found}")


@training_app.command("sign")
def sign_training(number: Number, by: By, meaning: Meaning = None, json: Json = False, data: Data = None) -> None:
    """Sign a training as an investigator of the site; as a project manager when it is an investigator's own."""
    from sites.qualifications import sign_training as sign
    from sites.signing import unasked

    here = opened(data)
    said = sign(here.database, here.ledger.clock, number, by=by, prove=unasked, meaning=meaning)
    _say(here, json, "signed_as", number, meaning=said)


@training_app.command("end")
def end_training(number: Number, by: By, reason: Reason, on: On = None, json: Json = False, data: Data = None) -> None:
    """End a training from a day on, such as one that must be taken again."""
    from sites.qualifications import end_training as end

    here = opened(data)
    end(here.database, here.ledger.clock, number, by=by, on=_day(here, on), why=reason)
    _say(here, json, "ended_on", number, on=_day(here, on))


@training_app.command("list")
def list_trainings(by: By, site: Site = "", person: OfPerson = "", page: Page = 1, json: Json = False, data: Data = None) -> None:
    """List the trainings that a person may see."""
    from sites.qualifications import trainings

    here = opened(data)
    found = trainings(here.database, _reader(here, by), site=site, person=person, page=page)
    _list(here, json, found, ("id", "person", "protocol", "version", "site", "from", "until", "state", "signed_by"))


# ------------------------------------------------------------------ deputies


@deputy_app.command("name")
def name_deputy(
    person: Person,
    deputy: Annotated[str, typer.Argument(metavar="DEPUTY", help="Who acts in their place.")],
    until: Annotated[datetime, typer.Option("--until", formats=["%Y-%m-%d"], metavar="DATE", help="Last day, local.")],
    by: By,
    from_: From = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Let someone act in every role of a person for a while: one's own deputy, or a project manager anyone's."""
    from sites.deputies import name_deputy as name

    here = opened(data)
    number = name(here.database, here.ledger.clock, person, deputy, _day(here, from_), until.date(), by=by)
    _say(here, json, "deputy_named", number, person=person, deputy=deputy, until=until.date())


@deputy_app.command("end")
def end_deputy(number: Number, by: By, json: Json = False, data: Data = None) -> None:
    """End a deputy's time at once."""
    from sites.deputies import end_deputy as end

    here = opened(data)
    end(here.database, here.ledger.clock, number, by=by)
    _say(here, json, "ended_now", number)


@deputy_app.command("list")
def list_deputies(by: By, json: Json = False, data: Data = None) -> None:
    """List the deputies that a person may see: theirs, those they are, all for a project manager."""
    from sites.deputies import deputies

    here = opened(data)
    _list(here, json, deputies(here.database, _reader(here, by)), ("id", "person", "deputy", "from", "until", "state"))


# ------------------------------------------------------------------ conflicts of interest


@conflict_app.command("declare")
def declare_conflict(person: Person, reason: Reason, by: By, experiment: Experiment = "", json: Json = False, data: Data = None) -> None:
    """Declare a conflict of interest, in an experiment or in all: the person does nothing there until it is over."""
    from sites.conflicts import declare

    here = opened(data)
    number = declare(here.database, here.ledger.clock, person, experiment, reason, by=by)
    _say(here, json, "conflict_declared", number, person=person)


@conflict_app.command("withdraw")
def withdraw_conflict(number: Number, by: By, json: Json = False, data: Data = None) -> None:
    """Note that a conflict of interest is over; another project manager does, never whoever has it."""
    from sites.conflicts import withdraw

    here = opened(data)
    withdraw(here.database, here.ledger.clock, number, by=by)
    _say(here, json, "ended_now", number)


@conflict_app.command("list")
def list_conflicts(by: By, json: Json = False, data: Data = None) -> None:
    """List the conflicts of interest that a person may see: their own, and those of the experiments they manage."""
    from sites.conflicts import conflicts

    here = opened(data)
    _list(here, json, conflicts(here.database, _reader(here, by)), ("id", "person", "experiment", "reason", "declared_by", "withdrawn_by"))


# ------------------------------------------------------------------ small parts


def _day(here: Opened, given: datetime | None) -> date:
    """The day given, else today's date in France."""
    from protocols import clocks
    from protocols.clocks import Place

    return given.date() if given else clocks.local_date(here.ledger.clock.now(), Place())


def _kept(here: Opened, file: Path | None, by: str) -> str:
    """The hash of a file that a person keeps as evidence, "" for none."""
    from sites import files
    from sites.evidence import OF_RECORD

    if file is None:
        return ""
    return str(files.store(here.ledger, OF_RECORD, file.name, file_bytes(file), by=by)["hash"])


def _reader(here: Opened, person: str) -> Reader:
    from sites import policy

    with here.database.read() as connection:
        return policy.reader(connection, person, here.ledger.clock.now())


def _say(here: Opened, json: bool, key: str, number: int, **values: object) -> None:
    as_json({"id": number}) if json else typer.echo(here.word(key, id=number, **values))


def _list(here: Opened, json: bool, found: list[dict[str, Any]], names: Iterable[str]) -> None:
    if json:
        as_json(found)
        return
    shown = tuple(names)
    rows = ([here.word(row[name]) if name == "state" else row[name] for name in shown] for row in found)
    as_table([here.word("number" if name == "id" else name) for name in shown], rows, empty=here.word("nothing"))
