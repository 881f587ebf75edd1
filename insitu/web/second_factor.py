"""The second factor of one's account: set by scanning a code, taken away, and its recovery codes."""

from __future__ import annotations

import json

import segno
from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from insitu.entrance.arrival import unsealed
from insitu.entrance.doors import doors_of
from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, page
from insitu.entrance.proof import prove_again
from insitu.entrance.visitor import SignedIn
from insitu.web.passwords import said_in
from protocols.errors import InvalidInput, NotProven
from sites.identity import second_factor

router = APIRouter()


@router.get("/account/second-factor")
def ask(request: Request, visitor: SignedIn) -> Response:
    """Show the code to scan, or what can be done with the factor that is set."""
    return _form(request, visitor.person, {})


@router.post("/account/second-factor")
def set_up(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Ask for codes of that authenticator from now on; the recovery codes are shown this once."""
    doors, sealed = doors_of(request), str(form.get("sealed", ""))
    secret = _secret(request, visitor.person, sealed)
    if secret is None:
        return go_to(request, "/account/second-factor", N_("That page was too old: scan the new code."))
    try:
        prove_again(request, visitor, form, to="set_second_factor")
        codes = second_factor.set_second_factor(
            doors.database, doors.clock, doors.key, visitor.person, secret, str(form.get("new_code", ""))
        )
    except NotProven as error:
        return _form(request, visitor.person, {"password": said_in(request, error)}, sealed)
    except InvalidInput as error:
        return _form(request, visitor.person, {"new_code": said_in(request, error)}, sealed)
    return page(request, "account/recovery_codes.html", codes=codes)


@router.post("/account/second-factor/change")
def change(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Take the second factor away, or make new recovery codes, which are shown this once."""
    doors = doors_of(request)
    try:
        prove_again(request, visitor, form, to="change_second_factor")
    except NotProven as error:
        return _form(request, visitor.person, {"password": said_in(request, error)})
    if form.get("act") == "codes":
        codes = second_factor.renew_codes(doors.database, doors.clock, visitor.person)
        return page(request, "account/recovery_codes.html", codes=codes)
    second_factor.remove_second_factor(doors.database, doors.clock, visitor.person, by=visitor.person)
    return go_to(request, "/account", N_("The second factor is removed."))


def _form(request: Request, person: str, errors: dict[str, str], sealed: str = "") -> Response:
    doors = doors_of(request)
    ways, left = doors.ways_of(person), second_factor.codes_left(doors.database, person)
    secret = _secret(request, person, sealed) or second_factor.new_secret()
    given = {"secret": secret, "sealed": _sealed(request, person, secret), "qr": drawn(second_factor.address_of(secret, person))}
    status = 422 if errors else 200
    return page(request, "account/second_factor.html", status=status, errors=errors, ways=ways, left=left, **given)


def drawn(text: str) -> Markup:
    """A text as a QR code: SVG without a style attribute, which the pages' policy forbids."""
    svg = segno.make(text, error="m").svg_inline(scale=4, border=4, omitsize=True, svgclass="qr", lineclass=None, dark="#000", light="#fff")
    return Markup(svg)  # noqa: S704 - made of figures only


def _sealed(request: Request, person: str, secret: str) -> str:
    """The secret as the form carries it: nobody reads it there, nor puts another in its place."""
    return doors_of(request).key.seal(json.dumps({"person": person, "secret": secret}))


def _secret(request: Request, person: str, sealed: str) -> str | None:
    found = unsealed(doors_of(request).key, sealed)
    return str(found["secret"]) if found.get("person") == person and "secret" in found else None
