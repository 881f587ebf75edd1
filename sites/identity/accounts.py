"""Accounts: who can prove who they are; invited, set up, closed and opened again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import NotProven, Refused, UnknownThing
from protocols.keys import are_same
from protocols.phrase import Phrase
from sites import keys, policy
from sites.clock import Clock
from sites.database import Database, inserted_once, queue_up, table, upserted
from sites.identity import links, passwords
from sites.identity.access import AccessKind, note
from sites.identity.emails import people_with
from sites.identity.proofs import Ways, prove, ways_of
from sites.identity.seen import last_seen
from sites.identity.sessions import end_sessions
from sites.keys import KeyTaken
from sites.letters import owe_letter
from sites.tables import Account, Assignment, Link, Person, Token

__all__ = [
    "INVITED_FOR",
    "NotProven",
    "Ways",
    "accept_invitation",
    "accept_recovery",
    "account_of",
    "account_to_change",
    "accounts",
    "change_password",
    "create_account",
    "disable",
    "enable",
    "has_accounts",
    "invite",
    "new_account",
    "person_of",
    "prove",
    "recover",
    "recovery_of",
    "require_account_manager",
    "set_language",
    "set_password",
    "set_up",
    "ways_of",
]

_ACCOUNT, _PERSON, _TOKEN, _LINK = table(Account), table(Person), table(Token), table(Link)
_ASSIGNMENT = table(Assignment)

INVITED_FOR = timedelta(days=7)
RECOVERED_FOR = timedelta(hours=1)
RECOVERED_AGAIN = timedelta(minutes=5)
RECOVERED_AT_ONCE = 5  # people who share an e-mail

# An account that was closed before it was ever used lets nobody in, and must not keep the first manager out.
_ANYONE = select(_ACCOUNT.c.person).where(or_(_ACCOUNT.c.password != "", _ACCOUNT.c.subject.is_not(None))).limit(1)
_OF = select(_ACCOUNT).where(_ACCOUNT.c.person == bindparam("person"))
_WHO = select(_PERSON).where(_PERSON.c.id == bindparam("person"))


def has_accounts(database: Database) -> bool:
    """Whether anyone can come in yet; until then the first manager may be set up."""
    with database.read() as connection:
        return connection.execute(_ANYONE).first() is not None


def person_of(database: Database, person: str) -> Mapping[str, Any] | None:
    """A person by their id; None for nobody."""
    with database.read() as connection:
        row = connection.execute(_WHO, {"person": person}).mappings().first()
    return dict(row) if row else None


def account_of(connection: Connection, person: str) -> Mapping[str, Any] | None:
    """A person's account; None without one."""
    row = connection.execute(_OF, {"person": person}).mappings().first()
    return dict(row) if row else None


def accounts(database: Database) -> list[dict[str, Any]]:
    """Every person with what their account is like, by id: `person, name, email, has_account, password, second_factor, oidc` (whether
    they have them), `seen_at`, `locked_until`, `disabled_at` (aware UTC or None)."""
    times, came = ("locked_until", "disabled_at"), last_seen()
    columns = (
        _PERSON.c.id,
        _PERSON.c.name,
        _PERSON.c.email,
        came.c.seen_at,
        *(_ACCOUNT.c[name] for name in ("person", "password", "totp", "subject", *times)),
    )
    joined = _PERSON.outerjoin(_ACCOUNT, _ACCOUNT.c.person == _PERSON.c.id).outerjoin(came, came.c.person == _PERSON.c.id)
    query = select(*columns).select_from(joined).order_by(_PERSON.c.id)
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [
        {"person": row["id"], "name": row["name"], "email": row["email"], "has_account": row["person"] is not None}
        | {"password": bool(row["password"]), "second_factor": bool(row["totp"]), "oidc": row["subject"] is not None}
        | {name: row[name] for name in ("seen_at", *times)}
        for row in rows
    ]


# ------------------------------------------------------------------ passwords


def create_account(connection: Connection, person: str, password: str, now: datetime, *, by: str) -> None:
    """Let a person prove who they are by a password ("" for one whom an OpenID provider vouches for), in the caller's write transaction.

    Raises UnknownThing for no such person, InvalidInput for a password that cannot be one, Refused when there is an account already.
    """
    _check_password(connection, person, password)
    if account_of(connection, person):
        raise Refused(Phrase("{person} has an account already. They sign in, or recover it from the sign-in page.", person=person))
    kept, password_at = (passwords.hashed(password), now) if password else ("", None)
    connection.execute(insert(_ACCOUNT).values(new_account(person, now) | {"password": kept, "password_at": password_at}))
    note(connection, AccessKind.ACCOUNT_CREATED, now, person=person, by=by)


def new_account(person: str, now: datetime) -> dict[str, Any]:
    """The row of an account by which nobody comes in yet."""
    return {"person": person, "password": "", "totp": "", "totp_step": 0, "recovery": [], "failures": 0, "created_at": now}


def _check_password(connection: Connection, person: str, password: str) -> None:
    row = connection.execute(_WHO, {"person": person}).first()
    if row is None:
        raise UnknownThing(Phrase("There is no person {person!r}. Add them first.", person=person))
    if password:
        passwords.check(password, row.id, row.name, row.email)


def set_password(connection: Connection, person: str, password: str, now: datetime, *, by: str) -> None:
    """Give an account a new password in the caller's write transaction: its failures are forgotten, its lock is lifted. Journaled."""
    _check_password(connection, person, password)
    values = {"password": passwords.hashed(password), "password_at": now, "failures": 0, "locked_until": None}
    connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(values))
    note(connection, AccessKind.PASSWORD_CHANGED, now, person=person, by=by)


def change_password(database: Database, clock: Clock, person: str, password: str, *, session: str | None) -> None:
    """Give a person who has just proved who they are a new password, and end their other sessions. Raises InvalidInput."""
    now = clock.now()
    with database.write() as connection:
        set_password(connection, person, password, now, by=person)
        end_sessions(connection, person, now, by=person, but=session)
        links.revoke_links(connection, person, now, by=person, purposes=("recovery", "invitation"))


def set_language(database: Database, clock: Clock, person: str, locale: str) -> None:
    """Keep a person's language, `fr` or `en`. Journaled."""
    its = (_PERSON.c.id == person, _PERSON.c.locale != locale)
    with database.write() as connection:
        if connection.execute(update(_PERSON).where(*its).values(locale=locale)).rowcount:
            note(connection, AccessKind.CONTACT_CHANGED, clock.now(), person=person, by=person, locale=locale)


# ------------------------------------------------------------------ invitation and recovery


def invite(database: Database, clock: Clock, person: str, *, by: str) -> str:
    """Owe a person an invitation to choose a password, valid for seven days; the nonce of its link. An earlier one is revoked.

    Raises NotAssigned unless `by` is a project manager of everything, UnknownThing, and Refused for whoever has a password already.
    """
    now = clock.now()
    with database.write() as connection:
        _require_manager(connection, by, now, Phrase("invite {person}", person=person))
        account = account_to_change(connection, person)
        if account and account["disabled_at"]:
            raise Refused(Phrase("The account of {person} is closed. Open it again first.", person=person))
        if account and account["password"]:
            raise Refused(Phrase("{person} has an account already. They sign in, or recover it from the sign-in page.", person=person))
        return _send_link(connection, "invitation", person, now, by, INVITED_FOR)


def recover(database: Database, clock: Clock, person: str, *, by: str = "") -> str | None:
    """Owe a person a link to choose a new password, valid for an hour; its nonce. None, and nothing owed, without an open account.

    `by` is a project manager who hands the link over, "" when asked for at the sign-in. Raises NotAssigned for anyone else.
    """
    now = clock.now()
    with database.write() as connection:
        if by:
            _require_manager(connection, by, now, Phrase("recover the account of {person}", person=person))
        account = account_of(connection, person)
        if account is None or account["disabled_at"] or not account["password"] or (not by and _was_sent(connection, person, now)):
            return None
        return _send_link(connection, "recovery", person, now, by or person, RECOVERED_FOR)


def recovery_of(database: Database, clock: Clock, name: str) -> None:
    """Do what the recovery page asks for an id or an e-mail: each account of it gets its letter; nothing tells whether there is one."""
    given = name.strip()
    if not given.isprintable():
        return
    with database.read() as connection:
        having = people_with(connection, given)
        known = connection.execute(_WHO, {"person": given}).first()
    for person in dict.fromkeys([*([given] if known else []), *having[:RECOVERED_AT_ONCE]]):
        recover(database, clock, person)


def _was_sent(connection: Connection, person: str, now: datetime) -> bool:
    """Whether they have a recovery of the last minutes: whoever asks over and over must not fill a mailbox, nor void what is on its way."""
    mine = (_LINK.c.person == person, _LINK.c.purpose == "recovery", _LINK.c.used_at.is_(None), _LINK.c.revoked_at.is_(None))
    return connection.execute(select(_LINK.c.id).where(*mine, _LINK.c.created_at > now - RECOVERED_AGAIN)).first() is not None


def _send_link(connection: Connection, purpose: Any, person: str, now: datetime, by: str, lasts: timedelta) -> str:
    links.revoke_links(connection, person, now, by=by, purposes=(purpose,))
    nonce = links.create_link(connection, purpose, person, now, by=by, lasts=lasts)
    owe_letter(connection, f"{purpose}:{nonce}", purpose, person, now, link=nonce, until=(now + lasts).isoformat())
    return nonce


def accept_invitation(database: Database, clock: Clock, link: links.LinkRow, password: str) -> bool:
    """Let an invited person choose their password; False when the link was used meanwhile. Raises InvalidInput."""
    now = clock.now()
    with database.write() as connection:
        _check_password(connection, link.person, password)
        account = account_of(connection, link.person)
        if (account and (account["password"] or account["disabled_at"])) or not links.use_link(connection, link.id, now):
            return False
        if account:
            set_password(connection, link.person, password, now, by=link.person)
        else:
            create_account(connection, link.person, password, now, by=link.created_by)
    return True


def accept_recovery(database: Database, clock: Clock, link: links.LinkRow, password: str) -> bool:
    """Let a person choose a new password, and end all their sessions; False when the link was used meanwhile. Raises InvalidInput.

    A second factor stays: whoever reads the mail alone does not come in.
    """
    now = clock.now()
    with database.write() as connection:
        _check_password(connection, link.person, password)
        account = account_of(connection, link.person)
        if account is None or account["disabled_at"] or not links.use_link(connection, link.id, now):
            return False
        set_password(connection, link.person, password, now, by=link.person)
        end_sessions(connection, link.person, now, by=link.person)
    return True


# ------------------------------------------------------------------ closing and opening


def disable(database: Database, clock: Clock, person: str, *, by: str) -> bool:
    """Close a person's account, its sessions, tokens and links; False when it was closed already.

    Whoever has no account gets a closed one, so that an OpenID provider does not let them in either.
    Raises NotAssigned unless `by` is a project manager of everything, UnknownThing, and Refused for one's own account.
    """
    now = clock.now()
    with database.write() as connection:
        _require_manager(connection, by, now, Phrase("close the account of {person}", person=person))
        if are_same(person, by):
            raise Refused(Phrase("Nobody closes their own account. Ask another project manager."))
        if account_to_change(connection, person) is None:
            connection.execute(insert(_ACCOUNT).values(new_account(person, now)))
        its = (_ACCOUNT.c.person == person, _ACCOUNT.c.disabled_at.is_(None))
        if not connection.execute(update(_ACCOUNT).where(*its).values(disabled_at=now)).rowcount:
            return False
        note(connection, AccessKind.ACCOUNT_DISABLED, now, person=person, by=by)
        end_sessions(connection, person, now, by=by)
        connection.execute(update(_TOKEN).where(_TOKEN.c.person == person, _TOKEN.c.revoked_at.is_(None)).values(revoked_at=now))
        links.revoke_links(connection, person, now, by=by)
    return True


def enable(database: Database, clock: Clock, person: str, *, by: str) -> bool:
    """Open a person's account again, and lift its lock; False when it was open. Raises NotAssigned, UnknownThing."""
    now = clock.now()
    with database.write() as connection:
        _require_manager(connection, by, now, Phrase("open the account of {person}", person=person))
        account = account_to_change(connection, person)
        if account is None or not (account["disabled_at"] or account["locked_until"]):
            return False
        values = {"disabled_at": None, "locked_until": None, "failures": 0}
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(values))
        note(connection, AccessKind.ACCOUNT_ENABLED, now, person=person, by=by)
    return True


def require_account_manager(database: Database, clock: Clock, by: str, person: str) -> None:
    """Let whoever may change how a person signs in go on, or raise NotAssigned."""
    with database.read() as connection:
        _require_manager(connection, by, clock.now(), Phrase("change how {person} signs in", person=person))


def set_up(database: Database, clock: Clock, person: Mapping[str, str], password: str, *, address: str = "") -> bool:
    """Make the first manager: the person (`id, name, email, locale`), who manages everything, with an account. False when one exists.

    A person of that id, imported beforehand, takes the name, e-mail and language given here. Raises InvalidInput, KeyTaken when one is
    there whose id differs by capitals alone.
    """
    now = clock.now()
    with database.write() as connection:
        queue_up(connection)
        if connection.execute(_ANYONE).first():
            return False
        if (known := keys.taken(connection, _PERSON.c.id, person["id"])) not in (None, person["id"]):
            raise KeyTaken(keys.said(person["id"], known or ""))
        row: dict[str, Any] = {"channels": []} | dict(person)
        if not connection.execute(inserted_once(connection.dialect.name, _PERSON).values(row)).rowcount:
            connection.execute(update(_PERSON).where(_PERSON.c.id == person["id"]).values(dict(person)))
        held = {"person": person["id"], "role": policy.MANAGER, "site": "", "experiment": ""}
        always = held | {"from_date": None, "until_date": None}
        connection.execute(upserted(connection.dialect.name, _ASSIGNMENT, always, list(held)))
        create_account(connection, person["id"], password, now, by=person["id"])
        note(connection, AccessKind.ROLE_ASSIGNED, now, person=person["id"], by=person["id"], address=address, role=policy.MANAGER)
    return True


def account_to_change(connection: Connection, person: str) -> Mapping[str, Any] | None:
    """A person's account, None without one. Raises UnknownThing for no such person."""
    _check_password(connection, person, "")
    return account_of(connection, person)


def _require_manager(connection: Connection, by: str, now: datetime, to: str) -> None:
    policy.require_manager_themselves(connection, by, on=clocks.local_date(now, Place()), to=to)
