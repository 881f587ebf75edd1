"""What guards every answer and every post: headers, and that a form was ours to the person who sends it."""

from __future__ import annotations

from time import monotonic
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import FormData, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from insitu.entrance.doors import doors_of
from insitu.entrance.visitor import SAFE, session_of, visitor_of
from protocols.errors import Refused
from protocols.phrase import Phrase
from sites.database import HURRIED_S, waiting_at_most
from sites.identity.sessions import person_of

BEFORE_SIGN_IN = "insitu-form"  # a cookie of random text that stands for the session where there is none yet
FIELD, HEADER = "csrf", "x-csrf"
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
REPLACED = "\ufffd"
LONGEST_BODY = 105 * 1024 * 1024  # a file of 100 MB, the largest that a protocol may ask for, and the form around it
LONGEST_FIELD = 1024 * 1024
MOST_FIELDS = 20_000


class NotOurForm(Refused):
    """The form was not made for this person's session: forged, or from before they signed in again."""


class Guard:
    """Adds the headers to every answer, and turns away what another site's page posts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # PostgreSQL takes no null character: a name with one is a name that nobody has.
        scope["path"] = scope["path"].replace("\x00", REPLACED)
        scope["query_string"] = scope["query_string"].replace(b"%00", quote(REPLACED).encode())

        began = monotonic()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["app"].state.served.count(message["status"], monotonic() - began)
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("cache-control", "no-store")
                if scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        with waiting_at_most(HURRIED_S):
            await self.app(scope, counted(scope, receive), guarded)


def counted(scope: Scope, receive: Receive) -> Receive:
    """The request's body, refused with 413 where it grows longer than any form may be, before it fills a disk."""
    taken = 0

    async def receive_some() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LONGEST_BODY:
            raise HTTPException(413, "")
        return message

    return receive_some


def is_from_elsewhere(request: Request) -> bool:
    """Whether the browser says that another site's page sends this."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    return bool(origin) and origin != "null" and urlsplit(origin or "").netloc != request.headers.get("host", "")


def owner_of(request: Request) -> str:
    """Whose form it is: the browser's session, live or lapsed, else the cookie that stands for one before the sign-in; "" for neither."""
    session = session_of(request)
    if session:
        return session.id
    given: str = getattr(request.state, "before_sign_in", "") or request.cookies.get(BEFORE_SIGN_IN, "")
    return given


def form_token(request: Request) -> str:
    """The text that a form of this browser's session carries."""
    return doors_of(request).key.sign("form", owner_of(request))


def is_ours(request: Request, token: str) -> bool:
    """Whether a token was made for this browser's session, live or lapsed, or for an earlier one of the person who is signed in now.

    Whoever signs in again in another tab goes on with the form they left open: what they typed there is theirs.
    """
    owner, made_for = owner_of(request), doors_of(request).key.opened("form", token)
    if not owner or not made_for:
        return False
    session = session_of(request)
    return made_for == owner or bool(session and person_of(doors_of(request).database, made_for) == session.person)


async def posted(request: Request) -> FormData:
    """The fields of a posted form, once it is known to be ours. Raises NotOurForm, which is journaled."""
    form = await request.form(max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD)
    token = request.headers.get(HEADER) or form.get(FIELD) or ""
    if is_from_elsewhere(request) or not isinstance(token, str) or not is_ours(request, token):
        raise NotOurForm(
            Phrase(
                "This form was not made for your present session: it is too old, or comes from elsewhere. Nothing was done. "
                "Go back, reload the page and send it again."
            )
        )
    return form


def require_own_page(request: Request) -> None:
    """For the API: what changes something with a session's cookie, and not a token, must come from a page of ours. Raises NotOurForm."""
    visitor = visitor_of(request)
    if request.method in SAFE or visitor is None or visitor.session is None:
        return
    if is_from_elsewhere(request) or not is_ours(request, request.headers.get(HEADER, "")):
        raise NotOurForm(Phrase("Send a token (Authorization: Bearer …), or the X-CSRF header of one of insitu's pages."))


Posted = Annotated[FormData, Depends(posted)]
