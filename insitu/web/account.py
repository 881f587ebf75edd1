"""A person's own account: language, password, second factor, browsers signed in, tokens, provider."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.doors import doors_of
from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, page
from insitu.entrance.proof import is_proven_lately, prove_again
from insitu.entrance.visitor import SignedIn, Visitor
from insitu.web.passwords import differing, said_in
from protocols.errors import InvalidInput, NotProven, Refused, UnknownThing
from protocols.model import LOCALES
from protocols.phrase import Phrase
from sites.identity import accounts, subjects, tokens
from sites.identity.sessions import PROVIDER, end_sessions, sessions_of

router = APIRouter()

SCOPES = ("read", "write")
DAYS = ("30", "90", "365")
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


@router.get("/account")
def account(request: Request, visitor: SignedIn) -> Response:
    """All of one's account, with the ways to change it."""
    doors, now = doors_of(request), doors_of(request).clock.now()
    return page(
        request,
        "account/account.html",
        person=accounts.person_of(doors.database, visitor.person),
        ways=doors.ways_of(visitor.person),
        sessions=[one | {"browser": browser_of(one["agent"])} for one in sessions_of(doors.database, visitor.person, now)],
        tokens=tokens.tokens_of(doors.database, visitor.person, now),
    )


def browser_of(agent: str) -> str:
    """What a browser calls itself, in two words; its own text where that says nothing."""
    name = next((name for sign, name in BROWSERS if sign in agent), "")
    system = next((system for system in SYSTEMS if system in agent), "")
    return ", ".join(filter(None, (name, system))) or agent[:60]


def _plain(form: Posted, name: str) -> str:
    """A field as a database takes it: PostgreSQL refuses the character 0, which nobody types."""
    return str(form.get(name, "")).replace("\0", "")


@router.post("/account/language")
def choose_language(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Keep a person's language: of pages, messages and documents for them."""
    chosen, doors = str(form.get("locale", "")), doors_of(request)
    if chosen not in LOCALES:
        raise InvalidInput(Phrase("Choose French or English."))
    accounts.set_language(doors.database, doors.clock, visitor.person, chosen)
    return go_to(request, "/account")


# ------------------------------------------------------------------ password


@router.get("/account/password")
def ask_password(request: Request, visitor: SignedIn) -> Response:
    """Ask for the present password and a new one."""
    return page(request, "account/password.html", errors={}, ways=doors_of(request).ways_of(visitor.person))


@router.post("/account/password")
def change_password(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Change a password; whoever else is signed in with the old one is signed out."""
    doors, errors = doors_of(request), differing(request, form, "new_password")
    ways = doors.ways_of(visitor.person)
    if not ways.password:
        raise Refused(Phrase("You have no password here: your provider vouches for you."))
    if not errors:
        errors = _unproven(request, visitor, form, "change_password")
    if not errors:
        try:
            accounts.change_password(
                doors.database, doors.clock, visitor.person, str(form.get("new_password", "")), session=visitor.session
            )
            return go_to(request, "/account", N_("Your password is changed, and your other browsers are signed out."))
        except InvalidInput as error:
            errors = {"new_password": said_in(request, error)}
    return page(request, "account/password.html", status=422, errors=errors, ways=ways)


def _unproven(request: Request, visitor: Visitor, form: Posted, to: str) -> dict[str, str]:
    """The complaint when the visitor does not prove that it is them, by its field; nothing when they do."""
    try:
        prove_again(request, visitor, form, to=to)
    except NotProven as error:
        return {"password": said_in(request, error)}
    return {}


# ------------------------------------------------------------------ browsers


@router.post("/account/sessions/end")
def end_session(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Sign one of one's other browsers out, or all of them."""
    doors, wanted = doors_of(request), _plain(form, "session")
    with doors.database.write() as connection:
        ended = end_sessions(connection, visitor.person, doors.clock.now(), by=visitor.person, only=wanted or None, but=visitor.session)
    return go_to(request, "/account", N_("Signed out there.") if ended else N_("That browser was signed out already."))


# ------------------------------------------------------------------ tokens


@router.get("/account/tokens/new")
def ask_token(request: Request, visitor: SignedIn) -> Response:
    """Ask what a new token of the API is for."""
    return _token_form(request, {"scope": "read", "days": "90"}, {})


@router.post("/account/tokens/new")
def create_token(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Create a token, and show its text this once."""
    doors, given = doors_of(request), {name: _plain(form, name) for name in ("name", "scope", "days")}
    days, scope = given["days"], given["scope"]
    errors = _unproven(request, visitor, form, "create_token")
    if not errors and (days not in DAYS or scope not in SCOPES):
        raise InvalidInput(Phrase("Choose a scope and an end among those offered."))
    if not errors:
        try:
            text = tokens.create_token(doors.database, doors.clock, visitor.person, given["name"], scope, int(days))  # type: ignore[arg-type]
            return page(request, "account/token.html", name=given["name"].strip(), text=text)
        except InvalidInput as error:
            errors = {"name": said_in(request, error)}
    return _token_form(request, given, errors)


def _token_form(request: Request, given: dict[str, Any], errors: dict[str, str]) -> Response:
    return page(request, "account/new_token.html", status=422 if errors else 200, given=given, errors=errors, scopes=SCOPES, days=DAYS)


@router.post("/account/tokens/revoke")
def revoke_token(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Revoke one of one's tokens."""
    doors = doors_of(request)
    if not tokens.revoke_token(doors.database, doors.clock, visitor.person, _plain(form, "token"), by=visitor.person):
        raise UnknownThing(Phrase("There is no such token of yours in force."))
    return go_to(request, "/account", N_("The token is revoked."))


# ------------------------------------------------------------------ provider


@router.get("/account/provider")
def ask_provider(request: Request, visitor: SignedIn) -> Response:
    """Ask to prove that it is oneself, then lead to the provider to link the account there to the one here."""
    doors = doors_of(request)
    if not doors.settings.has_provider:
        raise UnknownThing(Phrase("Nobody signs in by an OpenID provider here."))
    is_ready = is_proven_lately(visitor, doors.clock.now())
    return page(request, "account/provider.html", errors={}, ways=doors.ways_of(visitor.person), is_ready=is_ready)


@router.post("/account/provider")
def change_provider(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Once proven: go on to the provider, or take its word no more."""
    doors, errors = doors_of(request), _unproven(request, visitor, form, "change_provider")
    if errors:
        ways = doors.ways_of(visitor.person)
        return page(request, "account/provider.html", status=422, errors=errors, ways=ways, is_ready=False)
    if form.get("act") != "unlink":
        return go_to(request, "/account/provider")
    subjects.unlink_subject(doors.database, doors.clock, visitor.person, by=visitor.person)
    there = "/sign-in" if visitor.method == PROVIDER else "/account"  # whoever came by the provider is out now
    return go_to(request, there, N_("The provider's word is no longer taken for you."))
