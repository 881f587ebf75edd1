"""Arriving and leaving: the cookie of a session, and what a browser keeps for us on its way in."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from fastapi import Request, Response

from insitu.entrance.doors import doors_of
from insitu.entrance.guard import BEFORE_SIGN_IN
from insitu.entrance.page import go_to, own_address
from insitu.entrance.sender import address_of, is_secure
from insitu.entrance.visitor import COOKIE, session_of
from sites.identity.keys import Key
from sites.identity.sessions import end_sessions, open_session


def let_in(
    request: Request, person: str, to: str, *, method: str, proven_at: datetime | None = None, subject: str = "", leaving: str = ""
) -> Response:
    """Begin a session of a person who has proved who they are, and lead them on to a path of ours.

    The cookie is always a new one, so that nobody can have known it before; what session the browser had is ended. For the rest, see
    `open_session`; what is kept for `leaving` is sealed here. Raises NotProven for a subject that was unlinked meanwhile.
    """
    doors, before = doors_of(request), session_of(request)
    now, agent = doors.clock.now(), request.headers.get("user-agent", "")
    with doors.database.write() as connection:
        if before:
            end_sessions(connection, before.person, now, by=before.person, only=before.id)
        cookie = open_session(
            connection,
            person,
            now,
            method=method,
            address=address_of(request),
            agent=agent,
            proven_at=proven_at,
            subject=subject,
            leaving=doors.key.seal(leaving) if leaving else "",
        )
    answer = go_to(request, own_address(to))
    # Without a domain, for the whole path, gone when the browser closes: what `__Host-` asks for, and http on one machine can give.
    answer.set_cookie(COOKIE, cookie, path="/", httponly=True, samesite="lax", secure=is_secure(request))
    answer.delete_cookie(BEFORE_SIGN_IN)
    return answer


def end_here(request: Request) -> None:
    """End the browser's session, if it has one: what is answered is for nobody."""
    session, doors = session_of(request), doors_of(request)
    if session:
        with doors.database.write() as connection:
            end_sessions(connection, session.person, doors.clock.now(), by=session.person, only=session.id)
    request.state.session = request.state.visitor = None


def let_out(request: Request, answer: Response) -> Response:
    """End the browser's session, if it has one, and let the browser forget it."""
    end_here(request)
    answer.delete_cookie(COOKIE)
    return answer


def keep(request: Request, answer: Response, name: str, values: dict[str, Any], lasts: timedelta, path: str = "/") -> Response:
    """Let the browser keep something of ours for a while, sealed: it can neither read nor change it, and shows it below `path` only."""
    doors = doors_of(request)
    sealed = doors.key.seal(json.dumps({"name": name, "until": (doors.clock.now() + lasts).isoformat(), "values": values}))
    answer.set_cookie(name, sealed, max_age=int(lasts.total_seconds()), path=path, httponly=True, samesite="lax", secure=is_secure(request))
    return answer


def kept(request: Request, name: str) -> dict[str, Any] | None:
    """What the browser kept for us under that name; None for nothing, something else, or what is too old."""
    doors = doors_of(request)
    found = unsealed(doors.key, request.cookies.get(name, ""))
    if found.get("name") != name or datetime.fromisoformat(found["until"]) <= doors.clock.now():
        return None
    values: dict[str, Any] = found["values"]
    return values


def unsealed(key: Key, sealed: str) -> dict[str, Any]:
    """The object that was sealed as JSON; an empty one for anything else, sealed by us or not."""
    try:
        found = json.loads(key.unseal(sealed) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def forget(answer: Response, name: str, path: str = "/") -> Response:
    """Let the browser forget what it kept under that name."""
    answer.delete_cookie(name, path=path)
    return answer
