"""The journal: what happened, in words, with filters, exports and the check of its chain."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response

from insitu.entrance.page import language_of
from insitu.entrance.sender import address_of as network_address
from insitu.entrance.visitor import Seen, SeesExperiment
from insitu.web.experiment.documents import saved
from insitu.web.experiment.frame import address_of, experiment_page, number, role_title, step_title
from insitu.web.experiment.telling import KINDS, tell
from sites.disclosure import journal as facts_of
from sites.folding import fold
from sites.identity.access import AccessKind, in_place_of, note
from sites.names import names
from sites.sheets import safe_cell
from sites.verification import verify

router = APIRouter()

PAGE = 50
COLUMNS = ("seq", "at", "kind", "step", "site", "round", "by", "role", "data", "hash")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The filters of an address: kind, step, site ("-" for the experiment's own), person, and local days, both included."""

    query: Mapping[str, str]
    timezone: str

    @classmethod
    def of(cls, request: Request, seen: Seen) -> Chosen:
        given = {name: request.query_params.get(name, "") for name in ("kind", "step", "site", "by", "since", "until")}
        return cls(given, seen.row["timezone"])

    @property
    def filters(self) -> dict[str, Any]:
        query, last = self.query, day(self.query["until"])
        return {
            "kinds": [query["kind"]] if query["kind"] else [],
            **{name: query[name] for name in ("step", "site", "by")},
            "since": self._midnight(day(query["since"])),
            "until": self._midnight(last and last + timedelta(days=1)),
        }

    def _midnight(self, on: date | None) -> datetime | None:
        return datetime.combine(on, time.min, ZoneInfo(self.timezone)).astimezone(UTC) if on else None


def day(text: str) -> date | None:
    """A date from an address, None for anything else, and for days no calendar of ours reaches."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if 1900 < found.year < 2900 else None


@router.get("/experiments/{code}/journal")
def journal(request: Request, seen: SeesExperiment, after: str = "", before: str = "", check: str = "") -> Response:
    """The newest facts first, 50 a page; `check` verifies all of them, and what they give."""
    chosen = Chosen.of(request, seen)
    found, earlier, later = _turned(seen, chosen, number(after), number(before))
    with seen.visitor.doors.database.read() as connection:
        named = names(connection, (one["by"] for one in found))
        return experiment_page(
            request,
            seen,
            connection,
            "journal.html",
            facts=_in_words(request, seen, found, named),
            chosen=chosen.query,
            kind_options=sorted(((kind.value, language_of(request)(name)) for kind, name in KINDS.items()), key=lambda one: fold(one[1])),
            newer=address_of(seen.code, "/journal", **chosen.query, after=found[0]["seq"]) if later and found else "",
            older=address_of(seen.code, "/journal", **chosen.query, before=found[-1]["seq"]) if earlier and found else "",
            exports={kind: address_of(seen.code, f"/journal.{kind}", **chosen.query) for kind in ("csv", "json")},
            checked=_checked(seen) if check else None,
        )


def _turned(seen: Seen, chosen: Chosen, after: int | None, before: int | None) -> tuple[list[dict[str, Any]], bool, bool]:
    """A page of facts, the newest first, and whether there are earlier and later ones."""
    database, backwards = seen.visitor.doors.database, after is None
    found = facts_of(
        database, seen.code, seen.access, after=after or 0, before=before, limit=PAGE + 1, newest_first=backwards, **chosen.filters
    )
    is_more, shown = len(found) > PAGE, found[:PAGE]
    return (shown, is_more, before is not None) if backwards else (shown[::-1], True, is_more)


def _in_words(request: Request, seen: Seen, facts: Iterable[Mapping[str, Any]], named: Mapping[str, str]) -> list[dict[str, Any]]:
    tongue = language_of(request)
    return [
        {
            **fact,
            "sentence": tell(
                tongue,
                fact,
                who=named.get(fact["by"], fact["by"]),
                step=lambda name: step_title(seen, name),
                role=lambda name: role_title(seen, name),
            ),
            "raw": json.dumps(fact["data"], ensure_ascii=False, indent=1, sort_keys=True) if fact["data"] else "",
        }
        for fact in facts
    ]


def _checked(seen: Seen) -> dict[str, Any]:
    """Whether the chain holds and gives what is kept; how many facts there are, and what is bad, only for those who see every site."""
    found = verify(seen.visitor.doors.database, seen.code)
    if seen.access.sees_every_site and not seen.access.is_aggregate:
        return found
    return {"ok": found["ok"], "facts": None, "first_bad": None, "findings": []}


# ------------------------------------------------------------------ as files


@router.get("/experiments/{code}/journal.json")
def journal_as_json(request: Request, seen: SeesExperiment) -> Response:
    """The facts chosen, as JSON, oldest first; noted in the access journal."""
    facts = _exported(request, seen, "json")
    return saved(f"{seen.code}-journal.json", "application/json", json.dumps(facts, ensure_ascii=False, indent=1))


@router.get("/experiments/{code}/journal.csv")
def journal_as_csv(request: Request, seen: SeesExperiment) -> Response:
    """The facts chosen, as CSV for a spreadsheet, oldest first; noted in the access journal."""
    facts = _exported(request, seen, "csv")
    rows = [[_cell(fact[name]) for name in COLUMNS] for fact in facts]
    return saved(f"{seen.code}-journal.csv", "text/csv; charset=utf-8", as_csv(COLUMNS, rows))


def _exported(request: Request, seen: Seen, form: str) -> list[dict[str, Any]]:
    chosen = Chosen.of(request, seen)
    facts = facts_of(seen.visitor.doors.database, seen.code, seen.access, **chosen.filters)
    note_export(request, seen, "journal", form, len(facts))
    return facts


def note_export(request: Request, seen: Seen, what: str, form: str, count: int) -> None:
    """Note in the access journal that something left the house as a file."""
    doors, person = seen.visitor.doors, seen.visitor.person
    with doors.database.write() as connection:
        said = {"what": what, "experiment": seen.code, "form": form, "rows": count} | in_place_of(*seen.visitor.reader.deputises)
        note(connection, AccessKind.EXPORTED, doors.clock.now(), person=person, by=person, address=network_address(request), **said)


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, (dict, list)) else str(value)


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Comma-separated text that spreadsheets open in UTF-8; a cell that would be a formula to them is text."""
    written = io.StringIO()
    written.write("\ufeff")
    lines = csv.writer(written)
    lines.writerow(columns)
    lines.writerows([safe_cell(cell) for cell in row] for row in rows)
    return written.getvalue()
