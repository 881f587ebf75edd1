"""The register of experiments: its chain recomputed, and held against the experiments that are there."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from protocols.phrase import Phrase
from sites.database import table
from sites.journal import readable
from sites.register import row_hash, rows
from sites.tables import Experiment
from sites.verification.findings import Finding

_EXPERIMENT = table(Experiment)


def check(connection: Connection) -> Iterator[Finding]:
    """What does not fit in the register, the experiments that are gone, and those that were never entered."""
    entered: dict[str, int] = {}
    broken = None
    for finding in _chain(connection, entered):
        broken = finding
        yield finding
    there = set(connection.execute(select(_EXPERIMENT.c.code)).scalars())
    gone = {
        code: Phrase("the experiment is gone; entry {number} of the register of experiments tells of it", number=seq)
        for code, seq in entered.items()
    }
    yield from (Finding(why, code) for code, why in gone.items() if code not in there)
    if broken is None:
        never = Phrase("no entry of the register of experiments tells of its launch")
        yield from (Finding(never, code) for code in sorted(there - entered.keys()))


def _chain(connection: Connection, entered: dict[str, int]) -> Iterator[Finding]:
    head = ""
    for number, row in enumerate(readable(rows(connection)), 1):
        if row is None:
            yield Finding(Phrase("entry {number} of the register of experiments cannot be read", number=number))
            return
        if row["seq"] != number:
            yield Finding(Phrase("entry {number} of the register of experiments is missing", number=number))
            return
        if row["previous"] != head or row["hash"] != row_hash(row):
            yield Finding(Phrase("entry {number} of the register of experiments was changed", number=number))
            return
        head = row["hash"]
        if row["code"] in entered:
            twice = {"first": entered[row["code"]], "number": number}
            yield Finding(
                Phrase("entries {first} and {number} of the register of experiments tell of it: one is gone", **twice), row["code"]
            )
        entered[row["code"]] = number
