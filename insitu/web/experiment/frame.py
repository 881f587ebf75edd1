"""What every page of an experiment shows: its name and state, and the ways to its other pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from sqlalchemy import Connection

from insitu.entrance.language import N_, Language
from insitu.entrance.page import language_of, page
from insitu.entrance.visitor import Seen
from protocols.model import in_locale
from protocols.state import SiteState, StepStatus
from sites.board import summary

TABS = (
    ("", N_("Gates")),
    ("/timeline", N_("Timeline")),
    ("/people", N_("People")),
    ("/messages", N_("Messages")),
    ("/documents", N_("Documents")),
    ("/journal", N_("Journal")),
    ("/signatures", N_("Signatures")),
)
# Prefect is shown a change within seconds (docs/performance.md); after this long it is away, or nothing shows it anything.
PREFECT_MAY_TAKE = timedelta(minutes=1)
MANAGE = ("/manage", N_("Manage"))


# The words a page says most, made once: a board has a hundred of them.
PILLS = (*(one.value for one in StepStatus), *(one.value for one in SiteState), "late")


def address_of(code: str, part: str = "", **query: Any) -> str:
    """The address of one of an experiment's pages; what is empty in the query is left out."""
    given = {name: value for name, value in query.items() if value not in ("", None, [], ())}
    return f"/experiments/{quote(code, safe='')}{part}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def checkpoint_address(code: str, step: str, site: str | None, number: int) -> str:
    """The address of a checkpoint."""
    return f"/checkpoints/{quote(code, safe='')}:{step}:{quote(site or '', safe='')}:{number}"


def experiment_page(
    request: Request, seen: Seen, connection: Connection, template: str, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """One of an experiment's pages, in the frame they share: `head`, `tabs`, and beside `values` the ways to say roles and steps."""
    locale, tongue = seen.visitor.locale, language_of(request)
    tabs = [*TABS, MANAGE] if seen.access.is_manager else TABS
    head = summary(connection, seen.row, seen.plan, locale, seen.access)
    waits_for = seen.visitor.doors.clock.now() - seen.row["changed_at"]
    given: Mapping[str, Any] = {
        "head": head,
        "prefect_is_behind": seen.row["projected_seq"] < seen.row["seq"] and waits_for > PREFECT_MAY_TAKE,
        "site_options": [(one["code"], _called(one)) for one in head["sites"]],
        "tabs": [(address_of(seen.code, part), name) for part, name in tabs],
        "access": seen.access,
        "role_title": lambda role: role_title(seen, role),
        "step_title": lambda step: step_title(seen, step),
        "step_titles": [(name, step_title(seen, name)) for name in seen.plan.order],
        "address_of": lambda part="", **query: address_of(seen.code, part, **query),
        "pills": {name: _pill(tongue, name) for name in PILLS},
        "short": lambda value: short_day(tongue, value),
        "moment": lambda value: moment(tongue, value, seen.row["timezone"]),
    }
    return page(request, f"experiment/{template}", status=status, **{**given, **values})


@lru_cache(maxsize=4096)
def short_day(tongue: Language, value: date | str | None) -> str:
    """`5 Jan 2026`, kept: a page says the same few days over and over, and saying one costs more than a step's row."""
    return tongue.day(value, short=True)


@lru_cache(maxsize=4096)
def moment(tongue: Language, value: datetime | str | None, timezone: str) -> str:
    """A moment where it matters, kept as days are."""
    return tongue.moment(value, timezone)


@lru_cache(maxsize=64)
def _pill(tongue: Language, name: str) -> Markup:
    return Markup('<span class="status" data-status="{}">{}</span>').format(name, tongue.word(name))


def _called(site: Mapping[str, Any]) -> str:
    return str(site["code"] if site["name"] == site["code"] else f"{site['code']} – {site['name']}")


def role_title(seen: Seen, role: str) -> str:
    """What a role is called in the reader's language; its name where the protocol has none such."""
    known = seen.plan.role(role)
    return in_locale(known.title, seen.visitor.locale) if known else role


def step_title(seen: Seen, step: str) -> str:
    """What a step is called in the reader's language."""
    return in_locale(seen.plan.steps[step].step.title, seen.visitor.locale) if step in seen.plan.steps else step


def number(text: str) -> int | None:
    """A number from an address, None for anything else."""
    # No longer than what PostgreSQL counts in.
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else None
