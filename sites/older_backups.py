"""A backup that an older release made, brought to today's tables.

Its rows are put into a database of their own with the tables of that time, and migrated there as the ledger itself would have been: there
is one way from old tables to new ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, DateTime, MetaData, Table

from sites.database import Database
from sites.tables import Instant


@contextmanager
def brought_up_to_date(revision: str, fill: Callable[[Connection, Mapping[str, Table]], None]) -> Iterator[Connection]:
    """A connection to read a backup's rows in today's tables, gone when the block ends; `fill` puts them into those of its revision."""
    # A folder that only its owner may read: it holds what the backup holds.
    with tempfile.TemporaryDirectory(prefix="insitu-restore-") as folder:
        database = Database(f"sqlite:///{Path(folder) / 'older.db'}")
        try:
            database.migrate(revision)
            with database.write() as connection:
                fill(connection, _tables_in(connection))
            database.migrate()
            with database.read() as connection:
                yield connection
        finally:
            database.dispose()


def _tables_in(connection: Connection) -> dict[str, Table]:
    """The tables that are there, those that others refer to first, with times as insitu keeps them."""
    found = MetaData()
    found.reflect(connection)
    for column in (column for one in found.tables.values() for column in one.columns):
        if isinstance(column.type, DateTime):
            column.type = Instant()
    return {one.name: one for one in found.sorted_tables if one.name != "alembic_version"}
