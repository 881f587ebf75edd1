"""Where protocols are used, as far as a reader sees it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from sites import policy
from sites.database import Database, table
from sites.tables import Experiment, ExperimentSite

_EXPERIMENT, _SITE = table(Experiment), table(ExperimentSite)


def uses(database: Database, reader: policy.Reader) -> dict[str, dict[str, Any]]:
    """By the hash of each protocol used in an experiment that the reader sees: `experiments` (how many), `sites` (codes they see)."""
    with database.read() as connection:
        seen = policy.seen_experiments(connection, reader)
        counted = select(_EXPERIMENT.c.protocol, func.count().label("count")).where(seen).group_by(_EXPERIMENT.c.protocol)
        found: dict[str, dict[str, Any]] = {
            row["protocol"]: {"experiments": row["count"], "sites": []} for row in connection.execute(counted).mappings().all()
        }
        where = (
            select(_EXPERIMENT.c.protocol, _SITE.c.site)
            .join_from(_SITE, _EXPERIMENT, _EXPERIMENT.c.id == _SITE.c.experiment_id)
            .where(seen, policy.seen_rows(connection, reader, _SITE.c.site))
            .group_by(_EXPERIMENT.c.protocol, _SITE.c.site)
            .order_by(_SITE.c.site)
        )
        for row in connection.execute(where):
            found[row.protocol]["sites"].append(row.site)
    return found
