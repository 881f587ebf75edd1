"""Files of sites, people and assignments: all or nothing, and every problem with its line."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile

from insitu.entrance.guard import LONGEST_FIELD, Posted
from insitu.entrance.language import N_, Language
from insitu.entrance.page import language_of
from insitu.entrance.visitor import GlobalManager
from insitu.web.admin.frame import admin_page
from protocols.errors import InvalidImport, InvalidInput, Problem
from protocols.phrase import Phrase
from sites import registry
from sites.sheets import KINDS, decoded

router = APIRouter()

MOST_PROBLEMS = 200
WRITTEN = "pasted.yaml"
LARGEST = LONGEST_FIELD
TITLES = {"sites": N_("Sites"), "people": N_("People"), "assignments": N_("Assignments")}


@router.get("/admin/import")
def import_form(request: Request, visitor: GlobalManager) -> Response:
    """The form, with what a file may look like."""
    return admin_page(request, visitor, "import.html", typed={"text": ""}, problems=[], done=None, warnings=[])


@router.post("/admin/import")
def import_file(request: Request, visitor: GlobalManager, form: Posted) -> Response:
    """Write what a file says, or nothing of it; its text stays in the form until it is right."""
    doors, tongue, text = visitor.doors, language_of(request), ""
    try:
        text, name = _given(form)
        kinds = [kind for kind in KINDS if form.get(kind)] or KINDS
        found = registry.import_file(doors.database, text, name, kinds, by=visitor.person, clock=doors.clock)
    except InvalidImport as error:
        problems = [_problem(one, tongue) for one in error.problems[:MOST_PROBLEMS]]
        return _again(request, visitor, text, problems, len(error.problems))
    except InvalidInput as error:
        return _again(request, visitor, text, [{"line": 0, "where": "", "message": tongue.text(error.args[0])}], 1)
    done = [(tongue(TITLES[kind]), found[kind]) for kind in KINDS if kind in found]
    return admin_page(request, visitor, "import.html", typed={"text": ""}, problems=[], done=done, warnings=found["warnings"])


def _again(request: Request, visitor: Any, text: str, problems: list[dict[str, Any]], count: int) -> Response:
    kept = {"typed": {"text": text}, "problems": problems, "count": count, "done": None, "warnings": []}
    return admin_page(request, visitor, "import.html", status=422, **kept)


def _given(form: FormData) -> tuple[str, str]:
    """The text and the name of the file sent, else what was typed, whose kind its first lines tell."""
    file, text = form.get("file"), form.get("text", "")
    if isinstance(file, UploadFile) and file.filename:
        content = file.file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InvalidInput(Phrase("The file is larger than {most} MB. Split it, and import its parts.", most=LARGEST // 1024**2))
        return decoded(content, file.filename), file.filename[:200]
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(Phrase("Choose a file, or type its lines."))
    return text, WRITTEN if _is_yaml(text) else "pasted.csv"


def _is_yaml(text: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return first.split(":", 1)[0].strip() in KINDS or not any(separator in first for separator in ";,\t")


def _problem(problem: Problem, tongue: Language) -> dict[str, Any]:
    return {"line": problem.line, "where": problem.path, "message": tongue.text(problem.message)}
