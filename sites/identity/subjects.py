"""Subjects: whom an OpenID provider vouches for, matched with the people known here; nobody unknown gets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from protocols.errors import InvalidInput, Refused
from protocols.phrase import Phrase
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.identity.accounts import account_of, account_to_change, create_account, new_account, require_account_manager
from sites.identity.emails import people_with
from sites.identity.links import revoke_links
from sites.identity.sessions import PROVIDER, end_sessions
from sites.identity.tokens import revoke_tokens
from sites.tables import AccessRow, Account

_ACCOUNT, _ACCESS = table(Account), table(AccessRow)

EMAIL = "email"
LONGEST = 255  # characters of a `sub` (OpenID Connect Core 1.0 §2)


@dataclass(frozen=True, slots=True)
class Known:
    """Whom the provider's word is taken for, known here by `subject`; without a person, `why` nobody is let in."""

    person: str
    subject: str
    why: str = ""


def subject_named(issuer: str, value: object) -> str:
    """The name of an account at a provider as it is kept here; "" for a value that is none: no text, too long, with control characters."""
    return f"{issuer}|{value}" if isinstance(value, str) and value.isprintable() and 0 < len(value) <= LONGEST else ""


def subject_of(claims: Mapping[str, Any], claim: str) -> str:
    """The name an account is known by: the issuer and its `sub`, or the claim that stands in for it (`SubjectNameID`); "" without it."""
    return subject_named(claims["iss"], claims.get("sub" if claim == EMAIL else claim))


def person_of(database: Database, clock: Clock, claims: Mapping[str, Any], claim: str, *, address: str = "") -> Known:
    """The person an OpenID provider vouches for; for nobody here, or an account that lets nobody in, why not, which is journaled.

    By the account's subject; else, where `claim` is `email`, by a verified e-mail that exactly one person has, whose account is then
    linked to the subject for ever after. An account linked to another subject is never taken over by an e-mail, nor is one that somebody
    unlinked.
    """
    now, subject = clock.now(), subject_of(claims, claim)
    with database.write() as connection:
        person = _by_subject(connection, subject) or (_by_email(connection, claims) if claim == EMAIL and subject else "")
        account = account_of(connection, person) if person else None
        why = _why_not(person, account, subject) if subject else "claims"
        if why == "unknown" and claim == EMAIL and not claims.get("email"):
            why = "claims"
        if why:
            _note_refusal(connection, now, why, person=person, address=address)
            return Known("", subject, why)
        if account is None:
            connection.execute(insert(_ACCOUNT).values(new_account(person, now)))
            note(connection, AccessKind.ACCOUNT_CREATED, now, person=person, by=person, address=address)
        if account is None or not account["subject"]:
            _link(connection, person, subject)
            note(connection, AccessKind.PROVIDER_LINKED, now, person=person, by=person, address=address, subject=subject)
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(seen_at=now))
    return Known(person, subject)


def note_refusal(database: Database, clock: Clock, why: str, *, person: str, address: str, to: str, **data: Any) -> None:
    """Journal that what came from the provider let nobody in, and why; `person` is whoever is signed in already, `to` what it was for."""
    with database.write() as connection:
        _note_refusal(connection, clock.now(), why, person=person, address=address, to=to, **data)


def _note_refusal(connection: Connection, now: datetime, why: str, *, person: str, address: str, to: str = "sign_in", **data: Any) -> None:
    note(connection, AccessKind.SIGN_IN_FAILED, now, person=person, address=address, why=why, to=to, by_provider=True, **data)


def _by_subject(connection: Connection, subject: str) -> str:
    found = connection.execute(select(_ACCOUNT.c.person).where(_ACCOUNT.c.subject == subject)).scalar() if subject else None
    return str(found or "")


def _by_email(connection: Connection, claims: Mapping[str, Any]) -> str:
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    found = people_with(connection, email)
    return found[0] if len(found) == 1 else ""


def _why_not(person: str, account: Mapping[str, Any] | None, subject: str) -> str:
    if not person:
        return "unknown"
    if account is None:
        return ""
    if account["disabled_at"]:
        return "disabled"
    if account["subject"] is None and account["unlinked_at"]:
        return "unlinked"
    return "other_subject" if account["subject"] not in (None, subject) else ""


# ------------------------------------------------------------------ linking


def link_subject(database: Database, clock: Clock, person: str, subject: str, *, by: str) -> None:
    """Take the provider's word for a person who has an account, from now on. Raises Refused for a subject or account that is taken."""
    with database.write() as connection:
        account = account_of(connection, person)
        if account is None or account["subject"] not in (None, subject):
            raise Refused(_belongs(person))
        _link(connection, person, subject)
        note(connection, AccessKind.PROVIDER_LINKED, clock.now(), person=person, by=by, subject=subject)


def introduce(database: Database, clock: Clock, person: str, subject: str, *, by: str) -> None:
    """Let a project manager say whom a provider's subject is, before that person has ever come in, or after they were unlinked.

    Raises NotAssigned, UnknownThing, InvalidInput for "", and Refused for a subject or account that is taken.
    """
    require_account_manager(database, clock, by, person)
    if not subject:
        raise InvalidInput(Phrase("That is no name of an account at a provider: it is empty, too long, or holds a control character."))
    now = clock.now()
    with database.write() as connection:
        if account_of(connection, person) is None:
            create_account(connection, person, "", now, by=by)
    link_subject(database, clock, person, subject, by=by)


def unlink_subject(database: Database, clock: Clock, person: str, *, by: str) -> bool:
    """Take the provider's word for a person no more; False when it was not taken.

    Whatever came by that link ends: the sessions, and the tokens and the calendar's address made since. No e-mail links the account again:
    that is for its person to do, or for a manager. Raises UnknownThing, and NotAssigned unless `by` is that person or a project manager of
    everything.
    """
    if by != person:
        require_account_manager(database, clock, by, person)
    now = clock.now()
    with database.write() as connection:
        account = account_to_change(connection, person)
        if account is None or account["subject"] is None:
            return False
        its = (_ACCOUNT.c.person == person, _ACCOUNT.c.subject == account["subject"])
        if not connection.execute(update(_ACCOUNT).where(*its).values(subject=None, unlinked_at=now)).rowcount:
            return False
        since = _linked_at(connection, person) or account["created_at"]
        note(connection, AccessKind.PROVIDER_UNLINKED, now, person=person, by=by, subject=account["subject"])
        end_sessions(connection, person, now, by=by, method=PROVIDER)
        revoke_tokens(connection, person, now, by=by, since=since)
        revoke_links(connection, person, now, by=by, purposes=("calendar",), since=since)
    return True


def _linked_at(connection: Connection, person: str) -> datetime | None:
    """When the link began that is there now: it may have been confirmed since."""
    its, kind = _ACCESS.c.person == person, _ACCESS.c.kind
    before = select(func.coalesce(func.max(_ACCESS.c.seq), 0)).where(its, kind == AccessKind.PROVIDER_UNLINKED.value).scalar_subquery()
    since = select(_ACCESS.c.at).where(its, kind == AccessKind.PROVIDER_LINKED.value, _ACCESS.c.seq > before)
    found: datetime | None = connection.execute(since.order_by(_ACCESS.c.seq).limit(1)).scalar()
    return found


def _link(connection: Connection, person: str, subject: str) -> None:
    taken = select(_ACCOUNT.c.person).where(_ACCOUNT.c.subject == subject, _ACCOUNT.c.person != person)
    try:
        if connection.execute(taken).first():
            raise Refused(_taken())
        its = (_ACCOUNT.c.person == person, or_(_ACCOUNT.c.subject.is_(None), _ACCOUNT.c.subject == subject))
        if not connection.execute(update(_ACCOUNT).where(*its).values(subject=subject, unlinked_at=None)).rowcount:
            raise Refused(_belongs(person))  # linked otherwise since it was read
    except IntegrityError:  # another came first on PostgreSQL
        raise Refused(_taken()) from None


def _belongs(person: str) -> Phrase:
    return Phrase("The account of {person} belongs to someone else at the provider, or does not exist.", person=person)


def _taken() -> Phrase:
    return Phrase("Another account here is already linked to this account at the provider.")
