"""What every page of an experiment shows: its name and state, and the ways to its other pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from insitu.entrance.language import N_
from insitu.entrance.page import page
from insitu.entrance.visitor import Seen
from protocols.model import in_locale
from sites.board import summary
from sites.checkpoints import CheckpointId

TABS = (
    ("", N_("Gates")),
    ("/timeline", N_("Timeline")),
    ("/people", N_("People")),
    ("/messages", N_("Messages")),
    ("/documents", N_("Documents")),
    ("/journal", N_("Journal")),
    ("/signatures", N_("Signatures")),
)
MANAGE = ("/manage", N_("Manage"))


def address_of(code: str, part: str = "", **query: Any) -> str:
    """The address of one of an experiment's pages; what is empty in the query is left out."""
    given = {name: value for name, value in query.items() if value not in ("", None, [], ())}
    return f"/experiments/{quote(code, safe='')}{part}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def checkpoint_address(code: str, step: str, site: str | None, number: int) -> str:
    """The address of a checkpoint."""
    return "/checkpoints/" + quote(str(CheckpointId(code, step, site or "", number)), safe=":")


def experiment_page(
    request: Request, seen: Seen, connection: Connection, template: str, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """One of an experiment's pages, in the frame they share: `head`, `tabs`, and beside `values` the ways to say roles and steps."""
    locale = seen.visitor.locale
    tabs = [*TABS, MANAGE] if seen.access.is_manager else TABS
    head = summary(connection, seen.row, seen.plan, locale, seen.access)
    given: Mapping[str, Any] = {
        "head": head,
        "site_options": [(one["code"], _called(one)) for one in head["sites"]],
        "tabs": [(address_of(seen.code, part), name) for part, name in tabs],
        "access": seen.access,
        "role_title": lambda role: role_title(seen, role),
        "step_title": lambda step: step_title(seen, step),
        "step_titles": [(name, step_title(seen, name)) for name in seen.plan.order],
        "address_of": lambda part="", **query: address_of(seen.code, part, **query),
        "timezone": seen.row["timezone"],
    }
    return page(request, f"experiment/{template}", status=status, **{**given, **values})


def _called(site: Mapping[str, Any]) -> str:
    return str(site["code"] if site["name"] == site["code"] else f"{site['code']} – {site['name']}")


def role_title(seen: Seen, role: str) -> str:
    """What a role is called in the reader's language; its name where the protocol has none such."""
    known = seen.plan.role(role)
    return in_locale(known.title, seen.visitor.locale) if known else role


def step_title(seen: Seen, step: str) -> str:
    """What a step is called in the reader's language."""
    return in_locale(seen.plan.steps[step].step.title, seen.visitor.locale) if step in seen.plan.steps else step
