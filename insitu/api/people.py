"""People: whoever asks, and those they work with."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from insitu.api.answers import PAGED, reads
from insitu.api.paging import Paged
from insitu.api.route import noun
from insitu.api.shapes.registry import Me, Person
from insitu.entrance.visitor import SignedIn
from protocols.clocks import Place
from sites.colleagues import colleagues

router = noun("people")


@router.get("/me", response_model=Me, responses=reads(), operation_id="getMe")
def me(visitor: SignedIn) -> Any:
    """Show who is asking

    And the roles they hold today.
    """
    held = visitor.reader.in_force_at(Place())
    roles = [{"role": one.role, "site": one.site or None, "experiment": one.experiment or None, "of": one.of} for one in held]
    own = {"id": visitor.person, "name": visitor.name, "locale": visitor.locale, "method": visitor.method}
    return own | {"may_write": visitor.may_write, "roles": roles}


@router.get(
    "/people",
    response_model=list[Person],
    responses=reads(headers=PAGED),
    operation_id="listPeople",
)
def people(
    visitor: SignedIn,
    paged: Paged,
    q: Annotated[str, Query(max_length=200, description="Only with this text in the id or the name.", examples=["martin"])] = "",
    site: Annotated[str, Query(max_length=64, description="Only who holds a role at this very site.", examples=["CAEN"])] = "",
    role: Annotated[str, Query(max_length=64, description="Only who holds this role.", examples=["site_coordinator"])] = "",
) -> Any:
    """List the people one works with

    By id: those who hold a role today in the experiments and at the sites the caller sees. Project managers of everything see everybody,
    a sponsor only themselves.
    """
    found = colleagues(visitor.doors.database, visitor.reader, q=q, site=site, role=role, page=paged.page, size=paged.size)
    paged.tell(found["total"])
    return found["items"]
