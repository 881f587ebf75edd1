"""Who is asking, and the rules of the routes: each route depends on exactly one of them, which a test reads off the route table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.sender import address_of, came_by_proxy
from protocols.errors import NotAssigned, Refused, UnknownThing
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites import policy
from sites.checkpoints import CheckpointId
from sites.identity.limits import Door
from sites.identity.sessions import SessionRow, read_session
from sites.identity.tokens import read_token
from sites.releases import plan_of
from sites.snapshot import find

COOKIE = "insitu"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

Rule = TypeVar("Rule", bound=Callable[..., Any])
RULES: dict[Callable[..., Any], str] = {}


class NotSignedIn(Refused):
    """Nobody is signed in; a page then leads to the sign-in, the API answers 401."""


class UnknownToken(NotSignedIn):
    """The token is forged, expired or revoked."""


class ReadOnlyToken(Refused):
    """The token may read only."""


def rule(function: Rule) -> Rule:
    """Make a dependency one of the rules a route may be guarded by."""
    RULES[function] = function.__name__
    return function


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever is signed in. `session` is None with an API token; `proven_at` is when they last proved who they are."""

    person: str
    name: str
    locale: str
    session: str | None
    proven_at: datetime | None
    method: str
    reader: policy.Reader
    doors: Doors
    may_write: bool = True

    @property
    def administers(self) -> bool:
        """Whether the section on sites, people and roles holds anything for them: managers, and investigators for their site's log."""
        return self.reader.is_some_manager or self.reader.is_some_investigator


@dataclass(frozen=True, slots=True)
class Seen:
    """An experiment that the visitor sees something of: its row, its plan, and how much they see."""

    visitor: Visitor
    row: Mapping[str, Any]
    plan: Plan
    access: policy.Access

    @property
    def code(self) -> str:
        return str(self.row["code"])


@dataclass(frozen=True, slots=True)
class SeenCheckpoint(Seen):
    """A checkpoint of an experiment and site that the visitor sees."""

    name: CheckpointId


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Whoever's session ran out while they filled in a checkpoint's form: they may leave what they typed as a draft, and see nothing."""

    person: str
    name: CheckpointId


# ------------------------------------------------------------------ who is asking


def session_of(request: Request) -> SessionRow | None:
    """The browser's session, live or lapsed; None without one."""
    if not hasattr(request.state, "session"):
        cookie, doors = request.cookies.get(COOKIE, ""), doors_of(request)
        request.state.session = read_session(doors.database, doors.clock, cookie) if cookie else None
    found: SessionRow | None = request.state.session
    return found


def visitor_of(request: Request) -> Visitor | None:
    """Whoever is signed in by session or, for the API, by token; None for nobody. Looked up once a request."""
    if not hasattr(request.state, "visitor"):
        request.state.visitor = _by_token(request) if _bearer(request) else _by_session(request)
    found: Visitor | None = request.state.visitor
    return found


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and request.url.path.startswith("/api/") else ""


def _by_session(request: Request) -> Visitor | None:
    session = session_of(request)
    if session is None or not session.is_live:
        return None
    return _visitor(request, session.person, session.name, session.locale, session.id, session.proven_at, session.method)


def _by_token(request: Request) -> Visitor | None:
    doors = doors_of(request)
    token = read_token(doors.database, doors.clock, _bearer(request))
    if token is None:
        return None
    return _visitor(request, token.person, token.name, token.locale, None, None, "token", may_write=token.scope == "write")


def _visitor(
    request: Request,
    person: str,
    name: str,
    locale: str,
    session: str | None,
    proven_at: datetime | None,
    method: str,
    *,
    may_write: bool = True,
) -> Visitor:
    doors = doors_of(request)
    with doors.database.read() as connection:
        reader = policy.reader(connection, person, doors.clock.now())
    return Visitor(person, name, locale, session, proven_at, method, reader, doors, may_write)


# ------------------------------------------------------------------ the rules


@rule
async def anyone(request: Request) -> None:
    """Open to everybody: what it shows belongs to nobody. It waits for no thread: health answers while all of them wait."""


@rule
def signed_in(request: Request) -> Visitor:
    """Whoever is signed in; what they see is theirs alone. Raises NotSignedIn, and ReadOnlyToken for a write with such a token.

    An address that tries fifty tokens that are not in force within ten minutes gets TooOften for every further one.
    """
    visitor = visitor_of(request)
    if visitor is None and _bearer(request):
        limits, address = doors_of(request).limits, address_of(request)
        limits.check(Door.TOKEN, address)
        limits.count(Door.TOKEN, address)
        raise UnknownToken(Phrase("This token is unknown, has expired or was revoked. Create another on your account page."))
    if visitor is None:
        raise NotSignedIn(Phrase("Sign in first."))
    if not visitor.may_write and request.method not in SAFE:
        raise ReadOnlyToken(Phrase("This token may only read. Create one with the scope “write” on your account page."))
    return visitor


@rule
def some_manager(request: Request) -> Visitor:
    """A project manager of anything. Raises NotSignedIn, NotAssigned."""
    return _managing(signed_in(request), lambda reader: reader.is_some_manager)


@rule
def administers(request: Request) -> Visitor:
    """A project manager, or an investigator, of anything. Raises NotSignedIn, NotAssigned."""
    return _managing(signed_in(request), lambda reader: reader.is_some_manager or reader.is_some_investigator)


@rule
def global_manager(request: Request) -> Visitor:
    """A project manager of everything. Raises NotSignedIn, NotAssigned."""
    return _managing(signed_in(request), lambda reader: reader.is_manager)


@rule
def watching(request: Request) -> None:
    """A program on this machine that came by no proxy, or a project manager of everything. Raises NotSignedIn, NotAssigned."""
    is_here = address_of(request) in ("127.0.0.1", "::1") and not came_by_proxy(request)
    if not is_here or request.headers.get("authorization"):
        global_manager(request)


def _managing(visitor: Visitor, manages: Callable[[policy.Reader], bool]) -> Visitor:
    if not manages(visitor.reader):
        raise NotAssigned(Phrase("This page is for project managers. Ask one of them for what you need."))
    return visitor


@rule
def sees_experiment(request: Request, code: str) -> Seen:
    """An experiment by its code. Raises NotSignedIn; UnknownThing for one that is not, or of which the visitor sees nothing."""
    return seen_experiment(signed_in(request), code)


def seen_experiment(visitor: Visitor, code: str) -> Seen:
    """An experiment by its code. Raises UnknownThing for one that is not, or of which the visitor sees nothing."""
    with visitor.doors.database.read() as connection:
        try:
            row = find(connection, code)
        except UnknownThing:
            raise _unknown(code) from None
        access = policy.access_to(connection, visitor.reader, row)
        plan = plan_of(connection, row["protocol"])
    if access is None:
        raise _unknown(code)
    return Seen(visitor, row, plan, access)


def _unknown(code: str) -> UnknownThing:
    return UnknownThing(Phrase("There is no {code} here that you may see.", code=code))


@rule
def sees_checkpoint(request: Request, checkpoint: str) -> SeenCheckpoint:
    """A checkpoint by its name. Raises NotSignedIn; UnknownThing for one that is not, or at a site the visitor does not see."""
    visitor = signed_in(request)
    name = CheckpointId.parse(checkpoint)
    seen = seen_experiment(visitor, name.experiment)
    if not seen.access.sees_site(name.site) or name.step not in seen.plan.steps:
        raise _unknown(checkpoint)
    return SeenCheckpoint(seen.visitor, seen.row, seen.plan, seen.access, name)


@rule
def fills_in_checkpoint(request: Request, checkpoint: str) -> SeenCheckpoint | Lapsed:
    """`sees_checkpoint` for what is typed into its form: with a session that ran out, nothing is seen but what was typed is kept.

    A session that somebody ended keeps nothing: whoever signed out on a shared computer left, and its cookie may be another's by now.
    """
    session = session_of(request)
    if session is not None and session.ran_out and visitor_of(request) is None:
        return Lapsed(session.person, CheckpointId.parse(checkpoint))
    return sees_checkpoint(request, checkpoint)


Anyone = Annotated[None, Depends(anyone)]
SignedIn = Annotated[Visitor, Depends(signed_in)]
SomeManager = Annotated[Visitor, Depends(some_manager)]
Administers = Annotated[Visitor, Depends(administers)]
Watching = Annotated[None, Depends(watching)]
GlobalManager = Annotated[Visitor, Depends(global_manager)]
SeesExperiment = Annotated[Seen, Depends(sees_experiment)]
SeesCheckpoint = Annotated[SeenCheckpoint, Depends(sees_checkpoint)]
FillsInCheckpoint = Annotated[SeenCheckpoint | Lapsed, Depends(fills_in_checkpoint)]
