"""What becomes of an error that a user can meet: a page that says what to do next, or a problem document (RFC 9457) for the API."""

from __future__ import annotations

import logging
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
from insitu.entrance.sender import address_of as address_of
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
    app.add_exception_handler(InsituError, _refuse)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _refuse_by_status)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _refuse_shape)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _apologise)


def is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def problem(request: Request, status: int, kind: str, title: str, detail: str, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    """A problem document, RFC 9457; `kind` names the error for programs."""
    body = {"type": f"urn:insitu:problem:{kind}", "title": title, "status": status, "detail": detail, "errors": errors or []}
    headers = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "600"}, 503: {"retry-after": "5"}}.get(status, {})
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _refuse(request: Request, error: InsituError) -> Response:
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
