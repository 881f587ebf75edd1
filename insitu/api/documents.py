"""Documents and signatures of an experiment, and the files that answer file fields."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from insitu.api.answers import Responses, reads, writes
from insitu.api.idempotency import Once
from insitu.api.route import Incoming, noun
from insitu.api.shapes.documents import Document, Signed, StoredFile
from insitu.entrance.visitor import SeenCheckpoint, SeesCheckpoint, SeesExperiment
from protocols import clocks
from protocols.context import place_of
from protocols.phrase import Phrase
from sites import files, policy
from sites.documents import content, documents
from sites.signatures import signatures
from sites.snapshot import find, load

router = noun("files")

BESIDE_THE_FILE = 64 * 1024  # a multipart body's own lines
# Whatever a file turns out to be, a browser that opens it runs nothing of it.
SHUT = "default-src 'none'; sandbox; frame-ancestors 'none'"
BYTES: Responses = {200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "The file."}}
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {"file": {"type": "string", "format": "binary", "description": "The file, with its name."}},
                },
                "example": {"file": "%PDF-1.7 …"},
            }
        },
    }
}


@router.get("/experiments/{code}/documents", response_model=list[Document], responses=reads(404), operation_id="listDocuments")
def list_documents(seen: SeesExperiment) -> Any:
    """List an experiment's documents

    What was rendered and what was attached, in the protocol's order, as far as the caller may read the steps they belong to.
    """
    with seen.visitor.doors.database.read() as connection:
        return documents(connection, seen.row, seen.plan, seen.access)


@router.get("/experiments/{code}/documents/{hash}", response_class=Response, responses=reads(404) | BYTES, operation_id="downloadDocument")
def download(
    hash: Annotated[str, Path(max_length=64, description="The document's hash.", examples=["9f86d081884c7d65…"])],
    seen: SeesExperiment,
) -> Response:
    """Download a document

    One of those the list shows to the caller, with its own media type and name.
    """
    with seen.visitor.doors.database.read() as connection:
        name, media_type, found = content(connection, seen.row, seen.plan, seen.access, hash)
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}", "content-security-policy": SHUT}
    return Response(found, media_type=media_type, headers=headers)


@router.get("/experiments/{code}/signatures", response_model=list[Signed], responses=reads(404), operation_id="listSignatures")
def list_signatures(seen: SeesExperiment) -> Any:
    """List an experiment's signatures

    Oldest first: who, in which role, when, meaning what, on which answers, and whether it still counts.
    """
    return [asdict(one) for one in signatures(seen.visitor.doors.database, seen.code, seen.access)]


@router.post("/files", status_code=201, response_model=StoredFile, responses=writes(201), openapi_extra=UPLOAD, operation_id="storeFile")
async def store(
    field: Annotated[str, Query(max_length=200, description="The file field it answers; of a table, `table.column`.", examples=["letter"])],
    seen: SeesCheckpoint,
    request: Request,
    once: Once,
) -> Any:
    """Store a file

    For a file field of a checkpoint that the caller may answer; what is given back is the field's answer, which the caller alone may send.
    Its size and, by its content, its type must be what the field accepts. The same content is kept once, so a repeat does no harm, with or
    without a key.
    """
    wanted = files.file_field(seen.plan, seen.name.step, field)
    await run_in_threadpool(_require_part, seen)
    incoming = cast(Incoming, request)
    incoming.longest = int((wanted.max_mb or files.LARGEST_MB) * 1024 * 1024) + BESIDE_THE_FILE
    async with request.form(max_files=1, max_fields=0) as form:
        sent = form.get("file")
        if not isinstance(sent, UploadFile):
            raise HTTPException(415, Phrase("Send the file as the part `file` of multipart/form-data."))
        given, kind = await sent.read(), sent.content_type or ""
        keep = partial(files.store, seen.visitor.doors.ledger, wanted, sent.filename or "", given, kind, by=seen.visitor.person)
        return await run_in_threadpool(keep)


def _require_part(seen: SeenCheckpoint) -> None:
    """Let whoever may answer the checkpoint store a file for it. Raises NotAssigned, InConflict, NotQualified."""
    asked = seen.plan.steps[seen.name.step].step.checkpoint
    role, doors = (asked.role if asked else policy.MANAGER), seen.visitor.doors
    to = Phrase("attach a file to {checkpoint}", checkpoint=str(seen.name))
    with doors.database.read() as connection:
        loaded = load(connection, find(connection, seen.code, site=seen.name.site), seen.name.key)
        on = clocks.local_date(doors.clock.now(), place_of(loaded.state, seen.name.site)[0])
        policy.require(connection, seen.visitor.person, role, site=seen.name.site, experiment=seen.code, on=on, to=to, plan=seen.plan)
