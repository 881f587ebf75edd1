"""The launch of an experiment, by a project manager of everything."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile

from insitu.entrance.doors import Doors
from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of, page
from insitu.entrance.visitor import GlobalManager, Visitor
from insitu.web import fields
from insitu.web.form import ACT, filled
from insitu.web.library_words import Reading
from protocols import clocks
from protocols.clocks import Place
from protocols.errors import CommandReused, InvalidAnswers
from protocols.model import FieldType, FormField, in_locale
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites import releases
from sites.files import store
from sites.releases import find_release, plan_of
from sites.vacancies import Manned, everyone, known_sites, manned

router = APIRouter()


@dataclass(slots=True)
class Asked:
    """What the form holds: as it begins, or as it was sent. `errors` are messages by the form's own controls, `wrong` by its fields."""

    command: str = ""
    title: str = ""
    sites: list[str] = field(default_factory=list)
    lead: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def in_order(self) -> list[str]:
        """The sites, the leading one first."""
        return [self.lead, *(site for site in self.sites if site != self.lead)] if self.lead else self.sites


@router.get("/launch")
def choose(request: Request, visitor: GlobalManager) -> Response:
    """Choose what to launch."""
    latest = {row["id"]: row for row in releases.releases(visitor.doors.database)}  # they come by version, the latest last
    with visitor.doors.database.read() as connection:
        protocols = [plan_of(connection, row["hash"]).protocol for row in latest.values()]
    tongue = language_of(request)
    return page(request, "launch/choose.html", readings=[Reading(protocol, tongue) for protocol in protocols])


@router.get("/launch/{protocol}")
def ask(request: Request, visitor: GlobalManager, protocol: str, version: str | None = None) -> Response:
    """Ask what a launch needs, and say which roles nobody holds yet."""
    return _form(request, visitor, _plan(visitor.doors, protocol, version), Asked(_new_command()))


@router.post("/launch/{protocol}")
def launch(request: Request, visitor: GlobalManager, form: Posted, protocol: str) -> Response:
    """Launch once, however often the same form is sent, and lead to the experiment."""
    doors = visitor.doors
    plan = _plan(doors, protocol, str(form.get("version", "")) or None)
    asked = _asked(doors, plan, form, language_of(request).decimal, visitor.person)
    if form.get(ACT):  # a row more or less in a table: nothing is launched yet
        return _form(request, visitor, plan, asked, status=200)
    if asked.errors or asked.wrong:
        return _form(request, visitor, plan, asked)
    try:
        done = doors.ledger.launch(
            protocol,
            asked.in_order,
            asked.answers,
            visitor.person,
            version=plan.protocol.version,
            title=asked.title or None,
            command_id=f"launch:{visitor.person}:{asked.command}",
        )
    except InvalidAnswers as error:
        asked.wrong = error.errors
        return _form(request, visitor, plan, asked)
    except CommandReused:
        asked.command = _new_command()
        asked.errors["sites"] = Phrase("This form has launched an experiment already. Send it again to launch another one.")
        return _form(request, visitor, plan, asked, status=409)
    return go_to(request, f"/experiments/{done['code']}", Phrase("The experiment {code} was launched.", code=done["code"]))


def _new_command() -> str:
    return secrets.token_urlsafe(18)


def _plan(doors: Doors, protocol: str, version: str | None) -> Plan:
    with doors.database.read() as connection:
        return plan_of(connection, find_release(connection, protocol, version)["hash"])


def _asked(doors: Doors, plan: Plan, form: FormData, decimal: str, by: str) -> Asked:
    """The posted form; what is missing in it is noted, what was typed stays."""

    def keep(one: FormField, upload: UploadFile) -> Mapping[str, Any]:
        return store(doors.ledger, one, upload.filename or "", upload.file.read(), upload.content_type or "", by=by)

    known = {site["code"]: site for site in known_sites(doors.database)}
    sites = [code for code in dict.fromkeys(map(str, form.getlist("sites"))) if code in known]
    lead = str(form.get("lead", ""))
    first = known.get(lead) or (known[sites[0]] if sites else None)
    timezone = first["timezone"] if first else Place().timezone
    found = filled(plan.protocol.launch, form, timezone=timezone, decimal=decimal, store=keep)
    asked = Asked(str(form.get("command", ""))[:64] or _new_command(), str(form.get("title", "")).strip(), sites, lead, found.answers)
    asked.wrong = found.errors
    if not sites:
        asked.errors["sites"] = Phrase("Choose at least one site.")
    elif lead and lead not in sites:
        asked.errors["lead"] = Phrase("The leading site must be among the sites chosen.")
    if "\x00" in asked.title:
        asked.errors["title"] = Phrase("The title holds a null character; type it again.")
    return asked


def _form(request: Request, visitor: Visitor, plan: Plan, asked: Asked, status: int = 0) -> Response:
    doors, tongue, protocol = visitor.doors, language_of(request), plan.protocol
    now, people = doors.clock.now(), manned(doors.database, protocol, doors.clock.now(), also=_roles_asked(protocol.launch))
    setting = fields.Setting(tongue, clocks.local_date(now, Place()), persons=_persons(doors, protocol.launch, people))
    errors = {name: tongue.text(message) for name, message in asked.errors.items()}
    reading, sites = Reading(protocol, tongue), known_sites(doors.database)
    return page(
        request,
        "launch/launch.html",
        status=status or (422 if errors or asked.wrong else 200),
        reading=reading,
        asked=asked,
        errors=errors,
        summary=[*errors.items(), *fields.summary(protocol.launch, asked.wrong, tongue)],
        sites=[site | {"vacant": [reading.role(role) for role in people.vacant_at(site["code"])]} for site in sites],
        leads=[("", tongue(N_("The first one chosen"))), *((site["code"], site["name"]) for site in sites)],
        vacant=people.vacant,
        requiring=[in_locale(role.title, tongue.code) for role in protocol.roles.values() if role.requires],
        shown=fields.shown(protocol.launch, asked.answers, setting, asked.wrong),
        hidden=fields.hidden(protocol.launch, asked.answers, setting),
    )


def _person_fields(form: Sequence[FormField]) -> list[FormField]:
    inner = [column for one in form for column in one.columns]
    return [one for one in (*form, *inner) if one.type is FieldType.PERSON]


def _roles_asked(form: Sequence[FormField]) -> list[str]:
    return [one.role for one in _person_fields(form) if one.role]


def _persons(doors: Doors, form: Sequence[FormField], people: Manned) -> dict[str | None, Sequence[tuple[str, str]]]:
    """The people one may name in the form, by the role that the field asks for."""
    return {one.role: people.of(one.role) if one.role else everyone(doors.database) for one in _person_fields(form)}
