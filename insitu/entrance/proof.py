"""Proving again who one is, at the moment of signing or of changing how one signs in (21 CFR 11.200)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from fastapi import Request

from insitu.entrance.doors import doors_of
from insitu.entrance.sender import address_of
from insitu.entrance.visitor import Visitor
from protocols.errors import NotProven
from protocols.phrase import Phrase
from sites.identity.accounts import prove
from sites.identity.sessions import PROVIDER, proven
from sites.signing import Prove

FRESH = timedelta(minutes=2)


def prove_again(request: Request, visitor: Visitor, form: Mapping[str, Any], *, to: str = "sign") -> None:
    """Let a visitor go on who proves now that it is them; `to` names what for in the access journal.

    By the form's fields `password` and, with a second factor, `code`; whoever came by an OpenID provider has proved it there within
    two minutes. Raises NotProven: nothing may be done then.
    """
    doors = doors_of(request)
    if visitor.method == PROVIDER:
        if is_proven_lately(visitor, doors.clock.now()):
            return
        raise NotProven(
            Phrase("Prove who you are at {provider} first, then send this within two minutes.", provider=doors.settings.oidc_name)
        )
    password, code = str(form.get("password", "")), str(form.get("code", ""))
    address = address_of(request)
    prove(doors.database, doors.clock, doors.key, visitor.person, password=password, code=code, address=address, to=to)
    if visitor.session:
        with doors.database.write() as connection:
            proven(connection, visitor.session, doors.clock.now(), address=address)


def proof_of(request: Request, visitor: Visitor, form: Mapping[str, Any], *, to: str = "sign") -> Prove:
    """`prove_again` for an act that asks for the proof itself, and only where something is to be signed."""
    return partial(prove_again, request, visitor, form, to=to)


def is_proven_lately(visitor: Visitor, now: datetime) -> bool:
    """Whether a visitor proved within two minutes, in whatever way they do, that it is them."""
    return visitor.session is not None and visitor.proven_at is not None and timedelta(0) <= now - visitor.proven_at < FRESH
