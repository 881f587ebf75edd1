"""Command ids: the same command again gets its first result, and another under the same id is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from protocols.errors import CommandReused
from sites.database import inserted_once, table
from sites.journal import compact
from sites.tables import Command

_COMMAND = table(Command)
_EARLIER = select(_COMMAND.c.digest, _COMMAND.c.result).where(_COMMAND.c.id == bindparam("id"))
_INSERT = {dialect: inserted_once(dialect, _COMMAND) for dialect in ("sqlite", "postgresql")}

Result = dict[str, Any]


def first_result(connection: Connection, command_id: str | None, described: Mapping[str, Any]) -> Result | None:
    """The result this command id got before, None if it is new. Raises CommandReused when it was another command's."""
    row = connection.execute(_EARLIER, {"id": command_id}).first() if command_id is not None else None
    if row is None:
        return None
    if row.digest != _digest(described):
        raise _reused(command_id)
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


def _reused(command_id: str | None) -> CommandReused:
    return CommandReused(f"Command id {command_id!r} was used before for something else. Use a new one for a new command.")


def _digest(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(compact(described).encode()).hexdigest()[:32]
