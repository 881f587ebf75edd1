"""`insitu account`: who can come in; invitations for centres with and without mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from insitu.cli.opening import By, Data, Json, Opened, opened
from insitu.cli.show import as_json, as_table, day

if TYPE_CHECKING:
    from sites.identity.links import Purpose

app = typer.Typer(name="account", help="Who can come in, and how.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(metavar="PERSON")]


@app.command()
def invite(person: Person, by: By, json: Json = False, data: Data = None) -> None:
    """Invite a person to choose a password; the link is mailed, and printed for a centre without mail."""
    from sites.identity import accounts

    here = opened(data)
    _show_link(here, "invitation", "invited", person, accounts.invite(here.database, here.ledger.clock, person, by=by), json)


@app.command()
def recover(person: Person, by: By, json: Json = False, data: Data = None) -> None:
    """Let a person who lost their password choose another; the link is mailed, and printed for a centre without mail."""
    from protocols.errors import Refused
    from sites.identity import accounts

    here = opened(data)
    nonce = accounts.recover(here.database, here.ledger.clock, person, by=by)
    if nonce is None:
        raise Refused(f"{person} has no open account with a password to recover. Invite them: insitu account invite {person}.")
    _show_link(here, "recovery", "recovering", person, nonce, json)


def _show_link(here: Opened, purpose: Purpose, said: str, person: str, nonce: str, json: bool) -> None:
    from sites.identity.accounts import person_of
    from sites.identity.keys import Key
    from sites.identity.links import path_of

    link = here.settings.public_url + path_of(Key.of(here.settings), purpose, nonce)
    if json:
        as_json({"person": person, "link": link})
        return
    found = person_of(here.database, person)
    typer.echo(here.word(said, person=person, email=found["email"] if found else ""))
    typer.echo(link)


@app.command("list")
def list_accounts(json: Json = False, data: Data = None) -> None:
    """List the people with how they sign in, and when they last did."""
    from sites.identity import accounts

    here = opened(data)
    found = accounts.accounts(here.database)
    if json:
        as_json(found)
        return
    headers = [here.word(name) for name in ("person", "name", "state", "password", "second_factor", "oidc", "last_seen")]
    rows = ([one["person"], one["name"], _state(here, one), *_ways(here, one), day(one["seen_at"])] for one in found)
    as_table(headers, rows, empty=here.word("nothing"))


def _state(here: Opened, account: dict[str, Any]) -> str:
    if not account["has_account"]:
        return here.word("account_none")
    if account["disabled_at"]:
        return here.word("account_closed")
    is_locked = account["locked_until"] and account["locked_until"] > here.ledger.clock.now()
    return here.word("account_locked" if is_locked else "account_open")


def _ways(here: Opened, account: dict[str, Any]) -> list[str]:
    return [here.word("yes") if account[way] else "" for way in ("password", "second_factor", "oidc")]


@app.command()
def disable(person: Person, by: By, json: Json = False, data: Data = None) -> None:
    """Close a person's account: its sessions, tokens and links end at once."""
    from sites.identity import accounts

    here = opened(data)
    changed = accounts.disable(here.database, here.ledger.clock, person, by=by)
    _said(here, "account_is_closed", person, changed, json)


@app.command()
def enable(person: Person, by: By, json: Json = False, data: Data = None) -> None:
    """Open a person's account again, or lift its lock."""
    from sites.identity import accounts

    here = opened(data)
    changed = accounts.enable(here.database, here.ledger.clock, person, by=by)
    _said(here, "account_is_open", person, changed, json)


@app.command("reset-second-factor")
def reset_second_factor(person: Person, by: By, json: Json = False, data: Data = None) -> None:
    """Take away the second factor of a person who lost their telephone and their recovery codes."""
    from sites.identity import accounts, second_factor

    here = opened(data)
    accounts.require_account_manager(here.database, here.ledger.clock, by, person)
    changed = second_factor.remove_second_factor(here.database, here.ledger.clock, person, by=by)
    _said(here, "factor_removed", person, changed, json)


@app.command()
def link(
    person: Person,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="What the provider calls them: `sub`, or INSITU_OIDC_CLAIM.")],
    by: By,
    json: Json = False,
    data: Data = None,
) -> None:
    """Take the OpenID provider's word for a person, known there as SUBJECT."""
    from sites.identity import subjects

    here = opened(data)
    name = subjects.subject_named(here.settings.oidc_issuer, subject)
    subjects.introduce(here.database, here.ledger.clock, person, name, by=by)
    _said(here, "account_linked", person, True, json)


@app.command()
def unlink(person: Person, by: By, json: Json = False, data: Data = None) -> None:
    """Take the OpenID provider's word for a person no more; whoever came by it is signed out, and no e-mail links it again."""
    from sites.identity import subjects

    here = opened(data)
    changed = subjects.unlink_subject(here.database, here.ledger.clock, person, by=by)
    _said(here, "account_unlinked" if changed else "account_not_linked", person, changed, json)


def _said(here: Opened, key: str, person: str, changed: bool, json: bool) -> None:
    as_json({"person": person, "changed": changed}) if json else typer.echo(here.word(key, person=person))
