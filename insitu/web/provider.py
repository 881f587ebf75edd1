"""Coming in, or proving again who one is, by the OpenID provider of the settings; and leaving it."""

from __future__ import annotations

import logging
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from insitu.entrance.arrival import end_here, forget, keep, kept, let_in, let_out, unsealed
from insitu.entrance.doors import doors_of
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, own_address, page
from insitu.entrance.proof import is_proven_lately
from insitu.entrance.provider import BACK, LASTS, LEFT, Errand, NotVouchedFor, Proof, Provider, ProviderAway, Purpose
from insitu.entrance.refusals import refused
from insitu.entrance.sender import address_of
from insitu.entrance.visitor import Anyone, session_of, visitor_of
from insitu.web.passwords import said_in
from protocols.errors import InsituError, NotProven, Refused, UnknownThing
from protocols.phrase import Phrase
from sites.identity.accounts import account_of
from sites.identity.keys import fingerprint
from sites.identity.limits import Door
from sites.identity.sessions import PROVIDER, leaving_of, proven
from sites.identity.subjects import link_subject, note_refusal, person_of, subject_of

router = APIRouter()
log = logging.getLogger("insitu.doors")

PATH = "/sign-in/provider"
ERRAND = "insitu-errand"  # one cookie an errand: every tab has its own
MOST_ERRANDS = 5
GONE = "insitu-left"  # somebody left here, and the provider has not said that it forgot them
GONE_FOR = timedelta(days=30)
UNKNOWN_AGE = timedelta(days=1)  # of a proof whose time the provider does not tell: too old to sign by
FOR = {"in": "sign_in", "again": "sign", "link": "link"}  # what an errand is for, in the access journal
REFUSED = {
    "unknown": N_("{provider} knows you, but insitu does not let you in. Ask a project manager to add you, or to open your account."),
    "claims": N_("{provider} did not say who you are as this installation knows people. Tell whoever looks after insitu."),
    "unlinked": N_(
        "Your account here was unlinked from the one at {provider}. Sign in by your password and link it again on your account page, or "
        "ask a project manager."
    ),
}


@router.get("/sign-in/provider")
async def go_to_provider(request: Request, _: Anyone, to: str = "/", again: bool = False, link: bool = False) -> Response:
    """Send the browser to the provider, to come in, to prove `again` who one is, or to `link` the account there to the one here."""
    provider = _provider(request)
    errand = await run_in_threadpool(_errand_for, request, own_address(to), again, link)
    if isinstance(errand, Response):
        return errand
    try:
        return _sent(request, errand, await provider.address(errand))
    except NotProven as error:
        return await run_in_threadpool(_turned_away, request, errand, error)


@router.get(BACK)
async def come_back(request: Request, _: Anyone, code: str = "", state: str = "", error: str = "") -> Response:
    """Do what the browser was sent for, once: let in, or take for proven, whomever the provider vouches for."""
    provider = _provider(request)
    errand = await run_in_threadpool(_errand_of, request, state)
    if isinstance(errand, Response):
        return errand
    try:
        if error or not code:
            raise _denied(provider, error)
        proof = await provider.proof(errand, code)
        answer = await run_in_threadpool(_let_in if errand.purpose == "in" else _take_for_proven, request, errand, proof)
    except Refused as problem:
        answer = await run_in_threadpool(_turned_away, request, errand, problem)
    return forget(answer, _cookie(errand.state), PATH)


def _provider(request: Request) -> Provider:
    provider = doors_of(request).provider
    if provider is None:
        raise UnknownThing(Phrase("Nobody signs in by an OpenID provider here."))
    return provider


# ------------------------------------------------------------------ going


def _errand_for(request: Request, to: str, again: bool, link: bool) -> Errand | Response:
    visitor = visitor_of(request)
    if (again or link) and visitor is None:
        return go_to(request, "/sign-in")
    if link and visitor and not is_proven_lately(visitor, doors_of(request).clock.now()):
        return go_to(request, "/account/provider")
    purpose: Purpose = "link" if link else "again" if again else "in"
    return Errand.new(purpose, visitor.person if visitor else "", to, asks=_somebody_was_here(request))


def _somebody_was_here(request: Request) -> bool:
    """Whether the provider may still remember in this browser someone who has left, or whose session ended: it must ask who it is now."""
    session = session_of(request)
    return kept(request, GONE) is not None or bool(session and session.method == PROVIDER and not session.is_live)


def _sent(request: Request, errand: Errand, address: str) -> Response:
    answer: Response = RedirectResponse(address, 303)
    for name in _errands(request)[MOST_ERRANDS - 1 :]:
        forget(answer, name, PATH)
    return keep(request, answer, _cookie(errand.state), {"errand": errand.text()}, LASTS, PATH)


def _cookie(state: str) -> str:
    return f"{ERRAND}-{fingerprint(state)[:16]}"


def _errands(request: Request) -> list[str]:
    """The cookies of the errands under way, the latest first."""
    names = [name for name in request.cookies if name.startswith(ERRAND)][: 4 * MOST_ERRANDS]
    return sorted(names, key=lambda name: unsealed(doors_of(request).key, request.cookies[name]).get("until", ""), reverse=True)


# ------------------------------------------------------------------ coming back


def _errand_of(request: Request, state: str) -> Errand | Response:
    """The errand that this browser was sent on with a state. What any page can make a browser send costs its network nothing."""
    doors, address = doors_of(request), address_of(request)
    found = kept(request, _cookie(state))
    errand = Errand.read(found["errand"]) if found else None
    if errand and secrets.compare_digest(errand.state.encode(), state.encode()):
        doors.limits.check(Door.PROVIDER, address)
        return errand
    if doors.limits.count(Door.STRAY, address):
        refused(request, "provider_state")
        log.warning("someone came back from the OpenID provider who had not gone there, or too long ago")
    return _refusal(request, "/", NotProven(Phrase("You were away for too long, or did not start from here. Sign in again.")))


def _denied(provider: Provider, error: str) -> NotVouchedFor:
    said = Phrase("{provider} did not let you in. Nothing was done.", provider=provider.settings.oidc_name)
    return NotVouchedFor(said, "denied", error=error if re.fullmatch(r"[\w.-]{1,40}", error, re.ASCII) else "")


def _let_in(request: Request, errand: Errand, proof: Proof) -> Response:
    doors = doors_of(request)
    if errand.asks and proof.age is not None and not proof.is_fresh:
        raise NotVouchedFor(_did_not_ask(request), "not_asked")
    known = person_of(doors.database, doors.clock, proof.claims, doors.settings.oidc_claim, address=address_of(request))
    if known.why:
        raise NotProven(Phrase(REFUSED.get(known.why, REFUSED["unknown"]), provider=doors.settings.oidc_name))
    proven_at = doors.clock.now() - _age(proof)
    answer = let_in(request, known.person, errand.to, method=PROVIDER, proven_at=proven_at, subject=known.subject, leaving=proof.leaving)
    return forget(answer, GONE, PATH)


def _age(proof: Proof) -> timedelta:
    return UNKNOWN_AGE if proof.age is None else min(proof.age, UNKNOWN_AGE)


def _take_for_proven(request: Request, errand: Errand, proof: Proof) -> Response:
    """Note that the session's person has proved themselves again, if the provider asked them just now and names the same one."""
    doors, visitor, now = doors_of(request), visitor_of(request), doors_of(request).clock.now()
    subject = subject_of(proof.claims, doors.settings.oidc_claim)
    if visitor is None or visitor.session is None or visitor.person != errand.person or not proof.is_fresh or not subject:
        refused(request, "provider_proof")
        raise NotProven(_did_not_ask(request))
    if errand.purpose == "link":
        link_subject(doors.database, doors.clock, visitor.person, subject, by=visitor.person)
        return go_to(request, "/account", N_("The provider's word is taken for you from now on."))
    if not _is_proven(request, visitor.person, visitor.session, subject, now - _age(proof)):
        refused(request, "provider_subject")
        raise NotProven(Phrase("{provider} vouches for someone else. Nothing was done.", provider=doors.settings.oidc_name))
    return go_to(request, errand.to)


def _is_proven(request: Request, person: str, session: str, subject: str, proven_at: datetime) -> bool:
    doors = doors_of(request)
    with doors.database.write() as connection:
        account = account_of(connection, person)
        is_same = account is not None and account["subject"] == subject
        if is_same:
            proven(connection, session, doors.clock.now(), address=address_of(request), proven_at=proven_at)
    return is_same


def _did_not_ask(request: Request) -> Phrase:
    return Phrase("{provider} did not ask again who you are. Nothing was done.", provider=doors_of(request).settings.oidc_name)


# ------------------------------------------------------------------ turning away


def _turned_away(request: Request, errand: Errand, error: InsituError) -> Response:
    """Say why nothing was done. What does not hold is counted against the network's next tries at this door, and at no other."""
    doors, address = doors_of(request), address_of(request)
    is_forged = not isinstance(error, ProviderAway) and not (isinstance(error, NotVouchedFor) and error.why == "denied")
    is_noted = doors.limits.count(Door.PROVIDER if is_forged else Door.STRAY, address)
    if isinstance(error, NotVouchedFor) and is_noted:
        visitor, told = visitor_of(request), error.details
        note_refusal(
            doors.database,
            doors.clock,
            error.why,
            person=visitor.person if visitor else "",
            address=address,
            to=FOR[errand.purpose],
            **told,
        )
        log.warning("the OpenID provider %s let nobody in: %s %s", doors.settings.oidc_issuer, error.why, _listed(told))
    return _refusal(request, errand.to, error)


def _listed(told: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items() if value != "")


def _refusal(request: Request, to: str, error: InsituError) -> Response:
    said = said_in(request, error)
    if visitor_of(request):
        return page(request, "entry/provider_refused.html", status=403, to=to, error=said)
    return page(request, "entry/sign_in.html", status=403, to=to, name="", error="", refusal=said)


# ------------------------------------------------------------------ leaving


def leave_provider(request: Request) -> Response | None:
    """End a session that the provider vouched for, here and there; None for any other session.

    Where the provider has no address for that, or until it has said that it forgot them, it is told to ask who comes next from here.
    """
    doors, session = doors_of(request), session_of(request)
    if session is None or session.method != PROVIDER or doors.provider is None:
        return None
    state, name = secrets.token_urlsafe(24), doors.settings.oidc_name
    address = doors.provider.way_out(doors.key.unseal(leaving_of(doors.database, session.id)) or "", state)
    end_here(request)
    if address:
        answer: Response = page(request, "entry/leaving.html", address=address)
    else:
        answer = go_to(request, "/sign-in", Phrase("You are signed out. {provider} will ask who comes in next.", provider=name))
    return keep(request, let_out(request, answer), GONE, {"state": state}, GONE_FOR, PATH)


@router.get(LEFT)
def left(request: Request, _: Anyone, state: str = "") -> Response:
    """Where the provider sends the browser once it has forgotten who sat there."""
    name, gone = _provider(request).settings.oidc_name, kept(request, GONE)
    if gone is None or not secrets.compare_digest(gone["state"].encode(), state.encode()):
        return go_to(request, "/sign-in")
    said = Phrase("You are signed out, here and at {provider}.", provider=name)
    return forget(go_to(request, "/sign-in", said), GONE, PATH)
