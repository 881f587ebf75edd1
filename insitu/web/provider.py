"""Coming in, or proving again who one is, by the OpenID provider of the settings."""

from __future__ import annotations

import secrets
from datetime import timedelta

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from insitu.entrance.arrival import forget, keep, kept, let_in
from insitu.entrance.doors import doors_of
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, own_address, page
from insitu.entrance.proof import PROVIDER, is_proven_lately
from insitu.entrance.provider import BACK, Errand, Proof, Provider
from insitu.entrance.refusals import address_of, refused
from insitu.entrance.visitor import Anyone, visitor_of
from insitu.web.passwords import said_in
from protocols.errors import InsituError, NotProven, Refused, UnknownThing
from protocols.phrase import Phrase
from sites.identity.accounts import account_of
from sites.identity.limits import Door
from sites.identity.sessions import proven
from sites.identity.subjects import link_subject, person_of, subject_of

router = APIRouter()

ERRAND = "insitu-errand"
LASTS = timedelta(minutes=10)
UNKNOWN_AGE = timedelta(days=1)  # of a proof whose time the provider does not tell: too old to sign by


@router.get("/sign-in/provider")
def go_to_provider(request: Request, _: Anyone, to: str = "/", again: bool = False, link: bool = False) -> Response:
    """Send the browser to the provider, to come in, to prove `again` who one is, or to `link` the account there to the one here."""
    provider, visitor = _provider(request), visitor_of(request)
    if (again or link) and visitor is None:
        return go_to(request, "/sign-in")
    if link and visitor and not is_proven_lately(visitor, doors_of(request).clock.now()):
        return go_to(request, "/account/provider")
    errand = Errand.new("link" if link else "again" if again else "in", visitor.person if visitor else "", own_address(to))
    try:
        answer: Response = RedirectResponse(provider.address(errand), 303)
    except NotProven as error:
        return _refusal(request, own_address(to), error)
    return keep(request, answer, ERRAND, {"errand": errand.text()}, LASTS)


@router.get(BACK)
def come_back(request: Request, _: Anyone, code: str = "", state: str = "", error: str = "") -> Response:
    """Do what the browser was sent for, once: let in, or take for proven, whomever the provider vouches for."""
    doors, address = doors_of(request), address_of(request)
    provider = _provider(request)
    doors.limits.check(Door.SIGN_IN, address)
    errand = _errand(request, state)
    if errand is None:
        doors.limits.count(Door.SIGN_IN, address)
        refused(request, "provider_state")
        return _refusal(request, "/", NotProven(Phrase("You were away for too long, or did not start from here. Sign in again.")))
    try:
        if error or not code:
            raise NotProven(Phrase("{provider} did not let you in. Nothing was done.", provider=doors.settings.oidc_name))
        proof = provider.proof(errand, code)
        answer = _let_in(request, errand, proof) if errand.purpose == "in" else _take_for_proven(request, errand, proof)
    except Refused as problem:
        answer = _refusal(request, errand.to, problem)
    return forget(answer, ERRAND)


def _provider(request: Request) -> Provider:
    settings = doors_of(request).settings
    if not settings.has_provider:
        raise UnknownThing(Phrase("Nobody signs in by an OpenID provider here."))
    return Provider(settings)


def _errand(request: Request, state: str) -> Errand | None:
    found = kept(request, ERRAND)
    errand = Errand.read(found["errand"]) if found else None
    return errand if errand and secrets.compare_digest(errand.state.encode(), state.encode()) else None


def _let_in(request: Request, errand: Errand, proof: Proof) -> Response:
    doors = doors_of(request)
    person = person_of(doors.database, doors.clock, proof.claims, doors.settings.oidc_claim, address=address_of(request))
    if person is None:
        raise NotProven(
            Phrase(
                "{provider} knows you, but insitu does not let you in. Ask a project manager to add you, or to open your account.",
                provider=doors.settings.oidc_name,
            )
        )
    age = UNKNOWN_AGE if proof.age is None else proof.age
    return let_in(request, person, errand.to, method=PROVIDER, proven_at=doors.clock.now() - age)


def _take_for_proven(request: Request, errand: Errand, proof: Proof) -> Response:
    """Note that the session's person has proved themselves again, if the provider asked them just now and names the same one."""
    doors, visitor, now = doors_of(request), visitor_of(request), doors_of(request).clock.now()
    subject = subject_of(proof.claims, doors.settings.oidc_claim)
    if visitor is None or visitor.session is None or visitor.person != errand.person or not proof.is_fresh or not subject:
        refused(request, "provider_proof")
        raise NotProven(Phrase("{provider} did not ask again who you are. Nothing was done.", provider=doors.settings.oidc_name))
    if errand.purpose == "link":
        link_subject(doors.database, doors.clock, visitor.person, subject, by=visitor.person)
        return go_to(request, "/account", N_("The provider's word is taken for you from now on."))
    with doors.database.write() as connection:
        account = account_of(connection, visitor.person)
        is_same = account is not None and account["subject"] == subject
        if is_same:
            proven(connection, visitor.session, now, address=address_of(request))
    if not is_same:
        refused(request, "provider_subject")
        raise NotProven(Phrase("{provider} vouches for someone else. Nothing was done.", provider=doors.settings.oidc_name))
    return go_to(request, errand.to)


def _refusal(request: Request, to: str, error: InsituError) -> Response:
    template = "entry/provider_refused.html" if visitor_of(request) else "entry/sign_in.html"
    return page(request, template, status=403, to=to, name="", error=said_in(request, error))
