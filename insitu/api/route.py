"""How every request of the API is read: who sends it is known and its size and text are checked before anything else looks at it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from insitu.entrance.guard import require_own_page
from insitu.entrance.visitor import anyone, signed_in, watching
from protocols.phrase import Phrase
from protocols.strict_json import NotJson, look_into

PREFIX = "/api/v1"
LONGEST_JSON = 1024 * 1024


class Incoming(Request):
    """A request whose body is read no further than `longest` bytes."""

    longest = LONGEST_JSON

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body piece by piece. Raises HTTPException 413 as soon as it is longer than it may be."""
        told = self.headers.get("content-length", "")
        if told.isdecimal() and int(told) > self.longest:
            raise _too_large(self.longest)
        size = 0
        async for piece in super().stream():
            size += len(piece)
            if size > self.longest:
                raise _too_large(self.longest)
            yield piece

    async def take_json(self) -> None:
        """Read the body as strict JSON, for the framework to find. Raises HTTPException 400, 413 or 415."""
        body = await self.body()
        if not body:
            return
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not (media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))):
            raise HTTPException(415, Phrase("Send JSON, with the header Content-Type: application/json."))
        self._json = _decoded(body)


class Route(APIRoute):
    """A request of the API. Unless it is open, somebody is signed in, by a token or from a page of ours, before anything is read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **(options | {"response_model_exclude_unset": True}))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, takes_json = super().get_route_handler(), self.body_field is not None
        known = _parameters(self.dependant)
        is_open = any(one.call in (anyone, watching) for one in self.dependant.dependencies)

        async def guarded(request: Request) -> Response:
            incoming = Incoming(request.scope, request.receive)
            if not is_open:
                await run_in_threadpool(_check_sender, incoming)
            _check_address(incoming, known)
            if takes_json:
                await incoming.take_json()
            return await handle(incoming)

        return guarded


def _parameters(dependant: Dependant) -> list[str]:
    own = [one.alias for one in dependant.query_params]
    return own + [name for inner in dependant.dependencies for name in _parameters(inner)]


def noun(tag: str) -> APIRouter:
    """A router for one noun of the API."""
    return APIRouter(prefix=PREFIX, tags=[tag], route_class=Route)


def _check_sender(request: Request) -> None:
    signed_in(request)
    require_own_page(request)


def _check_address(request: Request, known: list[str]) -> None:
    """A parameter nobody reads is refused: a filter with a slip in its name would silently let everything through."""
    given = dict.fromkeys(request.query_params)
    bad = [_error(name, "unknown_parameter", known=", ".join(known) or "–") for name in given if name not in known]
    if bad:
        raise RequestValidationError(bad)


def _error(name: str, kind: str, **context: str) -> dict[str, Any]:
    return {"type": kind, "loc": ("query", name), "msg": kind, "input": None, "ctx": context}


def _decoded(body: bytes) -> Any:
    """A JSON text that any database keeps. Raises HTTPException 400, RequestValidationError for null characters with their paths."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, Phrase("The body is not JSON: {why}.", why=str(error))) from None
    try:
        look_into(body.decode(), found)
    except NotJson as error:
        raise HTTPException(400, Phrase("The body cannot be read: {why}.", why=error.args[0])) from None
    bad = []
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), found)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, name), inner) for name, inner in value.items()]
            bad += [path for name in value if "\x00" in name]
        elif isinstance(value, list):
            waiting += [((*path, number), inner) for number, inner in enumerate(value)]
        elif isinstance(value, str) and "\x00" in value:
            bad.append(path)
    if bad:
        raise RequestValidationError([_error("", "null_character") | {"loc": ("body", *path)} for path in sorted(bad, key=str)])
    return found


def _too_large(longest: int) -> HTTPException:
    return HTTPException(413, Phrase("At most {most} kB are read here.", most=longest // 1024))
