"""The access journal: who came in, was let in or turned away, and changed which right; for project managers of everything."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import language_of
from insitu.entrance.visitor import GlobalManager, Visitor
from insitu.web.admin.frame import address, admin_page, filters
from insitu.web.admin.words import KINDS
from sites import names
from sites.identity.access import entries, verify

router = APIRouter()

PATH = "/admin/access/journal"
SIZE = 50


@router.get("/admin/access/journal")
def journal(request: Request, visitor: GlobalManager) -> Response:
    """The entries, newest first, a page at a time."""
    return _page(request, visitor, None)


@router.post("/admin/access/journal")
def verify_journal(request: Request, visitor: GlobalManager, form: Posted) -> Response:
    """Recompute the chain of hashes, and say whether anything was changed, lost or added. It changes nothing."""
    return _page(request, visitor, verify(visitor.doors.database))


def _page(request: Request, visitor: Visitor, verified: dict[str, Any] | None) -> Response:
    chosen, tongue, database = filters(request, ("person", "kind", "before")), language_of(request), visitor.doors.database
    before = int(chosen["before"]) if chosen["before"].isascii() and chosen["before"].isdecimal() and len(chosen["before"]) < 10 else None
    found = entries(database, person=chosen["person"] or None, kind=chosen["kind"] or None, before=before, limit=SIZE + 1)
    shown, narrowed = found[:SIZE], {name: chosen[name] for name in ("person", "kind")}
    with database.read() as connection:
        known = names.names(connection, [one[about] for one in shown for about in ("person", "by")])
    return admin_page(
        request,
        visitor,
        "journal.html",
        found=shown,
        filters=chosen,
        kinds=KINDS,
        choices=[("", tongue(N_("All"))), *sorted(((kind, tongue(words)) for kind, words in KINDS.items()), key=lambda pair: pair[1])],
        names=known,
        verified=verified,
        plain=_plain,
        earlier=address(PATH, narrowed) if before else "",
        later=address(PATH, narrowed, before=shown[-1]["seq"]) if len(found) > SIZE else "",
    )


def _plain(value: Any) -> str:
    """A detail as text: what is not one is shown as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
