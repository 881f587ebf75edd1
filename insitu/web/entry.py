"""Coming in and going out: the first manager, sign-in, second factor, sign-out, and help."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.arrival import forget, keep, kept, let_in, let_out
from insitu.entrance.doors import doors_of
from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of, own_address, page
from insitu.entrance.refusals import refused
from insitu.entrance.sender import address_of
from insitu.entrance.setup import asks_setup_code, is_setup_code
from insitu.entrance.visitor import Anyone, visitor_of
from insitu.web.passwords import differing, said_in
from insitu.web.provider import leave_provider
from protocols.errors import InvalidInput, NotProven
from sites.identity import proofs
from sites.identity.accounts import has_accounts, set_up
from sites.identity.limits import Door
from sites.keys import KeyTaken
from sites.sheets import row_of

router = APIRouter()

HALF = "insitu-half"  # whose password was right, until the code is
HALF_LASTS = timedelta(minutes=10)
PASSWORD, BOTH = "password", "password+code"


# ------------------------------------------------------------------ sign-in


@router.get("/sign-in")
def sign_in(request: Request, _: Anyone, to: str = "/") -> Response:
    """Ask for the id or e-mail and the password; lead on whoever is in already, and to the set-up where nobody can be."""
    if visitor_of(request):
        return go_to(request, own_address(to))
    if not has_accounts(doors_of(request).database):
        return go_to(request, "/setup")
    return page(request, "entry/sign_in.html", to=own_address(to), name="", error="", refusal="")


@router.post("/sign-in")
def check_sign_in(request: Request, _: Anyone, form: Posted) -> Response:
    """Let in whoever's password is right, or ask for their code; the same is said to a stranger and of a wrong password."""
    doors, address, to = doors_of(request), address_of(request), own_address(str(form.get("to", "/")))
    doors.limits.check(Door.SIGN_IN, address)
    name = str(form.get("name", ""))
    try:
        person, needs_code = proofs.check_password(doors.database, doors.clock, name, str(form.get("password", "")), address=address)
    except NotProven as error:
        doors.limits.count(Door.SIGN_IN, address)
        return page(request, "entry/sign_in.html", status=422, to=to, name=name, error=said_in(request, error), refusal="")
    if needs_code:
        return keep(request, go_to(request, "/sign-in/code"), HALF, {"person": person, "to": to}, HALF_LASTS)
    return let_in(request, person, to, method=PASSWORD)


@router.get("/sign-in/code")
def ask_code(request: Request, _: Anyone) -> Response:
    """Ask for the second factor of whoever's password was right within ten minutes."""
    half = kept(request, HALF)
    return page(request, "entry/code.html", error="") if half else go_to(request, "/sign-in")


@router.post("/sign-in/code")
def check_code(request: Request, _: Anyone, form: Posted) -> Response:
    """Let in whoever's code is right too."""
    doors, address, half = doors_of(request), address_of(request), kept(request, HALF)
    if half is None:
        return go_to(request, "/sign-in", N_("That took more than ten minutes: sign in again."))
    doors.limits.check(Door.SIGN_IN, address)
    try:
        proofs.check_code(doors.database, doors.clock, doors.key, half["person"], str(form.get("code", "")), address=address)
    except NotProven as error:
        doors.limits.count(Door.SIGN_IN, address)
        return page(request, "entry/code.html", status=422, error=said_in(request, error))
    return forget(let_in(request, half["person"], own_address(half["to"]), method=BOTH), HALF)


@router.post("/sign-out")
def sign_out(request: Request, _: Anyone, form: Posted) -> Response:
    """End this browser's session; the OpenID provider that vouched for its person is to forget them too."""
    return leave_provider(request) or let_out(request, go_to(request, "/sign-in", N_("You are signed out.")))


@router.get("/help")
def help_page(request: Request, _: Anyone) -> Response:
    """Who to ask, the keyboard, and the words."""
    return page(request, "entry/help.html")


# ------------------------------------------------------------------ the first manager


@router.get("/setup")
def setup(request: Request, _: Anyone) -> Response:
    """Ask who the first manager is; only while nobody has an account."""
    if has_accounts(doors_of(request).database):
        return go_to(request, "/sign-in")
    given = {"locale": language_of(request).code}
    return page(request, "entry/setup.html", given=given, errors={}, asks_code=asks_setup_code(request))


@router.post("/setup")
def make_first_manager(request: Request, _: Anyone, form: Posted) -> Response:
    """Make the first manager, sign them in, and lead them to the administration."""
    doors, address = doors_of(request), address_of(request)
    if has_accounts(doors.database):
        return go_to(request, "/sign-in")
    given = {name: str(form.get(name, "")).strip() for name in ("id", "name", "email", "locale")}
    errors = _wrong_code(request, form) if asks_setup_code(request) else {}
    if not errors:
        errors = _wrong_person(request, given) | differing(request, form)
    if not errors:
        try:
            made = set_up(doors.database, doors.clock, given, str(form.get("password", "")), address=address)
            return let_in(request, given["id"], "/admin", method=PASSWORD) if made else go_to(request, "/sign-in")
        except InvalidInput as error:
            errors = {"id" if isinstance(error, KeyTaken) else "password": said_in(request, error)}
    return page(request, "entry/setup.html", status=422, given=given, errors=errors, asks_code=asks_setup_code(request))


def _wrong_code(request: Request, form: Mapping[str, Any]) -> dict[str, str]:
    doors, address = doors_of(request), address_of(request)
    doors.limits.check(Door.SETUP, address)
    if is_setup_code(doors.key, str(form.get("setup_code", ""))):
        return {}
    doors.limits.count(Door.SETUP, address)
    refused(request, "setup_code")
    return {"setup_code": language_of(request)(N_("This is not the code that insitu printed where it was started."))}


def _wrong_person(request: Request, given: Mapping[str, str]) -> dict[str, str]:
    problems = row_of("people", {**given, "channels": []}).problems
    return {problem.path.rpartition(".")[2] or "id": language_of(request).text(problem.message) for problem in problems}
