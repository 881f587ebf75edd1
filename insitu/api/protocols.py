"""Released protocols."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Response
from pydantic import ConfigDict, Field

from insitu.api.answers import PAGED, reads, writes
from insitu.api.idempotency import Once
from insitu.api.paging import Paged
from insitu.api.route import PREFIX, noun
from insitu.api.shapes.common import Body, Moment, Shown
from insitu.entrance.visitor import GlobalManager, SignedIn
from protocols.model import in_locale
from sites import releases
from sites.inbox import iso
from sites.library import find_readable, readable

router = noun("protocols")

HASH = "0f343b0931126a20f133d67c2b018a3b4b1ee7a1d3c8b8b2b2a0a5c6e0a6a3f1"
SUMMARY: dict[str, Any] = {
    "id": "telerehab-hip",
    "version": "1.0.0",
    "hash": HASH,
    "title": "Home rehabilitation after a hip replacement",
    "added_at": "2026-03-01T08:00:00Z",
}


class Release(Shown):
    """A released protocol; `hash` is the SHA-256 of its canonical form."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUMMARY]})

    id: str
    version: str
    hash: str
    title: str
    added_at: Moment


class Protocol(Release):
    """A released protocol with its content: the document's keys as the reference of the format tells them."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUMMARY | {"content": {"insitu": 1, "id": "telerehab-hip"}}]})

    content: dict[str, Any]


class NewProtocol(Body):
    """A protocol to release."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "insitu: 1\nid: my-protocol\nversion: 1.0.0\n…"}]})

    source: str = Field(min_length=1, description="The YAML text, whole.")


class Released(Shown):
    """What was released."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "my-protocol", "version": "1.0.0", "hash": HASH}]})

    id: str
    version: str
    hash: str


@router.get("/protocols", response_model=list[Release], responses=reads(headers=PAGED), operation_id="listProtocols")
def protocols(visitor: SignedIn, paged: Paged) -> Any:
    """List the released protocols

    By id, then version. Whoever holds no role, or a sponsor's only, reads those of the experiments they see.
    """
    found = readable(visitor.doors.database, visitor.reader)
    paged.tell(len(found))
    return [_summary(row, visitor.locale) for row in found[(paged.page - 1) * paged.size : paged.page * paged.size]]


@router.get("/protocols/{id}/{version}", response_model=Protocol, responses=reads(404), operation_id="getProtocol")
def protocol(
    id: Annotated[str, Path(max_length=64, description="The protocol's id.", examples=["telerehab-hip"])],
    version: Annotated[str, Path(max_length=64, description="Its version.", examples=["1.0.0"])],
    visitor: SignedIn,
) -> Any:
    """Show a released protocol

    Its canonical form, which the hash is of.
    """
    row = find_readable(visitor.doors.database, visitor.reader, id, version)
    return _summary(row, visitor.locale) | {"content": json.loads(row["content"])}


def _summary(row: Mapping[str, Any], locale: str) -> dict[str, Any]:
    title = in_locale(json.loads(row["content"])["title"], locale)
    return {name: row[name] for name in ("id", "version", "hash")} | {"title": title, "added_at": iso(row["added_at"])}


@router.post("/protocols", status_code=201, response_model=Released, responses=writes(201), operation_id="releaseProtocol")
def release(body: NewProtocol, visitor: GlobalManager, once: Once, response: Response) -> Any:
    """Release a protocol

    From then on it never changes. The same content again changes nothing, with or without a key; a released version with other content is
    refused (409). `errors` names every problem with its line (422).
    """
    doors = visitor.doors

    def add() -> dict[str, Any]:
        return releases.add(doors.database, body.source, doors.clock, "protocol.yaml")

    found = once.once({"release": body.source}, add)
    response.headers["Location"] = f"{PREFIX}/protocols/{found['id']}/{found['version']}"
    return found
