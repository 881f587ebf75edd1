"""The addresses of every page, read off the application's routes, each seen by whoever it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute
from two_sites import FOREIGN, TwoSites

from insitu import web

# Pages that are no pages: what they answer is a file, a calendar, or another address.
NOT_PAGES = re.compile(r"\.(ics|pdf|csv|json|yaml)$|/static/|/provider|/files/|/documents/\{|/export|/download|/source$|/qr")


def routes(listed: Any) -> Iterator[APIRoute]:
    """The routes of a list, and those of the routers within it."""
    for one in listed:
        if isinstance(one, APIRoute):
            yield one
        elif inner := getattr(one, "original_router", None):
            yield from routes(inner.routes)


def page_paths() -> list[str]:
    """The path of every page, with its blanks."""
    found = [route for router in web.ROUTERS for route in routes(router.routes) if "GET" in route.methods]
    return sorted({route.path for route in found if not NOT_PAGES.search(route.path)})


def blanks(house: TwoSites) -> dict[str, str]:
    """What stands in a page's blanks; a new name needs a value here."""
    return {
        "code": house.shared,
        "checkpoint": f"{house.shared}:setup:CAEN:1",
        "person": "nurse",
        "site": "CAEN",
        "protocol": "two-sites",
        "version": "1.0.0",
        "token": "forged",
        "number": "1",
    }


def filled(path: str, house: TwoSites) -> str:
    """A page's address with its blanks filled in."""
    return re.sub(r"{(\w+)[^}]*}", lambda found: blanks(house)[found[1]], path)


# Further looks at the same pages: states that only some experiments, people or forms have.
FURTHER = (
    "/checkpoints/{shared}:review::1",
    "/checkpoints/{shared}:setup:" + FOREIGN + ":1",
    "/experiments/{foreign}",
    "/experiments?state=running&q=two",
    "/nowhere",
)


def further(house: TwoSites) -> list[str]:
    return [one.format(shared=house.shared, foreign=house.foreign) for one in FURTHER]
