"""Letters: mails that belong to no experiment, owed here and sent by the dispatcher."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from sites.database import inserted_once, table
from sites.tables import Letter

_LETTER = table(Letter)


def owe_letter(
    connection: Connection,
    key: str,
    kind: str,
    person: str,
    now: datetime,
    *,
    link: str = "",
    at: datetime | None = None,
    **details: Any,
) -> bool:
    """Owe a person a letter from `at`, else `now`, on, in the caller's write transaction; False when one of this `key` was owed before.

    `link` is the nonce of a link, whose address is signed when the letter is sent. `details` are JSON values, never a secret.
    """
    row = {"key": key, "kind": kind, "person": person, "link": link, "details": details, "created_at": now}
    owed = row | {"next_at": at or now, "state": "owed", "attempts": 0, "error": "", "leased_by": ""}
    return bool(connection.execute(inserted_once(connection.dialect.name, _LETTER).values(owed)).rowcount)
