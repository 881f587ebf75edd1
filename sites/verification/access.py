"""The access journal: its chain recomputed, and what it tells of compared with the records themselves.

Delegations, trainings, deputies, conflicts of interest and emergency looks are rows of their own, each act on them an entry of this
journal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from protocols.phrase import Phrase
from sites.database import table
from sites.identity.access import AccessKind, row_hash, rows
from sites.journal import readable
from sites.tables import BrokenGlass, Conflict, Delegation, Deputy, Training
from sites.verification.findings import Finding, Tally

_LOGS: dict[str, Table] = {
    "delegation": table(Delegation),
    "training": table(Training),
    "deputy": table(Deputy),
    "conflict": table(Conflict),
    "emergency look": table(BrokenGlass),
}
_RECORDED = {AccessKind.DELEGATION_RECORDED: "delegation", AccessKind.TRAINING_RECORDED: "training"}
_SIGNED = {AccessKind.DELEGATION_SIGNED: "delegation", AccessKind.TRAINING_SIGNED: "training"}
_ENDED = {AccessKind.DELEGATION_ENDED: "delegation", AccessKind.TRAINING_ENDED: "training"}


@dataclass(slots=True)
class Told:
    """What the entries add up to: the columns of each record, by log and number."""

    records: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def hear(self, row: Mapping[str, Any]) -> None:
        """Take an entry in. Raises KeyError, TypeError or ValueError for one that insitu did not write."""
        data, kind = json.loads(row["data"]), row["kind"]
        if kind in _RECORDED:
            columns = {name: value for name, value in data.items() if name != "number"}
            self._begin(_RECORDED[kind], data, row, columns | {"recorded_by": row["by"], "recorded_at": row["at"], **_UNSIGNED, **_UNENDED})
        elif kind in _SIGNED:
            signed = {"signed_by": row["by"], "signed_at": row["at"], "signed_role": data["role"], "meaning": data["meaning"]}
            self.records[_SIGNED[kind], data["number"]] |= signed
        elif kind in _ENDED:
            ended = {"ended_on": data["on"], "ended_by": row["by"], "ended_why": data["why"]}
            self.records[_ENDED[kind], data["number"]] |= ended
        elif kind == AccessKind.DEPUTY_NAMED:
            days = {"from_date": data["from"], "until_date": data["until"], "deputy": data["deputy"], "recorded_by": row["by"]}
            self._begin("deputy", data, row, days | {"recorded_at": row["at"], "ended_by": "", "ended_at": None})
        elif kind == AccessKind.DEPUTY_ENDED:
            self.records["deputy", data["number"]] |= {"ended_by": row["by"], "ended_at": row["at"]}
        elif kind == AccessKind.CONFLICT_DECLARED:
            declared = {"declared_by": row["by"], "declared_at": row["at"], "withdrawn_by": "", "withdrawn_at": None}
            self._begin("conflict", data, row, {"experiment": data["experiment"]} | declared)
        elif kind == AccessKind.CONFLICT_WITHDRAWN:
            self.records["conflict", data["number"]] |= {"withdrawn_by": row["by"], "withdrawn_at": row["at"]}
        elif kind == AccessKind.GLASS_BROKEN:
            looked = {name: data[name] for name in ("experiment", "site", "reason")}
            self._begin("emergency look", data, row, looked | {"at": row["at"], "until": datetime.fromisoformat(data["until"])})

    def _begin(self, log: str, data: Mapping[str, Any], row: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        self.records[log, data["number"]] = {"person": row["person"], **columns}


_UNSIGNED = {"signed_by": "", "signed_role": "", "signed_at": None, "meaning": ""}
_UNENDED = {"ended_on": None, "ended_by": "", "ended_why": ""}


def check(connection: Connection, tally: Tally) -> Iterator[Finding]:
    """What does not fit in the access journal, and in what it tells of. A chain that is broken says nothing of the rest."""
    told, broken = Told(), None
    for finding in _chain(connection, told, tally):
        broken = finding
        yield finding
    if broken is None:
        yield from _records(connection, told)


def _chain(connection: Connection, told: Told, tally: Tally) -> Iterator[Finding]:
    head = ""
    for expected, row in enumerate(readable(rows(connection)), 1):
        tally.entries += 1
        if row is None:
            yield Finding(Phrase("entry {number} of the access journal cannot be read", number=expected))
            return
        if row["seq"] != expected:
            yield Finding(Phrase("entry {number} of the access journal is missing", number=expected))
            return
        if row["previous"] != head or row["hash"] != row_hash(row):
            yield Finding(Phrase("entry {number} of the access journal was changed", number=expected))
            return
        head = row["hash"]
        try:
            told.hear(row)
        except (KeyError, TypeError, ValueError):
            yield Finding(Phrase("entry {number} of the access journal tells of what cannot have happened", number=expected))
            return


def _records(connection: Connection, told: Told) -> Iterator[Finding]:
    for log, kept in _LOGS.items():
        there = set()
        for row in readable(dict(one) for one in connection.execute(select(kept).order_by(kept.c.id)).mappings()):
            if row is None:
                yield Finding(Phrase("a {log} cannot be read", log=_named(log)))
                continue
            there.add(row["id"])
            yield from _record(log, row, told.records.get((log, row["id"])))
        for number in sorted(number for name, number in told.records if name == log and number not in there):
            yield Finding(Phrase("{log} {number} is missing; the access journal tells of it", log=_named(log), number=number))


def _record(log: str, row: Mapping[str, Any], told: Mapping[str, Any] | None) -> Iterator[Finding]:
    about: dict[str, Any] = {"log": _named(log), "number": row["id"]}
    if told is None:
        yield Finding(Phrase("{log} {number} is told by no entry of the access journal", **about))
        return
    for name, value in told.items():
        if _plain(row[name]) != _plain(value):
            about |= {"name": f"`{name}`", "kept": _plain(row[name]), "told": _plain(value)}
            yield Finding(Phrase("{log} {number} has {name} {kept!r}, the access journal tells {told!r}", **about))


def _named(log: str) -> Phrase:
    return {
        "delegation": Phrase("delegation"),
        "training": Phrase("training"),
        "deputy": Phrase("deputy"),
        "conflict": Phrase("conflict of interest"),
        "emergency look": Phrase("emergency look"),
    }[log]


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else "" if value is None else str(value)
