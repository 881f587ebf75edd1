"""The installation that commit d13b6e1 left behind, on either kind of database (tests/sites/old/README.md)."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from sites.database import Database

FOLDER = Path(__file__).parent / "old"


def expected(kind: str) -> dict[str, Any]:
    """What its own commands said of it: `backup`, `verify`, `experiments` (with `state`, `seq`, `head`), `access`, `protocols`."""
    return dict(json.loads((FOLDER / f"{kind}.json").read_text("utf-8")))


def backup_file(kind: str) -> Path:
    return FOLDER / f"{kind}.zip"


def unpack_sqlite(file: Path) -> Database:
    """The old database file, as it was."""
    file.write_bytes(lzma.decompress((FOLDER / "sqlite.db.xz").read_bytes()))
    return Database(f"sqlite:///{file}")


def unpack_postgresql(url: str) -> Database:
    """The old tables in an empty PostgreSQL database."""
    dump = lzma.decompress((FOLDER / "postgresql.sql.xz").read_bytes()).decode()
    script = "\n".join(line for line in dump.splitlines() if not line.startswith("\\"))  # psql's own commands
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(script.encode())
    return Database(url)
