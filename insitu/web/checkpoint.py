"""A checkpoint's page: read it, fill it in, complete it, keep a draft. What else is done there: `insitu.web.checkpoint_acts`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import FormData

from insitu.entrance.doors import doors_of
from insitu.entrance.guard import Posted
from insitu.entrance.language import N_, language
from insitu.entrance.page import go_to, language_of
from insitu.entrance.refusals import status_of
from insitu.entrance.visitor import FillsInCheckpoint, Lapsed, SeenCheckpoint, SeesCheckpoint
from insitu.web import checkpoint_acts
from insitu.web.checkpoint_page import address_of, checkpoint_page, draft_saved, fields_part, form_of, read, typed
from insitu.web.form import ACT, Filled
from protocols.errors import CheckpointAlreadyCompleted, CommandReused, InsituError, InvalidAnswers, Refused, UnknownThing
from protocols.forms import files_among
from protocols.phrase import Phrase
from sites import inbox
from sites.files import media_type_of
from sites.policy import EVERYTHING
from sites.releases import plan_of
from sites.snapshot import find

router = APIRouter()

PART = "x-part"  # what our own JavaScript asks for: `fields` or `draft` instead of a page


@router.get("/checkpoints/{checkpoint}")
def show(request: Request, seen: SeesCheckpoint, change: bool = False) -> Response:
    """What is asked, answered and said there, and what the visitor may do."""
    return checkpoint_page(request, seen, changing=change)


@router.post("/checkpoints/{checkpoint}/complete")
def complete(request: Request, seen: FillsInCheckpoint, form: Posted) -> Response:
    """Complete the checkpoint; refused answers are shown again as they were typed, and kept as a draft."""
    if isinstance(seen, Lapsed):
        return _keep_for_later(request, seen, form)
    asked, changing = read(seen), bool(form.get("change"))
    found = typed(request, form_of(seen.plan, seen.name.step), asked, form, by=seen.visitor.person)
    if found.errors:
        _keep(seen, found)
        return _again(request, seen, found, status=422, errors=found.errors, changing=changing)
    ledger, command = seen.visitor.doors.ledger, str(form.get("command", ""))[:64]
    try:
        done = ledger.complete(
            str(seen.name), found.answers, seen.visitor.person, command_id=f"page.{command}" if command else None, change=changing
        )
    except InvalidAnswers as refused:
        return _again(request, seen, found, status=422, errors=refused.errors, changing=changing)
    except CheckpointAlreadyCompleted:
        return _again(request, seen, found, status=409, problem=_who_was_first(seen))
    except (Refused, CommandReused) as refused:
        _keep(seen, found)
        return _again(request, seen, found, status=status_of(refused), problem=refused.args[0])
    return _after(request, seen, done)


def _who_was_first(seen: SeenCheckpoint) -> str:
    now = read(seen)
    who = now["names"].get(now["completed_by"], "") or now["roles"].get(now["role"], "")
    when = language(seen.visitor.locale).moment(now["completed_at"], now["timezone"])
    if now["completed_by"] == seen.visitor.person:
        return Phrase("You completed this checkpoint already, on {when}. What you typed since is kept below.", when=when)
    return Phrase("{who} was first and completed this checkpoint on {when}. What you typed is kept below.", who=who, when=when)


def _after(request: Request, seen: SeenCheckpoint, done: Mapping[str, Any]) -> Response:
    """Lead on: to one's own signature when it is next, else to what else is to do today."""
    if done.get("gate") is None and done["status"] == "open":
        now = read(seen)
        if now["may"]["sign"]:
            return go_to(request, address_of(seen.name, "#signing"), N_("Your answers are recorded. Your signature is next."))
        if now["awaits"] == "answers":
            return go_to(request, address_of(seen.name), N_("Your answers are recorded, but the gate stays closed: see what is missing."))
    return go_to(request, "/today", N_("Your answers are recorded. Thank you."))


@router.post("/checkpoints/{checkpoint}/draft")
def save_draft(request: Request, seen: FillsInCheckpoint, form: Posted) -> Response:
    """Keep what was typed; nothing else changes."""
    if isinstance(seen, Lapsed):
        return _keep_for_later(request, seen, form)
    asked = read(seen)
    found = typed(request, form_of(seen.plan, seen.name.step), asked, form, by=seen.visitor.person)
    saved = _keep(seen, found)
    if request.headers.get(PART) == "draft":
        return JSONResponse({"saved": _saved(request, seen, asked) if saved else ""})
    if found.errors:
        return _again(request, seen, found, status=422, errors=found.errors, changing=bool(form.get("change")))
    return go_to(request, address_of(seen.name, "?change=1" if form.get("change") else ""), _saved(request, seen, asked) if saved else "")


@router.post("/checkpoints/{checkpoint}/fields")
def show_fields(request: Request, seen: FillsInCheckpoint, form: Posted) -> Response:
    """The form again for what has been typed so far: fields that apply now, a row more or less, answers of an earlier round."""
    if isinstance(seen, Lapsed):
        return _keep_for_later(request, seen, form)
    asked, act = read(seen), str(form.get(ACT, ""))
    found = typed(request, form_of(seen.plan, seen.name.step), asked, form, by=seen.visitor.person)
    found.answers = _offered(asked, act) | found.answers
    saved = _keep(seen, found)
    if request.headers.get(PART) == "fields":
        headers = {"x-saved": quote(_saved(request, seen, asked))} if saved else {}
        return HTMLResponse(fields_part(request, seen, asked, found.answers, found.errors), headers=headers)
    focus = "f-" + act.partition(":")[2] if act.startswith("add:") else ""
    return _again(request, seen, found, errors=found.errors, changing=bool(form.get("change")), focus=focus)


def _offered(asked: Mapping[str, Any], act: str) -> dict[str, Any]:
    """The answers that a button offers for the fields left blank: of an earlier round, or of Prefect's draft."""
    what, _, which = act.partition(":")
    if what != "use":
        return {}
    if which == "prefect":
        return dict((asked["prefect_draft"] or {}).get("answers") or {})
    return dict(next((one["answers"] or {} for one in asked["earlier_rounds"] if str(one["round"]) == which), {}))


def _again(request: Request, seen: SeenCheckpoint, found: Filled, **how: Any) -> Response:
    return checkpoint_page(request, seen, answers=found.answers, **how)


def _keep(seen: SeenCheckpoint, found: Filled) -> bool:
    """Keep what was typed as the visitor's draft, unless they may not have one."""
    with suppress(InsituError):
        seen.visitor.doors.ledger.save_draft(str(seen.name), seen.visitor.person, found.answers)
        return True
    return False


def _saved(request: Request, seen: SeenCheckpoint, asked: Mapping[str, Any]) -> str:
    return draft_saved(seen.visitor.doors.clock.now(), asked["timezone"], language_of(request))


# ------------------------------------------------------------------ a session that ran out meanwhile


def _keep_for_later(request: Request, lapsed: Lapsed, form: FormData) -> Response:
    """Keep what was typed as the draft of whoever's session ran out, then ask them to sign in."""
    with suppress(UnknownThing):  # what there is and what there is not get the same answer
        _keep_lapsed(request, lapsed, form)
    sign_in = f"/sign-in?to={quote(address_of(lapsed.name), safe='')}"
    said = N_("Your session had ended. What you typed is kept as a draft: sign in to find it again.")
    if request.headers.get(PART):
        return JSONResponse({"saved": language_of(request)(said), "to": sign_in}, 401)
    return go_to(request, sign_in, said)


def _keep_lapsed(request: Request, lapsed: Lapsed, form: FormData) -> None:
    doors = doors_of(request)
    with doors.database.read() as connection:
        plan = plan_of(connection, find(connection, lapsed.name.experiment)["protocol"])
    asked = inbox.checkpoint(doors.database, str(lapsed.name), doors.clock.now(), person=lapsed.person, access=EVERYTHING)
    if asked["may"]["type"] or asked["may"]["change"]:
        found = typed(request, form_of(plan, lapsed.name.step), asked, form, by=lapsed.person)
        with suppress(InsituError):
            doors.ledger.save_draft(str(lapsed.name), lapsed.person, found.answers)


# ------------------------------------------------------------------ files


@router.get("/checkpoints/{checkpoint}/files/{hash_}")
def download(request: Request, seen: SeesCheckpoint, hash_: str) -> Response:
    """A file among this checkpoint's answers, of any round, or in one's own draft; raises UnknownThing for any other."""
    asked = read(seen)
    shown = [asked["answers"], *(one["answers"] for one in asked["earlier_rounds"])]
    shown += [draft["answers"] for draft in (asked["draft"], asked["prefect_draft"]) if draft]
    form = form_of(seen.plan, seen.name.step)
    found = next((one for answers in shown for _, _, one in files_among(form, answers or {}) if one["hash"] == hash_), None)
    if found is None:
        raise UnknownThing(Phrase("There is no such file here that you may see."))
    content = seen.visitor.doors.ledger.document(hash_)["content"]
    headers = {"content-disposition": f"attachment; filename=\"{_ascii(found['name'])}\"; filename*=UTF-8''{quote(found['name'], safe='')}"}
    return Response(content, media_type=media_type_of(found["name"]), headers=headers)


def _ascii(name: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name)


router.include_router(checkpoint_acts.router)
