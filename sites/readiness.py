"""A database ready to use: its tables at this release's revision, the library's protocols in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.resources import files
from time import monotonic

from sqlalchemy import inspect, select
from sqlalchemy.sql import column
from sqlalchemy.sql import table as named

from protocols.errors import DatabaseUnavailable
from protocols.phrase import Phrase
from sites.clock import Clock
from sites.database import Database
from sites.trouble import passes

LOOK_AGAIN_S = 1.0


def make_ready(database: Database, clock: Clock) -> bool:
    """Bring the tables up to date and release the library when they are behind; whether they were.

    Costs one SELECT when nothing is to do. Raises DatabaseUnavailable when a later release of insitu has been here.
    """
    known, present = revisions(), revision_of(database)
    if present == known[-1]:
        return False
    if present and present not in known:
        raise DatabaseUnavailable(
            Phrase(
                "The database has tables of revision {present}, this release of insitu knows up to {known}. Use the later release.",
                present=present,
                known=known[-1],
            )
        )
    from sites.releases import add_library  # the protocols' parser and lint take half a second

    database.migrate()
    add_library(database, clock)
    return True


def wait_until_it_answers(ready: Callable[[], object], stop: threading.Event, say: Callable[[str], None], limit_s: float) -> None:
    """Try `ready` until it raises no more, or until `stop`; `say` hears once why it waits.

    Raises DatabaseUnavailable after `limit_s`, and at once where waiting does not help: a damaged file, a later release's tables.
    """
    until, told = monotonic() + limit_s, False
    while not stop.is_set():
        try:
            ready()
            return
        except DatabaseUnavailable as error:
            if not passes(error) or monotonic() >= until:
                raise
            if not told:
                say(str(error))
                told = True
            stop.wait(LOOK_AGAIN_S)


def revisions() -> list[str]:
    """The revisions this release knows, oldest first, read from the names of their files: Alembic is slow to import."""
    names = (entry.name for entry in (files("sites") / "migrations" / "versions").iterdir())
    return sorted(name.partition("_")[0] for name in names if name[0].isdigit() and name.endswith(".py"))


def revision_of(database: Database) -> str:
    """The revision of the tables, "" when there are none yet."""
    if database.file and not database.file.exists():
        return ""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.execute(select(column("version_num")).select_from(named("alembic_version"))).scalar() or "")
