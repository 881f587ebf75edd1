"""Proofs: that a person is who they say, by password and second factor, with the lock-out that stops guessing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from protocols.errors import NotProven
from protocols.phrase import Phrase
from sites.clock import Clock
from sites.database import Database, table
from sites.identity import passwords, second_factor
from sites.identity.access import AccessKind, note
from sites.identity.emails import people_with
from sites.identity.keys import Key
from sites.tables import Account, Person

_ACCOUNT, _PERSON = table(Account), table(Person)

FAILURES = 10  # in a row, then the account is locked; each further ten double the time
LOCKED = timedelta(minutes=15)
LONGEST_LOCK = timedelta(days=1)

_COLUMNS = (_PERSON.c.id, *(_ACCOUNT.c[name] for name in ("password", "totp", "totp_step", "recovery", "subject", "failures")))
_ALL = (*_COLUMNS, _ACCOUNT.c.locked_until, _ACCOUNT.c.disabled_at)
_BY_ID = (
    select(*_ALL).join_from(_PERSON, _ACCOUNT, _ACCOUNT.c.person == _PERSON.c.id, isouter=True).where(_PERSON.c.id == bindparam("person"))
)
_WAYS = select(_ACCOUNT.c.password, _ACCOUNT.c.totp, _ACCOUNT.c.subject).where(_ACCOUNT.c.person == bindparam("person"))


@dataclass(frozen=True, slots=True)
class Ways:
    """By what a person can prove who they are: a password, with a code beside it, or an OpenID provider."""

    password: bool = False
    code: bool = False
    provider: bool = False


def ways_of(database: Database, person: str) -> Ways:
    """By what a person proves who they are; by nothing without an account."""
    with database.read() as connection:
        row = connection.execute(_WAYS, {"person": person}).first()
    return Ways(bool(row.password), bool(row.totp), row.subject is not None) if row else Ways()


def prove(
    database: Database, clock: Clock, key: Key, person: str, *, password: str, code: str = "", address: str = "", to: str = "sign"
) -> None:
    """Let a person prove who they are: the password and, where a second factor is set, a code, which works once.

    Raises NotProven, the same whatever was wrong; it is journaled and counted, and after ten in a row the account is locked for a
    quarter of an hour, then for twice as long. What comes while it is locked is refused unlooked at.
    """
    row = _found(database, person, by_email=False)
    asked = "both" if row and row["totp"] else "password"
    _check(database, clock, row, passwords.is_right(password, _kept(row)), asked, "password", address, to)
    if asked == "both":
        _check(database, clock, row, _uses_code(database, clock, key, row, code), asked, "code", address, to)
    _let_in(database, clock.now(), row, password)


def check_password(database: Database, clock: Clock, name: str, password: str, *, address: str = "") -> tuple[str, bool]:
    """The person of an id or e-mail and a password, and whether a code is still asked of them.

    Only without a second factor are they in: their earlier failures are then forgotten. Raises NotProven as `prove` does.
    """
    row = _found(database, name)
    person = _check(database, clock, row, passwords.is_right(password, _kept(row)), "name", "password", address)
    needs_code = bool(row and row["totp"])
    if not needs_code:
        _let_in(database, clock.now(), row, password)
    return person, needs_code


def check_code(database: Database, clock: Clock, key: Key, person: str, code: str, *, address: str = "") -> None:
    """Let a person whose password was right complete their proof by a code. Raises NotProven as `prove` does."""
    row = _found(database, person, by_email=False)
    _check(database, clock, row, _uses_code(database, clock, key, row, code), "code", "code", address)
    _let_in(database, clock.now(), row, None)


def refused(asked: str) -> NotProven:
    """What anyone is told whose proof does not do, by what was asked of them: the same for a person who does not exist."""
    return NotProven(Phrase(_REFUSED[asked].template, failures=FAILURES, minutes=LOCKED // timedelta(minutes=1)))


_BLANK = {"failures": "", "minutes": ""}
_REFUSED = {
    "name": Phrase(
        "The name or the password is not right. Check them and try again. After {failures} failures in a row an account is locked for "
        "{minutes} minutes.",
        **_BLANK,
    ),
    "password": Phrase(
        "The password is not right. Check it and try again. After {failures} failures in a row an account is locked for {minutes} minutes.",
        **_BLANK,
    ),
    "code": Phrase(
        "The code is not right, or was used already. Wait for the next one and try again. After {failures} failures in a row an account "
        "is locked for {minutes} minutes.",
        **_BLANK,
    ),
    "both": Phrase(
        "The password or the code is not right; a code works only once. Check both and try again. After {failures} failures in a row an "
        "account is locked for {minutes} minutes.",
        **_BLANK,
    ),
}


# ------------------------------------------------------------------ the parts of a proof


def _found(database: Database, name: str, *, by_email: bool = True) -> dict[str, Any] | None:
    """The account of an id or, when just one person has it, of an e-mail."""
    given = name.strip()
    if not given.isprintable():  # no id and no e-mail holds such a character, and without it the name would be another
        return None
    with database.read() as connection:
        row = connection.execute(_BY_ID, {"person": given}).mappings().first()
        if row is None and by_email:
            having = people_with(connection, given)
            row = connection.execute(_BY_ID, {"person": having[0]}).mappings().first() if len(having) == 1 else None
    return dict(row) if row else None


def _kept(row: dict[str, Any] | None) -> str:
    return (row and row["password"]) or ""


def _uses_code(database: Database, clock: Clock, key: Key, row: dict[str, Any] | None, code: str) -> bool:
    if row is None or _closed(row, clock.now()):
        return False
    with database.write() as connection:
        return second_factor.use_code(connection, key, row, code, clock.now())


def _check(
    database: Database, clock: Clock, row: dict[str, Any] | None, is_right: bool, asked: str, what: str, address: str, to: str = "sign_in"
) -> str:
    """The person's id when the proof is right and the account open; else the failure is written down and NotProven raised."""
    now = clock.now()
    if row is not None and is_right and not _closed(row, now):
        return str(row["id"])
    with database.write() as connection:
        _fail(connection, row, now, what, address, to)
    raise refused(asked)


def _closed(row: dict[str, Any], now: datetime) -> str:
    """Why nobody comes in by this account now: `none`, `disabled` or `locked`; "" when it is open."""
    if row["password"] is None:
        return "none"
    if row["disabled_at"]:
        return "disabled"
    return "locked" if row["locked_until"] and row["locked_until"] > now else ""


def _fail(connection: Connection, row: dict[str, Any] | None, now: datetime, what: str, address: str, to: str) -> None:
    person = row["id"] if row else ""
    why = (_closed(row, now) or what) if row else "unknown"
    note(connection, AccessKind.SIGN_IN_FAILED, now, person=person, address=address, why=why, to=to)
    if why not in ("password", "code"):
        return
    its = _ACCOUNT.c.person == person
    failures = connection.execute(
        update(_ACCOUNT).where(its).values(failures=_ACCOUNT.c.failures + 1).returning(_ACCOUNT.c.failures)
    ).scalar_one()
    if failures % FAILURES == 0:
        lasts = min(LOCKED * 2 ** min(failures // FAILURES - 1, 10), LONGEST_LOCK)
        connection.execute(update(_ACCOUNT).where(its).values(locked_until=now + lasts))
        note(
            connection,
            AccessKind.ACCOUNT_LOCKED,
            now,
            person=person,
            address=address,
            failures=failures,
            minutes=lasts // timedelta(minutes=1),
        )


def _let_in(database: Database, now: datetime, row: dict[str, Any] | None, password: str | None) -> None:
    """Forget the failures; make the hash anew where its parameters have changed."""
    assert row is not None
    values: dict[str, Any] = {"failures": 0, "locked_until": None, "seen_at": now}
    if password is not None and passwords.is_dated(row["password"]):
        values["password"] = passwords.hashed(password)
    unchanged = (_ACCOUNT.c.person == row["id"], _ACCOUNT.c.password == row["password"], _ACCOUNT.c.disabled_at.is_(None))
    with database.write() as connection:
        if not connection.execute(update(_ACCOUNT).where(*unchanged).values(values)).rowcount:
            raise refused("password")
