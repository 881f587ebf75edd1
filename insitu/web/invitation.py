"""Links that lead to a new password: the invitation of whoever has none, the recovery of whoever lost it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, BackgroundTasks, Request, Response

from insitu.entrance.arrival import let_in
from insitu.entrance.doors import doors_of
from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.links import arriving
from insitu.entrance.page import go_to, page
from insitu.entrance.sender import address_of
from insitu.entrance.visitor import Anyone
from insitu.web.passwords import differing, said_in
from protocols.errors import InvalidInput
from sites.identity import accounts
from sites.identity.limits import Door
from sites.identity.links import LinkRow

router = APIRouter()

Purpose = Literal["invitation", "recovery"]


@router.get("/invitation/{token}")
def invitation(request: Request, _: Anyone, token: str) -> Response:
    """Ask an invited person to choose a password."""
    return _ask(request, "invitation", token)


@router.post("/invitation/{token}")
def accept_invitation(request: Request, _: Anyone, token: str, form: Posted) -> Response:
    """Give an invited person their account, and let them in; the link is used up."""
    link = _opened(request, "invitation", token)
    if isinstance(link, Response):
        return link
    wrong = _choose(request, "invitation", link, form, accounts.accept_invitation)
    return wrong or let_in(request, link.person, "/", method="password")


@router.get("/recovery/{token}")
def recovery(request: Request, _: Anyone, token: str) -> Response:
    """Ask a person who lost their password to choose another."""
    return _ask(request, "recovery", token)


@router.post("/recovery/{token}")
def accept_recovery(request: Request, _: Anyone, token: str, form: Posted) -> Response:
    """Change a lost password, end every session of its person, and lead to the sign-in, where a second factor is still asked for."""
    link = _opened(request, "recovery", token)
    if isinstance(link, Response):
        return link
    wrong = _choose(request, "recovery", link, form, accounts.accept_recovery)
    return wrong or go_to(request, "/sign-in", N_("Your password is changed. Sign in with the new one."))


def _opened(request: Request, purpose: Purpose, token: str) -> LinkRow | Response:
    """The link in force, or the page that says it is not."""
    return arriving(request, purpose, token) or _too_late(request, purpose)


def _too_late(request: Request, purpose: Purpose) -> Response:
    return page(request, "entry/link_refused.html", status=404, purpose=purpose)


def _ask(request: Request, purpose: Purpose, token: str, status: int = 200) -> Response:
    link = _opened(request, purpose, token)
    return link if isinstance(link, Response) else _form(request, purpose, link, {})


def _form(request: Request, purpose: Purpose, link: LinkRow, errors: dict[str, str]) -> Response:
    person = accounts.person_of(doors_of(request).database, link.person)
    return page(request, "entry/new_password.html", status=422 if errors else 200, purpose=purpose, person=person, errors=errors)


def _choose(request: Request, purpose: Purpose, link: LinkRow, form: Posted, accept: Callable[..., bool]) -> Response | None:
    """Accept the password that was chosen; the page to show when it cannot be, or when the link was used meanwhile."""
    doors, errors = doors_of(request), differing(request, form)
    try:
        if not errors and accept(doors.database, doors.clock, link, str(form.get("password", ""))):
            return None
    except InvalidInput as error:
        errors = {"password": said_in(request, error)}
    return _form(request, purpose, link, errors) if errors else _too_late(request, purpose)


@router.get("/recover")
def recover(request: Request, _: Anyone) -> Response:
    """Ask whose password is lost."""
    return page(request, "entry/recover.html", sent=False)


@router.post("/recover")
def send_recovery(request: Request, _: Anyone, form: Posted, tasks: BackgroundTasks) -> Response:
    """Owe a letter to whoever has an account of that id or e-mail; the answer is the same, and as quick, when nobody has."""
    doors, address = doors_of(request), address_of(request)
    doors.limits.check(Door.RECOVERY, address)
    doors.limits.count(Door.RECOVERY, address)
    tasks.add_task(accounts.recovery_of, doors.database, doors.clock, str(form.get("name", "")))
    answer = page(request, "entry/recover.html", sent=True)
    answer.background = tasks
    return answer
