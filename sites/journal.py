"""The journal's chain: each fact's row carries the hash of the one before, so that no row can be changed, lost or added unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, select

from protocols.errors import UnknownThing
from protocols.facts import Fact, FactKind
from protocols.phrase import Phrase
from sites.database import Database, table
from sites.tables import Experiment, FactRow

Row = TypeVar("Row")
_FACT, _EXPERIMENT = table(FactRow), table(Experiment)


def compact(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no escapes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def chained(experiment_id: int, code: str, protocol: str, seq: int, head: str, facts: tuple[Fact, ...]) -> list[dict[str, Any]]:
    """The rows of new facts, numbered from `seq` + 1 and chained from the hash `head` ("" for the first)."""
    rows = []
    for number, fact in enumerate(facts, seq + 1):
        row = {
            "experiment_id": experiment_id,
            "seq": number,
            "kind": fact.kind.value,
            "at": fact.at,
            "by": fact.by,
            "role": fact.role,
            "step": fact.step,
            "site": fact.site,
            "round": fact.round,
            "data": compact(fact.data),
            "protocol": protocol,
            "previous": head,
        }
        row["hash"] = head = row_hash(code, row)
        rows.append(row)
    return rows


def row_hash(code: str, row: dict[str, Any]) -> str:
    """SHA-256 of the experiment's code and everything in the row but its hash, the hash before included."""
    at: datetime = row["at"]
    names = ("seq", "kind", "by", "role", "step", "site", "round", "data", "protocol", "previous")
    content = [code, at.astimezone(UTC).isoformat(), *(row[name] for name in names)]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()


def facts_of(connection: Connection, experiment_id: int) -> Iterator[dict[str, Any]]:
    """An experiment's rows, oldest first."""
    query = select(_FACT).where(_FACT.c.experiment_id == experiment_id).order_by(_FACT.c.seq)
    with connection.execute(query, execution_options={"yield_per": 500}) as found:
        yield from (dict(row) for row in found.mappings())


def as_fact(row: dict[str, Any]) -> Fact:
    """A row as the fact it records."""
    names = ("at", "by", "role", "step", "site", "round")
    return Fact(kind=FactKind(row["kind"]), data=json.loads(row["data"]), **{name: row[name] for name in names})


def verify(database: Database, code: str | None = None) -> dict[str, Any]:
    """Recompute the chain of one experiment, or of all: `{"ok", "experiments", "facts", "first_bad"}`; `sites.verification` does the rest.

    `first_bad` is None, or `{"experiment", "seq", "why"}` of the first row that does not fit. Raises UnknownThing for an unknown code.
    """
    with database.read() as connection:
        return verify_in(connection, code)


def verify_in(connection: Connection, code: str | None = None) -> dict[str, Any]:
    """`verify`, as a transaction sees it."""
    chosen = select(_EXPERIMENT).order_by(_EXPERIMENT.c.id)
    experiments = list(connection.execute(chosen.where(_EXPERIMENT.c.code == code) if code else chosen).mappings())
    if code and not experiments:
        raise UnknownThing(Phrase("There is no experiment {code!r}; `insitu status` lists them.", code=code))
    found = [_verify_one(connection, dict(experiment)) for experiment in experiments]
    first_bad = next((bad for _, bad in found if bad), None)
    return {"ok": first_bad is None, "experiments": len(experiments), "facts": sum(count for count, _ in found), "first_bad": first_bad}


def _verify_one(connection: Connection, experiment: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    code, head, expected = experiment["code"], "", 0
    for row in readable(facts_of(connection, experiment["id"])):
        expected += 1
        if row is None:
            return expected, {"experiment": code, "seq": expected, "why": "it cannot be read"}
        if why := misfit(code, row, expected, head, experiment["protocol"]):
            return expected, {"experiment": code, "seq": row["seq"], "why": why}
        head = row["hash"]
    if (expected, head) != (experiment["seq"], experiment["head"]):
        return expected, {
            "experiment": code,
            "seq": expected + 1,
            "why": f"the journal ends at {expected}, the experiment says {experiment['seq']}",
        }
    return expected, None


def readable(rows: Iterator[Row]) -> Iterator[Row | None]:
    """The rows, and None where one cannot be read: SQLite lets any text stand in a column of times."""
    try:
        yield from rows
    except (TypeError, ValueError):
        yield None


def misfit(code: str, row: dict[str, Any], expected: int, head: str, protocol: str) -> Phrase | None:
    """Why a row is not the fact number `expected` after the one of hash `head`; None when it is."""
    if row["seq"] != expected:
        return Phrase("fact {number} is missing", number=expected)
    if row["previous"] != head:
        return Phrase("it does not follow the fact before it")
    if row["hash"] != row_hash(code, row):
        return Phrase("its content does not match its hash")
    return None if row["protocol"] == protocol else Phrase("it was decided under another protocol")
