"""A checkpoint's page put together: what is asked, what was typed, what may be done, in the reader's language."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from babel.dates import format_time
from fastapi import Request, Response
from starlette.datastructures import FormData, UploadFile

from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.language import Language
from insitu.entrance.page import fragment, language_of, page
from insitu.entrance.visitor import SeenCheckpoint
from insitu.web import fields
from insitu.web.answers import told
from insitu.web.form import Filled, filled
from protocols.model import FieldType, FormField
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites import inbox
from sites.checkpoint_links import links_to
from sites.checkpoints import CheckpointId
from sites.files import store

Asked = Mapping[str, Any]


def address_of(name: CheckpointId | str, part: str = "") -> str:
    """The address of a checkpoint's page, or of a part of it."""
    return f"/checkpoints/{quote(str(name), safe=':')}{part}"


def read(seen: SeenCheckpoint) -> dict[str, Any]:
    """The checkpoint as the visitor sees it. Raises UnknownThing for a round that has not come."""
    visitor = seen.visitor
    now = visitor.doors.clock.now()
    return inbox.checkpoint(visitor.doors.database, str(seen.name), now, person=visitor.person, locale=visitor.locale, access=seen.access)


def form_of(plan: Plan, step: str) -> tuple[FormField, ...]:
    """The fields of a step's checkpoint; none without one."""
    checkpoint = plan.steps[step].step.checkpoint
    return checkpoint.form if checkpoint else ()


def before(asked: Asked) -> list[Any]:
    """All answers that the page shows in one way or another: files among them may be kept."""
    drafts = [draft["answers"] for draft in (asked["draft"], asked["prefect_draft"]) if draft]
    return [*asked.get("known", ()), *drafts, asked["answers"], *(one["answers"] for one in asked["earlier_rounds"])]


def typed(request: Request, form: Sequence[FormField], asked: Asked, posted: FormData, *, by: str) -> Filled:
    """What a posted form holds, its files kept as handed in by a person; a person must be one of those to choose among."""
    doors = doors_of(request)

    def keep(field: FormField, upload: UploadFile) -> Mapping[str, Any]:
        return store(doors.ledger, field, upload.filename or "", upload.file.read(), upload.content_type or "", by=by)

    found = filled(
        form, posted, timezone=asked["timezone"], decimal=language_of(request).decimal, before={"shown": before(asked)}, store=keep
    )
    for _, value in posted.multi_items():
        if isinstance(value, UploadFile):
            value.file.close()
    found.errors.update(_strangers(form, asked, found.answers))
    return found


def _strangers(form: Sequence[FormField], asked: Asked, answers: Mapping[str, Any]) -> dict[str, str]:
    earlier = [one for one in before(asked) if one]
    found: dict[str, str] = {}
    for field in form:
        value = answers.get(field.id)
        known = {person for person, _ in asked["persons"].get(field.role or asked["role"], ())}
        if field.type is FieldType.PERSON and value and value not in known and all(one.get(field.id) != value for one in earlier):
            found[field.id] = Phrase("choose someone from the list")
    return found


def setting(seen_launch: Mapping[str, Any], asked: Asked, language: Language) -> fields.Setting:
    """Where the form is filled in, and whom its fields may name."""
    return fields.Setting(
        language=language,
        today=date.fromisoformat(asked["today"]),
        timezone=asked["timezone"],
        persons={None: asked["persons"].get(asked["role"], ()), **asked["persons"]},
        context={"launch": seen_launch},
    )


def draft_saved(moment: datetime, timezone: str, language: Language) -> str:
    """`Draft saved at 14:02`, by the site's clocks."""
    hour = format_time(moment.astimezone(ZoneInfo(timezone)), "HH:mm", locale=language.locale)
    return language.text(Phrase("Draft saved at {hour}", hour=hour))


def checkpoint_page(
    request: Request,
    seen: SeenCheckpoint,
    *,
    asked: Asked | None = None,
    status: int = 200,
    answers: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
    problem: str = "",
    wrong: Mapping[str, str] | None = None,
    said: Mapping[str, str] | None = None,
    changing: bool = False,
    focus: str = "",
) -> Response:
    """The page. `answers` and `errors` are those of a form that was not accepted; `problem` says why an act was not done.

    `wrong` are messages beside the other acts' fields, and `said` what was typed there; `changing` opens answers that await signatures.
    """
    asked = asked or read(seen)
    language, form = language_of(request), form_of(seen.plan, seen.name.step)
    changing = changing and asked["may"]["change"]
    filling = asked["may"]["type"] or changing
    values = answers if answers is not None else _start(asked)
    shown = form_values(seen.row["launch"], form, asked, language, values, errors) if filling else {}
    return page(
        request,
        "checkpoint/checkpoint.html",
        status=status,
        c=asked,
        address=address_of(seen.name),
        here=seen,
        filling=filling,
        changing=changing,
        summary=fields.summary(form, errors or {}, language),
        problem=language.text(problem),
        wrong={name: language.text(message) for name, message in (wrong or {}).items()},
        said_there=said or {},
        focus=focus,
        command=secrets.token_urlsafe(12),  # a form sent twice is completed once
        answered=_told(form, asked["answers"], asked, language),
        unsent=_told(form, values if not filling and (answers or asked["draft"]) else None, asked, language),
        rounds=[one | {"told": _told(form, one["answers"], asked, language)} for one in asked["earlier_rounds"]],
        links=_links(seen, asked),
        receivers=_receivers(seen, asked),
        saved=draft_saved(datetime.fromisoformat(asked["draft"]["saved_at"]), asked["timezone"], language) if asked["draft"] else "",
        **shown,
    )


def _start(asked: Asked) -> Mapping[str, Any]:
    """What the form begins with: the draft, else the answers as they stand."""
    return (asked["draft"] or {}).get("answers") or asked["answers"] or {}


def form_values(
    launch: Mapping[str, Any],
    form: Sequence[FormField],
    asked: Asked,
    language: Language,
    answers: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What `parts/form.html` shows: the fields that apply, and the answers of those that do not."""
    here = setting(launch, asked, language)
    return {"shown": fields.shown(form, answers, here, errors), "hidden": fields.hidden(form, answers, here)}


def fields_part(request: Request, seen: SeenCheckpoint, asked: Asked, answers: Mapping[str, Any], errors: Mapping[str, str]) -> str:
    """The form's fields alone, for a page whose JavaScript puts them in place."""
    language, form = language_of(request), form_of(seen.plan, seen.name.step)
    values = form_values(seen.row["launch"], form, asked, language, answers, errors)
    return fragment(request, "checkpoint/fields.html", rounds=asked["earlier_rounds"], **values)


def _told(form: Sequence[FormField], answers: Mapping[str, Any] | None, asked: Asked, language: Language) -> list[dict[str, Any]]:
    return told(form, answers, language, asked["timezone"], asked["names"]) if answers else []


def _receivers(seen: SeenCheckpoint, asked: Asked) -> list[tuple[str, str]]:
    """To whom the visitor may send a link: a manager to whoever the checkpoint waits for, anyone else to themself."""
    everyone = [(one["id"], one["name"]) for one in asked["who"]]
    if asked["may"]["answer"]:
        return everyone
    return [(seen.visitor.person, seen.visitor.name)] if asked["may"]["complete"] else []


def _links(seen: SeenCheckpoint, asked: Asked) -> list[dict[str, Any]]:
    """The links in force to this checkpoint that the visitor may take back: a manager all, anyone else their own."""
    if not asked["may"]["link"]:
        return []
    doors: Doors = seen.visitor.doors
    with doors.database.read() as connection:
        found = links_to(connection, seen.name, doors.clock.now())
    return [one for one in found if asked["may"]["answer"] or seen.visitor.person == one["person"]]
