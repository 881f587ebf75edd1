"""Subjects: whom an OpenID provider vouches for, matched with the people known here; nobody unknown gets in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from protocols.errors import Refused
from protocols.phrase import Phrase
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.identity.accounts import account_of, create_account, new_account, require_account_manager
from sites.tables import Account, Person

_ACCOUNT, _PERSON = table(Account), table(Person)

EMAIL = "email"


def subject_of(claims: Mapping[str, Any], claim: str) -> str:
    """The name an account is known by: the issuer and its `sub`, or the claim that stands in for it (`SubjectNameID`); "" without it."""
    value = claims.get("sub" if claim == EMAIL else claim)
    return f"{claims['iss']}|{value}" if isinstance(value, str) and value and "\0" not in value else ""


def person_of(database: Database, clock: Clock, claims: Mapping[str, Any], claim: str, *, address: str = "") -> str | None:
    """The person an OpenID provider vouches for, None for nobody here, or one whose account is closed. Who is refused is journaled.

    By the account's subject; else, where `claim` is `email`, by a verified e-mail that exactly one person has, whose account is then
    linked to the subject for ever after. An account linked to another subject is never taken over by an e-mail.
    """
    now, subject = clock.now(), subject_of(claims, claim)
    with database.write() as connection:
        person = _by_subject(connection, subject) or (_by_email(connection, claims) if claim == EMAIL and subject else None)
        account = account_of(connection, person) if person else None
        why = _why_not(person, account, subject)
        if why or person is None:
            note(connection, AccessKind.SIGN_IN_FAILED, now, person=person or "", address=address, why=why, to="sign_in", by_provider=True)
            return None
        if account is None:
            connection.execute(insert(_ACCOUNT).values(new_account(person, now)))
            note(connection, AccessKind.ACCOUNT_CREATED, now, person=person, by=person, address=address)
        if account is None or not account["subject"]:
            _link(connection, person, subject)
            note(connection, AccessKind.PROVIDER_LINKED, now, person=person, by=person, address=address, subject=subject)
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(seen_at=now))
    return person


def _by_subject(connection: Connection, subject: str) -> str | None:
    found = connection.execute(select(_ACCOUNT.c.person).where(_ACCOUNT.c.subject == subject)).scalar() if subject else None
    return found and str(found)


def _by_email(connection: Connection, claims: Mapping[str, Any]) -> str | None:
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str) or not email:
        return None
    query = select(_PERSON.c.id).where(func.lower(_PERSON.c.email) == email.replace("\0", "").lower()).limit(2)
    found = list(connection.execute(query).scalars())
    return str(found[0]) if len(found) == 1 else None


def _why_not(person: str | None, account: Mapping[str, Any] | None, subject: str) -> str:
    if person is None:
        return "unknown"
    if account and account["disabled_at"]:
        return "disabled"
    return "other_subject" if account and account["subject"] not in (None, subject) else ""


def link_subject(database: Database, clock: Clock, person: str, subject: str, *, by: str) -> None:
    """Take the provider's word for a person who has an account, from now on. Raises Refused for a subject or account that is taken."""
    with database.write() as connection:
        account = account_of(connection, person)
        if account is None or account["subject"] not in (None, subject):
            raise Refused(Phrase("The account of {person} belongs to someone else at the provider, or does not exist.", person=person))
        _link(connection, person, subject)
        note(connection, AccessKind.PROVIDER_LINKED, clock.now(), person=person, by=by, subject=subject)


def introduce(database: Database, clock: Clock, person: str, subject: str, *, by: str) -> None:
    """Let a project manager say whom a provider's subject is, before that person has ever come in.

    Raises NotAssigned, UnknownThing, and Refused for a subject or account that is taken.
    """
    require_account_manager(database, clock, by, person)
    now = clock.now()
    with database.write() as connection:
        if account_of(connection, person) is None:
            create_account(connection, person, "", now, by=by)
    link_subject(database, clock, person, subject, by=by)


def unlink_subject(database: Database, clock: Clock, person: str, *, by: str) -> bool:
    """Take the provider's word for a person no more; False when it was not taken. Raises Refused for whoever has no password."""
    its = (_ACCOUNT.c.person == person, _ACCOUNT.c.subject.is_not(None))
    with database.write() as connection:
        if not connection.execute(select(_ACCOUNT.c.password).where(_ACCOUNT.c.person == person)).scalar():
            raise Refused(Phrase("Without a password this is the only way in, so it stays."))
        unlinked = connection.execute(update(_ACCOUNT).where(*its).values(subject=None)).rowcount
        if unlinked:
            note(connection, AccessKind.PROVIDER_UNLINKED, clock.now(), person=person, by=by)
    return bool(unlinked)


def _link(connection: Connection, person: str, subject: str) -> None:
    taken = select(_ACCOUNT.c.person).where(_ACCOUNT.c.subject == subject, _ACCOUNT.c.person != person)
    try:
        if connection.execute(taken).first():
            raise Refused(_taken())
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(subject=subject))
    except IntegrityError:  # another came first on PostgreSQL
        raise Refused(_taken()) from None


def _taken() -> Phrase:
    return Phrase("Another account here is already linked to this account at the provider.")
