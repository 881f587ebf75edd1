"""Pages: a template filled in for whoever looks, in their language."""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from insitu.entrance.doors import doors_of
from insitu.entrance.guard import BEFORE_SIGN_IN, FIELD, form_token, owner_of
from insitu.entrance.language import Language, language, preferred
from insitu.entrance.sender import is_secure
from insitu.entrance.visitor import visitor_of

LANGUAGE_COOKIE = "insitu-language"
SAID = "insitu-said"  # what was done, shown once on the page that follows


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template of `insitu/web/templates` as an answer.

    Beside `values` it sees `_` (a sentence in the reader's language), `n_` (one or many), `language`, `visitor` (None for nobody),
    `doors`, `now` (aware UTC), `csrf()` (the field every form needs), `request`, `said` (what the page before did), `is_refused` (the
    status says that nothing was done).
    """
    before = _stand_in(request)
    said = doors_of(request).key.opened("said", request.cookies.get(SAID, ""))
    content = fragment(request, template, said=said, is_refused=status >= 400, **values)
    answer = HTMLResponse(content, status)
    if before:
        answer.set_cookie(BEFORE_SIGN_IN, before, httponly=True, samesite="lax", secure=is_secure(request))
    if said:
        answer.delete_cookie(SAID)
    return answer


def fragment(request: Request, template: str, **values: Any) -> str:
    """A template as text, for a part of a page or a document made from one."""
    tongue, doors = language_of(request), doors_of(request)
    given: dict[str, Any] = {
        "_": tongue,
        "n_": tongue.count,
        "language": tongue,
        "visitor": visitor_of(request),
        "doors": doors,
        "now": doors.clock.now(),
        "request": request,
        "csrf": lambda: Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, form_token(request)),
        "form_token": lambda: form_token(request),
        "static": static_address,
        "said": None,
        "is_refused": False,
    }
    return environment().get_template(template).render(given | values)


def language_of(request: Request) -> Language:
    """The language of whoever asks: the person's own, else the one chosen in this browser, else the browser's."""
    visitor = visitor_of(request)
    if visitor:
        return language(visitor.locale)
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return language(chosen or preferred(request.headers.get("accept-language", ""), doors_of(request).settings.locale))


def go_to(request: Request, address: str, said: str = "") -> RedirectResponse:
    """Lead the browser on after a form was accepted (303); `said` tells on the next page, once, what was done."""
    answer = RedirectResponse(address, 303)
    if said:
        told = doors_of(request).key.sign("said", language_of(request).text(said))
        answer.set_cookie(SAID, told, max_age=60, httponly=True, samesite="lax", secure=is_secure(request))
    return answer


def own_address(address: str, otherwise: str = "/") -> str:
    """The address if it is a path of ours, else another: nobody is led elsewhere by a link that was tampered with."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and all(char.isprintable() for char in address)
    return address if inside and "\\" not in address else otherwise


def _stand_in(request: Request) -> str:
    """Random text for a browser that has neither a session nor such a text yet; "" where it has."""
    if owner_of(request):
        return ""
    request.state.before_sign_in = secrets.token_urlsafe(16)
    return str(request.state.before_sign_in)


@cache
def environment() -> Environment:
    """The templates, escaped and strict: a name nobody gave is an error, not an empty place."""
    return Environment(
        loader=PackageLoader("insitu.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    )


@cache
def static_address(name: str) -> str:
    """The address of a static file, with a mark of its content: it may be kept for ever, and never grows stale."""
    mark = hashlib.sha256((files("insitu.web") / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{mark}"
