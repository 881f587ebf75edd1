"""Ways through an OpenID provider and back, as a browser goes them."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from issuer import Liar
from starlette.requests import Request
from visit import HOST, Visit

from insitu.entrance.doors import Doors
from insitu.entrance.proof import prove_again
from insitu.entrance.visitor import COOKIE, visitor_of
from sites.identity.access import entries

NURSE, MANAGER = "nurse.caen", "project_manager"
Open = Callable[..., Doors]


def leave(visit: Visit, path: str = "/sign-in/provider?to=/account") -> str:
    """Go to the provider; the address there."""
    answer = visit.get(path)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def at_provider(address: str, sub: str) -> str:
    """Sign in there; the path that leads back."""
    answer = httpx.post(address, data={"sub": sub}, follow_redirects=False)
    assert answer.status_code in (302, 303), answer.text
    back = answer.headers["location"]
    assert back.startswith(f"{HOST}/sign-in/provider/back?")
    return back.removeprefix(HOST)


def come(doors: Doors, sub: str, visit: Visit | None = None) -> tuple[Visit, httpx.Response]:
    visit = visit or Visit(doors)
    return visit, visit.get(at_provider(leave(visit), sub))


def whys(doors: Doors) -> list[str]:
    return [one["data"]["why"] for one in entries(doors.database, kind="SignInFailed")]


def refusals(doors: Doors) -> list[str]:
    return [one["data"]["what"] for one in entries(doors.database, kind="RequestRefused")]


def back_from(visit: Visit, liar: Liar, path: str = "/sign-in/provider?to=/account") -> httpx.Response:
    asked = parse_qs(urlsplit(leave(visit, path)).query)
    liar.nonce = liar.nonce or asked["nonce"][0]
    answer = visit.get("/sign-in/provider/back", params={"code": "c", "state": asked["state"][0]})
    if liar.asked and answer.status_code != 429:
        (verifier,) = liar.asked[-1]["code_verifier"]
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        assert asked["code_challenge"] == [challenge]
    return answer


def prove_by(visit: Visit, **form: str) -> None:
    """What a page that signs does, within the visit's session."""
    cookie = f"{COOKIE}={visit.client.cookies[COOKIE]}".encode()
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"cookie", cookie)]}
    request = Request(scope | {"app": visit.client.app, "client": ("192.0.2.7", 1)})
    visitor = visitor_of(request)
    assert visitor is not None
    prove_again(request, visitor, form)
