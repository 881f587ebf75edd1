"""The library of protocols, readable and printable."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of, page
from insitu.entrance.visitor import GlobalManager, SignedIn, Visitor
from insitu.web.library_diagram import Diagram, diagram
from insitu.web.library_words import Reading
from protocols.errors import InsituError, InvalidProtocol, Problem
from protocols.model import Phase
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites import releases
from sites.library import find_readable, readable
from sites.releases import plan_of
from sites.uses import uses

router = APIRouter()

LARGEST = 1024 * 1024


@router.get("/library")
def library(request: Request, visitor: SignedIn) -> Response:
    """Every protocol with its versions, and where it is used as far as one sees it."""
    doors = visitor.doors
    used, rows = uses(doors.database, visitor.reader), readable(doors.database, visitor.reader)
    with doors.database.read() as connection:
        known = [row | {"plan": plan_of(connection, row["hash"])} for row in rows]
    return page(request, "library/library.html", protocols=_by_protocol(known, used), reading=_reading_of(request))


def _by_protocol(rows: list[dict[str, Any]], used: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each protocol in the words of its latest version, with all of them, the latest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["id"], []).insert(0, row | {"used": used.get(row["hash"], {"experiments": 0, "sites": []})})
    return [{"protocol": releases.latest(versions)["plan"].protocol, "versions": versions} for versions in found.values()]


def _reading_of(request: Request) -> Any:
    tongue = language_of(request)
    return lambda protocol: Reading(protocol, tongue)


@router.get("/library/add")
def add_page(request: Request, visitor: GlobalManager) -> Response:
    """Where a project manager of everything adds a protocol."""
    return _add_page(request, "")


@router.post("/library/add")
def add(request: Request, visitor: GlobalManager, form: Posted) -> Response:
    """Release the protocol that was sent, or show all that is wrong with it, with its lines; the text stays."""
    text, doors = _text(form), visitor.doors
    if isinstance(text, Phrase):
        return _add_page(request, str(form.get("text", "")), refused=text)
    problems = releases.problems(text, database=doors.database)
    warned_only = bool(problems) and all(problem.level == "warning" for problem in problems)
    if problems and not (warned_only and form.get("sure")):
        return _add_page(request, text, problems=problems, warned_only=warned_only)
    try:
        added = releases.add(doors.database, text, doors.clock)
    except InvalidProtocol as error:
        return _add_page(request, text, problems=error.problems)
    except InsituError as error:
        return _add_page(request, text, refused=error.args[0])
    return go_to(request, f"/library/{added['id']}/{added['version']}", N_("The protocol was added to the library."))


def _text(form: FormData) -> str | Phrase:
    """What was typed, else the file's content; why it cannot be read where it cannot."""
    file, typed = form.get("file"), str(form.get("text", ""))
    if not isinstance(file, UploadFile) or not file.filename:
        return typed if typed.strip() else Phrase("Choose a file, or type the protocol’s text.")
    content = file.file.read(LARGEST + 1)
    file.file.close()
    if len(content) > LARGEST:
        return Phrase("The file is too large: a protocol’s text has at most 1 MB. Choose another.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Phrase("The file is not UTF-8 text. Save it as UTF-8 and choose it again.")


def _add_page(
    request: Request, text: str, *, problems: list[Problem] | None = None, refused: str = "", warned_only: bool = False
) -> Response:
    said = language_of(request).text(refused)
    errors = [("text", said)] if said else []
    status = 422 if problems or errors else 200
    return page(
        request, "library/add.html", status=status, text=text, errors=errors, problems=problems or [], warned_only=warned_only, refused=said
    )


@router.get("/library/{protocol}")
def latest(request: Request, visitor: SignedIn, protocol: str) -> Response:
    """Lead to a protocol's latest version."""
    versions = [row for row in readable(visitor.doors.database, visitor.reader) if row["id"] == protocol]
    row = releases.latest(versions) if versions else find_readable(visitor.doors.database, visitor.reader, protocol, "")
    return go_to(request, f"/library/{row['id']}/{row['version']}")


@router.get("/library/{protocol}/{version}")
def protocol_page(request: Request, visitor: SignedIn, protocol: str, version: str) -> Response:
    """One version, readable from the first step to the last, with its drawing."""
    row, plan = _release(visitor, protocol, version)
    reading = Reading(plan.protocol, language_of(request))
    phases = [(phase, [step for step in plan.protocol.steps if step.phase is phase]) for phase in Phase]
    return page(
        request,
        "library/protocol.html",
        release=row,
        protocol_hash=row["hash"],
        device=reading.device(),
        protocol=plan.protocol,
        reading=reading,
        phases=[(phase, steps) for phase, steps in phases if steps],
        numbers={step.id: number for number, step in enumerate(plan.protocol.steps, 1)},
        drawing=_drawing(plan, reading.tongue.code),
        others=_others(visitor, protocol, version),
    )


@router.get("/library/{protocol}/{version}/source")
def source(visitor: SignedIn, protocol: str, version: str) -> Response:
    """The text as it was added, as a file."""
    row, _ = _release(visitor, protocol, version)
    named = {"content-disposition": f'attachment; filename="{row["id"]}-{row["version"]}.yaml"'}
    return Response(row["source"], media_type="application/yaml; charset=utf-8", headers=named)


def _release(visitor: Visitor, protocol: str, version: str) -> tuple[dict[str, Any], Plan]:
    row = find_readable(visitor.doors.database, visitor.reader, protocol, version)
    with visitor.doors.database.read() as connection:
        return row, plan_of(connection, row["hash"])


def _others(visitor: Visitor, protocol: str, version: str) -> list[str]:
    rows = readable(visitor.doors.database, visitor.reader)
    return [row["version"] for row in rows if row["id"] == protocol and row["version"] != version][::-1]


@lru_cache(maxsize=64)
def _drawing(plan: Plan, locale: str) -> Diagram:
    return diagram(plan.protocol, locale)
