"""What the two logs, of delegations and of trainings, have in common: evidence, the signature, the end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import FormData, UploadFile

from insitu.entrance.language import N_, Language
from insitu.entrance.page import go_to, language_of
from insitu.entrance.proof import proof_of
from insitu.entrance.visitor import Visitor
from insitu.web.admin.frame import complaints, day, typed
from insitu.web.experiment.documents import saved
from protocols.errors import InvalidInput, NotAssigned, Refused, UnknownThing
from protocols.phrase import Phrase
from sites import files
from sites.evidence import OF_RECORD
from sites.signing import Prove

PAGE = 50
RECORDED = N_("The record was kept. It counts once it is signed.")
SIGNED = N_("The record was signed: it counts from its first day.")
ENDED = N_("The end was noted.")

Again = Callable[[dict[str, str], list[tuple[str, str]]], Response]


def evidence_of(visitor: Visitor, form: FormData) -> str:
    """The hash of the file sent with a record, once it is kept; "" without one. Raises InvalidInput."""
    sent = form.get("evidence")
    if not isinstance(sent, UploadFile) or not sent.filename:
        return ""
    content = sent.file.read(int((OF_RECORD.max_mb or 0) * 1024 * 1024) + 1)
    kept: str = files.store(visitor.doors.ledger, OF_RECORD, sent.filename, content, by=visitor.person)["hash"]
    return kept


def evidence(visitor: Visitor, record: dict[str, Any]) -> Response:
    """The file kept with a record that the visitor sees. Raises UnknownThing."""
    if not record["evidence"]:
        raise UnknownThing(Phrase("There is no such document here that you may read."))
    found = visitor.doors.ledger.document(record["evidence"])
    return saved(found["name"], found["media_type"], found["content"])


def sign(
    request: Request,
    visitor: Visitor,
    form: FormData,
    again: Again,
    signing: Callable[[Prove, str | None], str],
    address: str,
) -> Response:
    """Sign a record, by what it meant as it was shown, once the visitor has proved that it is them; else the page again that says why."""
    try:
        signing(proof_of(request, visitor, form, to="sign a record"), str(form.get("meaning", "")) or None)
    except (NotAssigned, UnknownThing):
        raise
    except (Refused, InvalidInput) as error:
        return again({}, complaints(error, language_of(request), "password"))
    return go_to(request, address, SIGNED)


def end(request: Request, form: FormData, again: Again, ending: Callable[[date, str], None], address: str) -> Response:
    """End a record from a day on, for a reason; the page again with what it was refused for."""
    given = typed(form, ("on", "why"))
    try:
        on = day(given["on"], required=True)
        assert on is not None
        ending(on, given["why"])
    except NotAssigned:
        raise
    except (InvalidInput, Refused) as error:
        field = "why" if not given["why"].strip() else "on"
        return again(given, complaints(error, language_of(request), field))
    return go_to(request, address, ENDED)


def period(tongue: Language, record: dict[str, Any]) -> str:
    """The days of a record, in words."""
    begins, ends = tongue.day(record["from"]), tongue.day(record["until"])
    return tongue(N_("from {begins} to {ends}"), begins=begins, ends=ends) if ends else tongue(N_("from {begins} on"), begins=begins)
