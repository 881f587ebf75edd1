"""The second factor: codes of an authenticator (RFC 6238) and, should it be lost, recovery codes that work once each."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyotp
from sqlalchemy import Connection, bindparam, select, update

from protocols.errors import InvalidInput, Refused
from protocols.phrase import Phrase
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.identity.keys import Key, fingerprint
from sites.tables import Account

_ACCOUNT = table(Account)

SECONDS = 30
RECOVERY_CODES = 10
# `FOR UPDATE` on PostgreSQL: two browsers with one recovery code come one after the other. SQLite lets one writer in anyway.
_CODES = select(_ACCOUNT.c.recovery).where(_ACCOUNT.c.person == bindparam("person")).with_for_update()


def new_secret() -> str:
    """A secret for an authenticator, in base 32."""
    return pyotp.random_base32()


def address_of(secret: str, person: str) -> str:
    """What an authenticator reads from a QR code."""
    return str(pyotp.TOTP(secret, interval=SECONDS).provisioning_uri(name=person, issuer_name="insitu"))


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step a code belongs to, of the present one and its neighbours; None for another code."""
    figures, totp = re.sub(r"\s", "", code).encode(), pyotp.TOTP(secret, interval=SECONDS)
    present = int(now.timestamp()) // SECONDS
    steps = (present - 1, present, present + 1)
    return next((step for step in steps if secrets.compare_digest(totp.generate_otp(step).encode(), figures)), None)


def use_code(connection: Connection, key: Key, account: Mapping[str, Any], code: str, now: datetime) -> bool:
    """Use up a code of an authenticator or a recovery code, in the caller's write transaction; False when it is none, or was used."""
    secret = key.unseal(account["totp"]) if account["totp"] else None
    step = step_of(secret, code, now) if secret else None
    if step is not None:
        newer = (_ACCOUNT.c.person == account["id"], _ACCOUNT.c.totp == account["totp"], _ACCOUNT.c.totp_step < step)
        return bool(connection.execute(update(_ACCOUNT).where(*newer).values(totp_step=step)).rowcount)
    return _use_recovery_code(connection, account["id"], code)


def _use_recovery_code(connection: Connection, person: str, code: str) -> bool:
    kept, given = connection.execute(_CODES, {"person": person}).scalar_one() or [], fingerprint(_plain(code))
    if given not in kept:
        return False
    left = [one for one in kept if one != given]
    connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.person == person).values(recovery=left))
    return True


def set_second_factor(database: Database, clock: Clock, key: Key, person: str, secret: str, code: str) -> list[str]:
    """Ask a person for codes of this secret from now on; their recovery codes, told only now.

    Raises InvalidInput when the code does not fit, Refused without a password or when a second factor is set already. The code is used up.
    """
    now = clock.now()
    step = step_of(secret, code, now)
    if step is None:
        raise InvalidInput(Phrase("This code does not fit. Check that your telephone's clock is right, and type the code it shows now."))
    codes = _new_codes()
    values = {"totp": key.seal(secret), "totp_step": step, "recovery": [fingerprint(_plain(one)) for one in codes]}
    unset = (_ACCOUNT.c.person == person, _ACCOUNT.c.totp == "", _ACCOUNT.c.password != "")
    with database.write() as connection:
        if not connection.execute(update(_ACCOUNT).where(*unset).values(values)).rowcount:
            raise Refused(Phrase("A second factor is set already, or you have no password. Remove the one there is first."))
        note(connection, AccessKind.SECOND_FACTOR_SET, now, person=person, by=person)
    return codes


def remove_second_factor(database: Database, clock: Clock, person: str, *, by: str) -> bool:
    """Ask a person for no code any more; False when none was asked. Journaled."""
    its = (_ACCOUNT.c.person == person, _ACCOUNT.c.totp != "")
    with database.write() as connection:
        removed = connection.execute(update(_ACCOUNT).where(*its).values(totp="", recovery=[])).rowcount
        if removed:
            note(connection, AccessKind.SECOND_FACTOR_REMOVED, clock.now(), person=person, by=by)
    return bool(removed)


def renew_codes(database: Database, clock: Clock, person: str) -> list[str]:
    """New recovery codes instead of the old ones, told only now. Raises Refused without a second factor."""
    codes = _new_codes()
    its = (_ACCOUNT.c.person == person, _ACCOUNT.c.totp != "")
    with database.write() as connection:
        if not connection.execute(update(_ACCOUNT).where(*its).values(recovery=[fingerprint(_plain(one)) for one in codes])).rowcount:
            raise Refused(Phrase("Set a second factor first."))
        note(connection, AccessKind.SECOND_FACTOR_SET, clock.now(), person=person, by=person, recovery_codes=len(codes))
    return codes


def codes_left(database: Database, person: str) -> int:
    """How many recovery codes a person has not used yet."""
    with database.read() as connection:
        return len(connection.execute(select(_ACCOUNT.c.recovery).where(_ACCOUNT.c.person == person)).scalar() or [])


def _new_codes() -> list[str]:
    """80 bits each: too many to be guessed even from a stolen database."""
    texts = (base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES))
    return ["-".join(text[at : at + 4] for at in range(0, 16, 4)) for text in texts]


def _plain(code: str) -> str:
    return re.sub(r"[\s-]", "", code).lower()
