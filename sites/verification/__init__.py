"""Verifying: whether the ledger is what was written, row by row, and what the anchors hold.

Chains are recomputed, facts played again and compared with the rows that lists and gates read, protocols and documents hashed, the
access journal held against the records it tells of, and all of it against the anchors. What it cannot find is in docs/security.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from protocols.errors import UnknownThing
from protocols.phrase import Phrase
from sites.anchors.folder import Folder
from sites.database import Database, table
from sites.tables import Experiment
from sites.verification import access, anchored, contents, experiment, registered
from sites.verification.findings import Finding, Tally

__all__ = ["Finding", "verify", "verify_in"]

_EXPERIMENT = table(Experiment)


def verify(database: Database, code: str | None = None, *, anchors: Path | None = None, data: Path | None = None) -> dict[str, Any]:
    """Look at everything, or at one experiment and what belongs to it, as it is at one moment.

    `{"ok", "experiments", "facts", "first_bad", "documents", "protocols", "entries", "findings", "count", "anchors"}`: `first_bad` is None
    or the first of the `findings`, each `{"experiment", "seq", "why"}` and where it is, of `step`, `site`, `round`; `anchors` what the
    folder `anchors` holds, None without one. `data` is the folder with this machine's key. Raises UnknownThing for an unknown code.
    """
    with database.read() as connection:
        return verify_in(connection, code, anchors=anchors, data=data)


def verify_in(connection: Connection, code: str | None = None, *, anchors: Path | None = None, data: Path | None = None) -> dict[str, Any]:
    """`verify`, as a transaction sees it."""
    tally, folder, reading = Tally(), Folder(anchors) if anchors else None, anchored.Reading()
    chosen = select(_EXPERIMENT.c.id).order_by(_EXPERIMENT.c.id)
    numbers = connection.execute(chosen.where(_EXPERIMENT.c.code == code) if code else chosen).scalars().all()
    if code and not numbers:
        raise UnknownThing(Phrase("There is no experiment {code!r}; `insitu status` lists them.", code=code))
    for number in numbers:  # one at a time: a statement that stays open would hold them all
        named = connection.execute(select(_EXPERIMENT.c.code).where(_EXPERIMENT.c.id == number)).scalar_one()
        tally.take(_experiment(connection, number, tally), str(named))
    if code:
        tally.take(contents.protocols(connection, tally, of=code), code)
    else:
        tally.take(contents.protocols(connection, tally))
        tally.take(contents.documents(connection, tally))
        tally.take(contents.evidence(connection))
        tally.take(registered.check(connection))
        tally.take(access.check(connection, tally))
    if folder:
        found = anchored.check(connection, folder, reading, data)
        tally.take(finding for finding in found if not code or finding.experiment in ("", code))
    return tally.said() | {"anchors": reading.said(folder) if folder else None}


def _experiment(connection: Connection, number: int, tally: Tally) -> Iterator[Finding]:
    row = dict(connection.execute(select(_EXPERIMENT).where(_EXPERIMENT.c.id == number)).mappings().one())
    yield from experiment.check(connection, row, tally)
