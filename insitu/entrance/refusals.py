"""What becomes of an error that a user can meet: a page that says what to do next, or a problem document (RFC 9457) for the API."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from insitu.entrance.complaints import complaint
from insitu.entrance.doors import doors_of
from insitu.entrance.guard import NotOurForm
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of, page
from insitu.entrance.sender import address_of
from insitu.entrance.visitor import SAFE, NotSignedIn, ReadOnlyToken, UnknownToken, visitor_of
from protocols.errors import (
    DatabaseUnavailable,
    InConflict,
    InsituError,
    InvalidAnswers,
    InvalidImport,
    InvalidInput,
    InvalidProtocol,
    NotAssigned,
    NotProven,
    NotQualified,
    Refused,
    TooOften,
    UnknownThing,
    details,
)
from protocols.phrase import Phrase
from sites.identity.access import AccessKind, note
from sites.identity.limits import Door

log = logging.getLogger("insitu.doors")

RETRY_AFTER_S = "5"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# The first that fits: what is more special stands before what is less.
STATUSES: tuple[tuple[type[InsituError], int, str], ...] = (
    (NotSignedIn, 401, N_("Sign in first")),
    (NotOurForm, 403, N_("This form is not from your present session")),
    (ReadOnlyToken, 403, N_("This token may only read")),
    (NotProven, 403, N_("You have not proved who you are")),
    (TooOften, 429, N_("Too many tries")),
    (NotAssigned, 403, N_("This is not yours to do")),
    (InConflict, 403, N_("A conflict of interest is declared")),
    (NotQualified, 403, N_("A delegation or a training is missing")),
    (UnknownThing, 404, N_("There is nothing here for you")),
    (InvalidAnswers, 422, N_("Some answers cannot be accepted")),
    (InvalidProtocol, 422, N_("The protocol cannot be accepted")),
    (InvalidImport, 422, N_("The file cannot be accepted")),
    (InvalidInput, 422, N_("What was given cannot be used")),
    (Refused, 409, N_("This cannot be done now")),
    (DatabaseUnavailable, 503, N_("The ledger does not answer")),
    (InsituError, 500, N_("Something went wrong")),
)
# Statuses that no error of ours stands behind: what programs and people call them.
KNOWN: dict[int, tuple[str, str]] = {
    404: ("UnknownThing", N_("There is nothing here for you")),
    405: ("MethodNotAllowed", N_("That cannot be done here")),
    413: ("TooLarge", N_("That is too much at once")),
    415: ("UnsupportedMediaType", N_("The content cannot be read as what it is said to be")),
}


def status_of(error: InsituError) -> int:
    """The HTTP status of an error."""
    return next(status for kind, status, _ in STATUSES if isinstance(error, kind))


def title_of(error: InsituError) -> str:
    """What happened, in three words: a sentence for the catalogues."""
    return next(title for kind, _, title in STATUSES if isinstance(error, kind))


def add_to(app: FastAPI) -> None:
    """Let the application answer errors in insitu's words."""
    handlers: dict[type[Exception], Callable[[Request, Any], Response]] = {
        InsituError: _refuse,
        HTTPException: _refuse_by_status,
        RequestValidationError: _refuse_shape,
        OSError: _refuse_full_disk,
        Exception: _apologise,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, _even_without_ledger(handler))


def _even_without_ledger(handler: Callable[[Request, Any], Response]) -> Callable[[Request, Any], Response]:
    """The handler, whose own looks into the ledger (for the language, to journal a refusal) may fail like any other."""

    @wraps(handler)
    def answered(request: Request, error: Any) -> Response:
        try:
            return handler(request, error)
        except DatabaseUnavailable as away:
            return _say_unavailable(request, away)

    return answered


def _say_unavailable(request: Request, error: DatabaseUnavailable) -> Response:
    """503, with what is known of whoever asks so far and in the browser's language: the ledger is not asked again."""
    for known in ("session", "visitor"):
        if not hasattr(request.state, known):
            setattr(request.state, known, None)
    tongue = language_of(request)
    title, message = tongue(title_of(error)), tongue.text(error.args[0])
    if is_api(request):
        return problem(request, 503, type(error).__name__, title, message)
    answer = page(request, "refusal.html", status=503, title=title, message=message, errors=[])
    answer.headers["retry-after"] = RETRY_AFTER_S
    return answer


def is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def problem(request: Request, status: int, kind: str, title: str, detail: str, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    """A problem document, RFC 9457; `kind` names the error for programs."""
    body = {"type": f"urn:insitu:problem:{kind}", "title": title, "status": status, "detail": detail, "errors": errors or []}
    headers = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "600"}, 503: {"retry-after": RETRY_AFTER_S}}.get(status, {})
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _refuse(request: Request, error: InsituError) -> Response:
    if isinstance(error, DatabaseUnavailable):
        return _say_unavailable(request, error)
    status, tongue = status_of(error), language_of(request)
    if isinstance(error, (NotOurForm, ReadOnlyToken, UnknownToken)):
        refused(request, type(error).__name__)
    message = error.args[0] if error.args else str(error)
    if is_api(request):
        errors = [one | {"message": tongue.text(one["message"])} for one in details(error)]
        return problem(request, status, type(error).__name__, tongue(title_of(error)), tongue.text(message), errors)
    if isinstance(error, NotSignedIn) and request.method in SAFE:
        return go_to(request, f"/sign-in?to={quote(_path(request), safe='')}")
    return page(request, "refusal.html", status=status, title=tongue(title_of(error)), message=tongue.text(message), errors=details(error))


def refused(request: Request, what: str, **data: Any) -> None:
    """Journal a forged, expired or replayed link, token or form: so many an hour as tell of an attack, and no more than a disk can keep."""
    doors, visitor, address = doors_of(request), visitor_of(request), address_of(request)
    if not (doors.limits.count(Door.REFUSAL, address) and doors.limits.count(Door.REFUSALS, "")):
        log.warning("%s from %s is refused, and not journaled: there were too many", what, address)
        return
    with doors.database.write() as connection:
        by = visitor.person if visitor else ""
        path = request.url.path[:100] if "token" not in request.path_params else request.url.path.split("/")[1]
        note(connection, AccessKind.REQUEST_REFUSED, doors.clock.now(), by=by, address=address, what=what, path=path, **data)


def _path(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _refuse_by_status(request: Request, error: HTTPException) -> Response:
    tongue = language_of(request)
    kind, known = KNOWN.get(error.status_code, ("BadRequest", N_("The request cannot be used")))
    title = tongue(known)
    if is_api(request):
        # What the framework says by itself is the status in English; the title says that already.
        detail = tongue.text(error.detail) if isinstance(error.detail, Phrase) else title
        answer: Response = problem(request, error.status_code, kind, title, detail)
    else:
        answer = page(request, "refusal.html", status=error.status_code, title=title, message="", errors=[])
    answer.headers.update(error.headers or {})
    return answer


def _refuse_shape(request: Request, error: RequestValidationError) -> Response:
    tongue = language_of(request)
    errors = [{"path": ".".join(map(str, one["loc"][1:])), "message": tongue.text(complaint(one))} for one in error.errors()]
    title = tongue(N_("What was given cannot be used"))
    if is_api(request):
        return problem(request, 422, "InvalidInput", title, "; ".join(f"{one['path']}: {one['message']}" for one in errors), errors)
    return page(request, "refusal.html", status=422, title=title, message="", errors=errors)


def _refuse_full_disk(request: Request, error: OSError) -> Response:
    """What is uploaded waits on the disk until it is read, and a full one takes no more: it is said so. Raises any other error."""
    if error.errno not in NO_ROOM:
        raise error
    log.error("%s %s failed: %s", request.method, request.url.path, error)
    return _say_unavailable(
        request, DatabaseUnavailable(Phrase("The disk of this installation is full or read-only. Free some space and try again."))
    )


def _apologise(request: Request, error: Exception) -> Response:
    if isinstance(error, (MultiPartException, UnicodeError)):
        return _refuse_by_status(request, HTTPException(400, str(error)))
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    tongue = language_of(request)
    title, detail = (
        tongue(N_("Something went wrong")),
        tongue(N_("It is noted in insitu's log. Nothing you sent was half done; try again.")),
    )
    if is_api(request):
        return problem(request, 500, "Unexpected", title, detail)
    return page(request, "refusal.html", status=500, title=title, message=detail, errors=[])
