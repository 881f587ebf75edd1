"""The SQLite file of insitu's own Prefect server. It holds a picture only: one that cannot be read is set aside and drawn anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

LATER_PREFECT = "Can't locate revision identified by"  # what its migrations say of tables that a later release made


def damage(file: Path) -> str:
    """Why SQLite cannot read the file; "" when it can, or when there is none, or when it cannot be told now (locked, no rights)."""
    if not file.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=1)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else str(found).partition("\n")[0]


def set_aside(file: Path, at: datetime) -> Path:
    """Rename the file and what belongs to it, dated; returns the new name."""
    kept = file.with_name(f"{file.name}.unreadable-{at:%Y%m%dT%H%M%SZ}")
    for ending in ("-wal", "-shm", ""):
        part = file.with_name(file.name + ending)
        if part.exists():
            part.rename(kept.with_name(kept.name + ending))
    return kept
