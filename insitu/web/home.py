"""Where a visit begins, the choice of language, and the statement on accessibility."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.page import LANGUAGE_COOKIE, go_to, own_address, page
from insitu.entrance.sender import is_secure
from insitu.entrance.visitor import Anyone, visitor_of
from protocols.model import LOCALES

router = APIRouter()


@router.get("/")
def home(request: Request, _: Anyone) -> Response:
    """Lead on to today's work, or to the sign-in."""
    return go_to(request, "/today" if visitor_of(request) else "/sign-in")


@router.post("/language")
def choose_language(request: Request, _: Anyone, form: Posted) -> Response:
    """Keep this browser's language; a person's own, once signed in, is chosen on their account page."""
    answer = go_to(request, own_address(str(form.get("to", "/"))))
    chosen = str(form.get("language", ""))
    if chosen in LOCALES:
        answer.set_cookie(LANGUAGE_COOKIE, chosen, max_age=365 * 24 * 3600, samesite="lax", secure=is_secure(request))
    return answer


@router.get("/accessibility")
def accessibility(request: Request, _: Anyone) -> Response:
    """The statement that the law asks for (French law 2005-102, article 47; RGAA 4.1)."""
    return page(request, "accessibility.html")
