"""Long lists, page by page: `page` and `size` asked for, `Link` and `X-Total-Count` told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request, Response

MOST_PAGES = 100_000
Page = Annotated[int, Query(ge=1, le=MOST_PAGES, description="Which page, the first being 1.", examples=[1])]
Size = Annotated[int, Query(ge=1, le=200, description="How many entries a page holds.", examples=[50])]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of which size is asked for."""

    request: Request
    response: Response
    page: int
    size: int

    def tell(self, total: int) -> None:
        """Say in the answer's headers how many entries there are in all, and where the pages beside this one are."""
        self.response.headers["X-Total-Count"] = str(total)
        ways = {"prev": self.page - 1, "next": self.page + 1}
        there = {name: page for name, page in ways.items() if 1 <= page <= -(-total // self.size)}
        link(self.request, self.response, {name: {"page": page} for name, page in there.items()})


def link(request: Request, response: Response, ways: dict[str, dict[str, int]]) -> None:
    """The `Link` header (RFC 8288): by relation, the present address, without the host, with some parameters changed."""
    addresses = {name: request.url.include_query_params(**changed) for name, changed in ways.items()}
    shown = [f'<{address.path}?{address.query}>; rel="{name}"' for name, address in addresses.items()]
    if shown:
        response.headers["Link"] = ", ".join(shown)


def paging(request: Request, response: Response, page: Page = 1, size: Size = 50) -> Paging:
    """The page asked for."""
    return Paging(request, response, page, size)


Paged = Annotated[Paging, Depends(paging)]
