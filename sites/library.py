"""The released protocols that a reader may read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from protocols.clocks import Place
from protocols.errors import UnknownThing
from protocols.phrase import Phrase
from sites import policy
from sites.database import Database, table
from sites.policy import SPONSOR, Reader
from sites.releases import releases
from sites.tables import Experiment

_EXPERIMENT = table(Experiment)


def readable(database: Database, reader: Reader) -> list[dict[str, Any]]:
    """The releases, by id then version. Whoever holds no role, or a sponsor's only, reads those of the experiments they see.

    A protocol names the solution that is tested: a sponsor does not learn of another candidate.
    """
    found = releases(database)
    if any(one.role != SPONSOR for one in reader.in_force_at(Place())):
        return found
    with database.read() as connection:
        pinned = select(_EXPERIMENT.c.protocol).where(policy.seen_experiments(connection, reader)).distinct()
        seen = set(connection.execute(pinned).scalars())
    return [row for row in found if row["hash"] in seen]


def find_readable(database: Database, reader: Reader, protocol: str, version: str) -> dict[str, Any]:
    """One of these releases. Raises UnknownThing alike for one that is not and one they may not read."""
    found = [row for row in readable(database, reader) if (row["id"], row["version"]) == (protocol, version)]
    if not found:
        raise UnknownThing(Phrase("There is no {code} here that you may see.", code=f"{protocol} {version}"))
    return found[0]
