"""The outbox: messages owed, written in the same transaction as the facts that call for them, once per key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam

from protocols.notices import Owed
from sites.database import inserted_once, table
from sites.tables import Notice

_NOTICE = table(Notice)
_VALUES: dict[str, Any] = {column.name: bindparam(column.name) for column in _NOTICE.c if column.name not in ("id", "leased_until")}
_OWE = {dialect: inserted_once(dialect, _NOTICE).values(_VALUES) for dialect in ("sqlite", "postgresql")}


def owe(connection: Connection, experiment: Mapping[str, Any], owed: Sequence[Owed], now: datetime, persons: Sequence[str] = ()) -> int:
    """Put messages in the outbox, due now; returns how many are new. `experiment` is its row."""
    return sum(connection.execute(_OWE[connection.dialect.name], _row(experiment, one, now, persons)).rowcount for one in owed)


def _row(experiment: Mapping[str, Any], owed: Owed, now: datetime, persons: Sequence[str]) -> dict[str, Any]:
    return {
        "key": _key(experiment["code"], owed),
        "kind": owed.kind,
        "experiment_id": experiment["id"],
        "step": owed.key.step,
        "site": owed.key.site,
        "round": owed.round,
        "roles": list(owed.roles),
        "persons": [*persons, *owed.persons],
        "details": owed.details,
        "created_at": now,
        "state": "owed",
        "next_at": now,
        "attempts": 0,
        "leased_by": "",
    }


def _key(code: str, owed: Owed) -> str:
    return ":".join((code, owed.key.step, owed.key.site, str(owed.round), owed.kind, owed.occasion)).rstrip(":")
