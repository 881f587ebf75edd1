"""Command ids: the same command again gets its first result, and another under the same id is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from protocols.errors import CommandReused, IllegalTransition, InvalidInput
from protocols.phrase import Phrase
from sites.database import Database, inserted_once, table
from sites.journal import compact
from sites.tables import Command

_COMMAND = table(Command)
_EARLIER = select(_COMMAND.c.digest, _COMMAND.c.result).where(_COMMAND.c.id == bindparam("id"))
LONGEST_ID = 128  # as the column holds
_UNDER_WAY = "{}"  # a claimed id's result; no write that ends gives it
_INSERT = {dialect: inserted_once(dialect, _COMMAND) for dialect in ("sqlite", "postgresql")}

Result = dict[str, Any]


def first_result(connection: Connection, command_id: str | None, described: Mapping[str, Any]) -> Result | None:
    """The result this command id got before, None if it is new, or its write was refused.

    A result stays for ever, so that what is decided on it holds. Raises CommandReused when it was another command's, IllegalTransition
    while the first has not ended, InvalidInput for a text that cannot be an id.
    """
    if command_id is None:
        return None
    row = connection.execute(_EARLIER, {"id": _checked(command_id)}).first()
    if row is None:
        return None
    if row.digest != _digest(described):
        raise _reused(command_id)
    if row.result == _UNDER_WAY:
        raise IllegalTransition(
            Phrase("The first request under this key has not ended, or was cut off. Look whether it was done before you use a new key.")
        )
    result: Result = json.loads(row.result)
    return result


def remember(connection: Connection, command_id: str | None, described: Mapping[str, Any], result: Result, now: datetime) -> None:
    """Keep a command's result under its id; without an id there is nothing to keep.

    Raises CommandReused when another experiment's command took the id at this very moment.
    """
    if command_id is None:
        return
    row = {"id": command_id, "digest": _digest(described), "result": compact(result), "at": now}
    if connection.execute(_INSERT[connection.dialect.name], row).rowcount != 1:
        raise _reused(command_id)


# ------------------------------------------------------------------ what is done outside the ledger's transactions


def is_known(database: Database, command_id: str) -> bool:
    """Whether a command under this id was carried out. One under way does not count: it may be refused, and its id given back."""
    with database.read() as connection:
        row = connection.execute(_EARLIER, {"id": command_id}).first()
    return row is not None and row.result != _UNDER_WAY


def claim(database: Database, command_id: str, described: Mapping[str, Any], now: datetime) -> Result | None:
    """Take an id for a write that is about to begin: None, or the result of the first that had it.

    `fulfil` or `give_back` must follow. Raises as `first_result`.
    """
    with database.write() as connection:
        earlier = first_result(connection, command_id, described)
        if earlier is None:
            remember(connection, command_id, described, {}, now)
    return earlier


def fulfil(database: Database, command_id: str, result: Result) -> None:
    """Keep the result of the write that had claimed the id."""
    with database.write() as connection:
        connection.execute(update(_COMMAND).where(_COMMAND.c.id == command_id).values(result=compact(result)))


def give_back(database: Database, command_id: str) -> None:
    """Free an id whose write was refused."""
    with database.write() as connection:
        connection.execute(delete(_COMMAND).where(_COMMAND.c.id == command_id, _COMMAND.c.result == _UNDER_WAY))


def _checked(command_id: str) -> str:
    """The id, which the page or the program that made it up must have said. Raises InvalidInput."""
    if not command_id.strip():
        raise InvalidInput(Phrase("A command id cannot be empty. Give each command a text of its own, such as a UUID, or none at all."))
    if len(command_id) > LONGEST_ID:
        said = Phrase("A command id has at most {most} characters, not {count}. Use a shorter one.", most=LONGEST_ID, count=len(command_id))
        raise InvalidInput(said)
    return command_id


def _reused(command_id: str | None) -> CommandReused:
    return CommandReused(
        Phrase("Command id {command_id!r} was used before for something else. Use a new one for a new command.", command_id=command_id)
    )


def _digest(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(compact(described).encode()).hexdigest()[:32]
