"""The sites: listed to managers, changed by those of everything."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_, WORDS
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import GlobalManager, SomeManager, Visitor
from insitu.web.admin.frame import admin_page, complaints, typed
from protocols.errors import InvalidImport, UnknownThing
from protocols.phrase import Phrase
from sites import registry
from sites.database import table
from sites.policy.administering import seen_sites
from sites.tables import Site

router = APIRouter()

_SITE = table(Site)
NAMES = ("code", "name", "kind", "territory", "timezone")
KINDS = ("public_hospital", "private_clinic", "nursing_home", "town_practice", "home_care", "other")
BLANK = {"code": "", "name": "", "kind": "", "territory": "FR", "timezone": "Europe/Paris"}


@router.get("/admin/sites")
def sites(request: Request, visitor: SomeManager) -> Response:
    """The sites of what one manages, by code."""
    with visitor.doors.database.read() as connection:
        query = select(_SITE).where(seen_sites(visitor.reader)).order_by(_SITE.c.code)
        found = [dict(row) for row in connection.execute(query).mappings()]
    return admin_page(request, visitor, "sites.html", sites=found, known=WORDS)


@router.get("/admin/new-site")
def new_site(request: Request, visitor: GlobalManager) -> Response:
    """An empty form."""
    return _form(request, visitor, BLANK, new=True)


@router.post("/admin/new-site")
def add_site(request: Request, visitor: GlobalManager, form: Posted) -> Response:
    """Add a site."""
    return _save(request, visitor, typed(form, NAMES), new=True)


@router.get("/admin/sites/{site}")
def edit_site(request: Request, visitor: GlobalManager, site: str) -> Response:
    """One site's form, its code fixed."""
    return _form(request, visitor, _one(visitor, site), new=False)


@router.post("/admin/sites/{site}")
def change_site(request: Request, visitor: GlobalManager, site: str, form: Posted) -> Response:
    """Change a site; experiments under way keep it as it was at their launch."""
    _one(visitor, site)
    return _save(request, visitor, typed(form, NAMES) | {"code": site}, new=False)


def _one(visitor: Visitor, code: str) -> dict[str, str]:
    with visitor.doors.database.read() as connection:
        row = connection.execute(select(_SITE).where(_SITE.c.code == code)).mappings().first()
    if row is None:
        raise UnknownThing(Phrase("There is no {code} here that you may see.", code=code))
    return dict(row)


def _save(request: Request, visitor: Visitor, given: dict[str, str], *, new: bool) -> Response:
    values = {name: value.strip() for name, value in given.items()}
    try:
        registry.save_site(visitor.doors.database, visitor.doors.clock, values, by=visitor.person, new=new)
    except InvalidImport as error:
        return _form(request, visitor, given, new=new, errors=complaints(error, language_of(request), "code"))
    return go_to(request, "/admin/sites", N_("The site was added.") if new else N_("The site was changed."))


def _form(request: Request, visitor: Visitor, given: dict[str, str], *, new: bool, errors: list[tuple[str, str]] | None = None) -> Response:
    tongue = language_of(request)
    kinds = KINDS if given["kind"] in ("", *KINDS) else (*KINDS, given["kind"])
    options = [("", tongue(N_("Choose"))), *((kind, tongue.word(kind)) for kind in kinds)]
    status = 422 if errors else 200
    return admin_page(request, visitor, "site.html", status=status, typed=given, new=new, errors=errors or [], kinds=options)
