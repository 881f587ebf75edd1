"""What every page of the administration has: its tabs, its choices, its forms' values and complaints, the pages of its lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Path, Request, Response
from starlette.datastructures import FormData

from insitu.entrance.language import N_, Language
from insitu.entrance.page import language_of, own_address, page
from insitu.entrance.visitor import Visitor
from protocols.errors import InsituError, InvalidImport, InvalidInput
from protocols.phrase import Phrase
from sites.offered import Offered, offered

LONGEST_FILTER = 200
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]  # of a row, as both databases count them


def admin_page(request: Request, visitor: Visitor, template: str, *, status: int = 200, **values: Any) -> Response:
    """A page of `admin/`, with the tabs its visitor has; `errors` are told first."""
    given = {"tabs": tabs(visitor, language_of(request)), "errors": [], "typed": {}}
    return page(request, f"admin/{template}", status=status, **given | values)


def tabs(visitor: Visitor, tongue: Language) -> list[tuple[str, str]]:
    """The ways within the administration: an investigator's lead to the logs alone."""
    logs = [("/admin/delegations", N_("Delegations")), ("/admin/trainings", N_("Trainings"))]
    if visitor.reader.is_some_manager:
        people = [("/admin/sites", N_("Sites")), ("/admin/people", N_("People")), ("/admin/assignments", N_("Assignments"))]
        logs = [*people, *logs, ("/admin/deputies", N_("Deputies")), ("/admin/conflicts", N_("Conflicts")), ("/admin/access", N_("Access"))]
    return [(address, tongue(name)) for address, name in [("/admin", N_("Overview")), *logs]] if visitor.administers else []


def choices(visitor: Visitor) -> Offered:
    """What the visitor may choose from in forms and filters."""
    with visitor.doors.database.read() as connection:
        return offered(connection, visitor.reader, visitor.locale)


# ------------------------------------------------------------------ lists


def filters(request: Request, names: Iterable[str]) -> dict[str, Any]:
    """What the address says of each of these, "" for nothing."""
    return {name: request.query_params.get(name, "").strip()[:LONGEST_FILTER] for name in names}


def page_number(request: Request) -> int:
    """The page of a list that the address asks for, the first where it says nothing of use."""
    given = request.query_params.get("page", "")
    return max(1, int(given)) if given.isascii() and given.isdecimal() and len(given) < 8 else 1


def pager(path: str, chosen: Mapping[str, str], found: Mapping[str, Any]) -> dict[str, Any]:
    """The addresses of the pages before and after, "" where there is none."""
    number = found["page"]
    return {
        "earlier": address(path, chosen, page=number - 1) if number > 1 else "",
        "later": address(path, chosen, page=number + 1) if number < found["pages"] else "",
    }


def address(path: str, chosen: Mapping[str, str], **more: object) -> str:
    """A path with what is chosen kept in it."""
    kept = {name: value for name, value in chosen.items() if value} | {name: str(value) for name, value in more.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path


def person_address(person: str) -> str:
    """The page of a person, whatever their id is made of."""
    return f"/admin/people/{quote(person, safe='')}"


# ------------------------------------------------------------------ forms


def typed(form: FormData, names: Iterable[str]) -> dict[str, str]:
    """The texts of a form as they were typed, "" for what it lacks."""
    given = {name: form.get(name, "") for name in names}
    return {name: value if isinstance(value, str) else "" for name, value in given.items()}


def day(text: str, *, required: bool = False) -> date | None:
    """A date of a form; None for an empty one that is not required. Raises InvalidInput."""
    if not text.strip() and not required:
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(Phrase("Give a date as year-month-day, such as 2026-03-31.")) from None


def days(given: Mapping[str, str], required: Mapping[str, bool]) -> tuple[dict[str, date | None], dict[str, Phrase]]:
    """The dates of a form by name, and what is wrong with the others; `required` says of each whether it must be there."""
    found: dict[str, date | None] = {}
    wrong: dict[str, Phrase] = {}
    for name, needed in required.items():
        try:
            found[name] = day(given[name], required=needed)
        except InvalidInput as error:
            wrong[name] = error.args[0]
    return found, wrong


def complaints(error: InsituError, tongue: Language, field: str) -> list[tuple[str, str]]:
    """What is wrong, for `ui.summary`: by field where the error knows it, else at `field`."""
    if isinstance(error, InvalidImport):
        return [(problem.path or field, tongue.text(problem.message)) for problem in error.problems]
    return [(field, tongue.text(error.args[0] if error.args else str(error)))]


def said(wrong: Mapping[str, str], tongue: Language) -> list[tuple[str, str]]:
    """Messages by field, in the reader's language."""
    return [(field, tongue.text(message)) for field, message in wrong.items()]


def own_list(form: FormData, otherwise: str) -> str:
    """Where a form of a list leads back to: the list as it was narrowed, or a person's page; `otherwise` for anything else."""
    back = form.get("back", "")
    return own_address(back, otherwise) if isinstance(back, str) and back.startswith("/admin/") else otherwise
