"""One-time links: enough to fill in one checkpoint, never enough to sign it or to see anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection
from starlette.datastructures import FormData

from insitu.entrance.doors import doors_of
from insitu.entrance.guard import Posted
from insitu.entrance.links import arriving
from insitu.entrance.page import language_of, page
from insitu.entrance.refusals import status_of
from insitu.entrance.visitor import Anyone
from insitu.web import fields
from insitu.web.checkpoint_page import form_of, form_values, typed
from insitu.web.form import ACT, Filled, files_in
from protocols.errors import InsituError, InvalidAnswers, Refused
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites import inbox
from sites.checkpoints import CheckpointId
from sites.identity.accounts import account_of
from sites.identity.links import LinkRow, use_link
from sites.policy import EVERYTHING
from sites.releases import plan_of
from sites.snapshot import find

router = APIRouter()

VIA = "link"


class Opened:
    """A link in force, and what it leads to: the checkpoint as its person may fill it in, without what was answered before."""

    def __init__(self, request: Request, link: LinkRow) -> None:
        doors = doors_of(request)
        self.request, self.link, self.ledger = request, link, doors.ledger
        name = CheckpointId.parse(link.target)
        with doors.database.read() as connection:
            row = find(connection, name.experiment)
            self.plan: Plan = plan_of(connection, row["protocol"])
            self.launch: Mapping[str, Any] = row["launch"]
            self.is_closed = _is_closed(connection, link.person)
        locale = language_of(request).code
        asked = inbox.checkpoint(doors.database, link.target, doors.clock.now(), person=link.person, locale=locale, access=EVERYTHING)
        # Whoever holds the link may not be who it was sent to: nothing that was typed before is shown.
        self.asked = asked | {"answers": None, "earlier_rounds": [], "draft": None, "prefect_draft": None, "remarks": [], "names": {}}
        self.form = form_of(self.plan, name.step)

    @property
    def may_complete(self) -> bool:
        return bool(self.asked["may"]["complete"]) and not self.is_closed

    def given(self, form: FormData) -> Filled:
        """What the posted form holds."""
        files = doors_of(self.request).key.opened(f"files.{self.link.id}", str(form.get("files", "")))
        return typed(self.request, self.form, self.asked | {"known": json.loads(files or "[]")}, form, by=self.link.person)

    def use(self, connection: Connection, now: datetime) -> None:
        if not use_link(connection, self.link.id, now):
            raise Refused(Phrase("This link was used already. Ask for another, or sign in."))

    def page(
        self, answers: Mapping[str, Any], *, status: int = 200, errors: Mapping[str, str] | None = None, problem: str = ""
    ) -> Response:
        language = language_of(self.request)
        return page(
            self.request,
            "link/form.html",
            status=status,
            c=self.asked,
            action=self.request.url.path,
            summary=fields.summary(self.form, errors or {}, language),
            problem=language.text(problem),
            # Files that came with a form that was not accepted: they come back with it, and no others can be named.
            files=doors_of(self.request).key.sign(f"files.{self.link.id}", json.dumps(list(files_in(answers)))),
            **form_values(self.launch, self.form, self.asked, language, answers, errors),
        )


def _is_closed(connection: Connection, person: str) -> bool:
    account = account_of(connection, person)
    return account is not None and account["disabled_at"] is not None


def _opened(request: Request, token: str) -> Opened | Response:
    link = arriving(request, "checkpoint", token)
    if link is None:
        return page(request, "link/over.html", status=410, why="")
    opened = Opened(request, link)
    if not opened.may_complete:
        return page(request, "link/over.html", status=409, why="done" if opened.asked["completed_by"] else "not now")
    return opened


@router.get("/l/{token}")
def show(request: Request, _: Anyone, token: str) -> Response:
    """The one form that the link is for, empty; looking at it uses nothing up."""
    found = _opened(request, token)
    return found.page({}) if isinstance(found, Opened) else found


@router.post("/l/{token}")
def complete(request: Request, _: Anyone, token: str, form: Posted) -> Response:
    """Complete the checkpoint as the link's person and use the link up, both or neither; other buttons show the form again."""
    found = _opened(request, token)
    if not isinstance(found, Opened):
        return found
    given = found.given(form)
    if form.get(ACT):
        return found.page(given.answers, errors=given.errors)
    if given.errors:
        return found.page(given.answers, status=422, errors=given.errors)
    try:
        done = found.ledger.complete(found.link.target, given.answers, found.link.person, via=VIA, also=found.use)
    except InvalidAnswers as refused:
        return found.page(given.answers, status=422, errors=refused.errors)
    except InsituError as refused:
        return found.page(given.answers, status=status_of(refused), problem=refused.args[0])
    return page(request, "link/done.html", c=found.asked, signs=done["status"] == "open" and not done.get("gate"))
