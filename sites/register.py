"""The register of experiments: one row a launch, append-only and chained by hashes, so that an experiment that is gone is missed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from sites.database import queue_up, table
from sites.tables import RegisterRow

_REGISTER = table(RegisterRow)
_LAST = select(_REGISTER.c.seq, _REGISTER.c.hash).order_by(_REGISTER.c.seq.desc()).limit(1)


def register(connection: Connection, code: str, by: str, at: datetime) -> None:
    """Enter an experiment in the caller's write transaction; `at` is aware UTC."""
    queue_up(connection)
    last = head(connection)
    row = {"seq": last[0] + 1 if last else 1, "code": code, "by": by, "at": at, "previous": last[1] if last else ""}
    connection.execute(insert(_REGISTER).values(row | {"hash": row_hash(row)}))


def head(connection: Connection) -> tuple[int, str] | None:
    """The number and the hash of the last row; None of an empty register."""
    last = connection.execute(_LAST).first()
    return (last.seq, last.hash) if last else None


def rows(connection: Connection) -> Iterator[dict[str, Any]]:
    """Every row, oldest first."""
    with connection.execute(select(_REGISTER).order_by(_REGISTER.c.seq), execution_options={"yield_per": 500}) as found:
        yield from (dict(row) for row in found.mappings())


def row_hash(row: dict[str, Any]) -> str:
    """SHA-256 of everything in a row but its hash, the hash before included."""
    content = [row["at"].astimezone(UTC).isoformat(), *(row[name] for name in ("seq", "code", "by", "previous"))]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()
