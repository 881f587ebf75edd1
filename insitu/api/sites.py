"""Sites, as far as the caller sees them."""

from __future__ import annotations

from typing import Any

from insitu.api.answers import PAGED, reads
from insitu.api.paging import Paged
from insitu.api.route import noun
from insitu.api.shapes.registry import Site
from insitu.entrance.visitor import SignedIn
from sites.colleagues import seen_sites

router = noun("sites")


@router.get("/sites", response_model=list[Site], responses=reads(headers=PAGED), operation_id="listSites")
def sites(visitor: SignedIn, paged: Paged) -> Any:
    """List the sites

    Those of the experiments the caller sees, by code; project managers of everything see all.
    """
    found = seen_sites(visitor.doors.database, visitor.reader)
    paged.tell(len(found))
    return found[(paged.page - 1) * paged.size : paged.page * paged.size]
