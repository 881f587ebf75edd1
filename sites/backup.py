"""The whole ledger in one file, for SQLite and PostgreSQL alike, and back, with a check of every row.

The file is a zip of JSON lines, one member a table, and a manifest that counts and hashes them. A table's digest does not depend on
the order of its rows, so that a restored table, read back from another kind of database, must give the same one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Date, LargeBinary, Table, func, insert, select, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlmodel import SQLModel

from protocols.errors import InsituError, InvalidInput, Refused
from sites.aftermath import end_ways_in, remember_replaced
from sites.clock import Clock, SystemClock
from sites.database import Database, table
from sites.journal import compact, verify_in
from sites.occupied import alone_on
from sites.older_backups import brought_up_to_date
from sites.readiness import revisions
from sites.tables import AccessRow, Document, Instant, Release
from sites.targets import MANIFEST, MARK, put_in_place, require_free
from sites.verification.findings import UNREADABLE

FORMAT = 1
BATCH = 500
Rows = Callable[[Table], Iterator[bytes]]
_RELEASE, _DOCUMENT, _ACCESS = table(Release), table(Document), table(AccessRow)


def backup(database: Database, file: Path, clock: Clock) -> dict[str, Any]:
    """Write the ledger as it is at one moment to `file`, which only its owner may read; others may go on writing meanwhile.

    Gives `{"file", "sha256", "rows", "tables", "revision", "made_at", "journal"}`; `sha256` is of the file, `journal` what `verify`
    says. The file appears whole or not at all, and replaces an older one. It holds names, addresses and channels' passwords.
    Raises InvalidInput where something else than a backup of insitu has that name, InsituError when the file cannot be written.
    """
    require_free(file)
    partial = file.with_name(f".{file.name}.{token_hex(4)}.partial")
    try:
        _begin_private(partial)
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            manifest = _write_archive(database, archive, clock)
        digest = _file_digest(partial)
        put_in_place(partial, file)
    except OSError as error:
        raise InsituError(f"The backup {file} cannot be written: {error.strerror or error}. The ledger is untouched.") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return _said(file, digest, manifest)


def restore(
    database: Database, file: Path, *, replace: bool = False, clock: Clock | None = None, beside: Path | None = None
) -> dict[str, Any]:
    """Put a backup in place of an empty ledger, or with `replace` of any: the shape of `backup`, after every row was read back.

    One of an older release is migrated on the way (`sites.older_backups`). Sessions, tokens and links end, who was shut out stays out, and
    what the replaced access journal knew since is kept in the folder `beside`, by default the database's own. All or nothing. Raises
    InvalidInput when the file is not a backup, was changed or is of a later release; Refused when the ledger is not empty, or anything
    runs on it; nothing is written then.
    """
    now = (clock or SystemClock()).now()
    with (
        _opened(file) as archive,
        alone_on(database),
        _in_todays_tables(archive, _checked_manifest(archive, file), file) as (rows, manifest),
    ):
        database.migrate()
        try:
            with database.write() as connection:
                _refuse_unfit(connection, replace)
                folder = beside or (database.file.parent if database.file else Path.cwd())
                replaced = remember_replaced(connection, _access_rows(rows), folder, now)
                _replace_rows(connection, rows)
                _check_rows(connection, manifest, file)
                about = {"backup": _file_digest(file), "made_at": manifest["made_at"]}
                end_ways_in(connection, replaced, now, about)
        except (IntegrityError, DataError) as error:
            raise InvalidInput(f"{file} holds rows this database refuses: {error.orig}. Nothing was restored.") from error
        except UNREADABLE as error:
            raise InvalidInput(f"{file} holds rows that insitu never wrote: {error}. Nothing was restored.") from error
    return _said(file, _file_digest(file), manifest)


def _said(file: Path, digest: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    tables = {name: about["rows"] for name, about in manifest["tables"].items()}
    told = {name: manifest[name] for name in ("revision", "made_at", "journal")}
    return {"file": str(file), "sha256": digest, "rows": sum(tables.values()), "tables": tables} | told


# ------------------------------------------------------------------ writing the file


def _begin_private(file: Path) -> None:
    """A new empty file that only its owner may read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _write_archive(database: Database, archive: zipfile.ZipFile, clock: Clock) -> dict[str, Any]:
    with database.read() as connection:
        manifest = {
            MARK: FORMAT,
            "revision": _revision(connection),
            "made_at": clock.now().isoformat(),
            "tables": {target.name: _write_table(connection, target, archive) for target in _tables()},
            "journal": verify_in(connection),
        }
    archive.writestr(MANIFEST, json.dumps(manifest, indent=2, sort_keys=True))
    return manifest


def _write_table(connection: Connection, target: Table, archive: zipfile.ZipFile) -> dict[str, Any]:
    digest = Digest()
    with archive.open(f"{target.name}.jsonl", "w", force_zip64=True) as member:
        for line in _lines(connection, target):
            digest.add(line)
            member.write(line + b"\n")
    return digest.about()


class Digest:
    """Counts lines and hashes them whatever their order."""

    def __init__(self) -> None:
        self._hashes: list[bytes] = []

    def add(self, line: bytes) -> None:
        self._hashes.append(hashlib.sha256(line).digest())

    def about(self) -> dict[str, Any]:
        return {"rows": len(self._hashes), "sha256": hashlib.sha256(b"".join(sorted(self._hashes))).hexdigest()}


def _about(lines: Iterator[bytes]) -> dict[str, Any]:
    digest = Digest()
    for line in lines:
        digest.add(line)
    return digest.about()


def _tables() -> list[Table]:
    """Every table, those that others refer to first."""
    return list(SQLModel.metadata.sorted_tables)


def _lines(connection: Connection, target: Table) -> Iterator[bytes]:
    rows = connection.execute(select(target), execution_options={"yield_per": BATCH}).mappings()
    return (compact({str(name): _written(value) for name, value in row.items()}).encode() for row in rows)


def _written(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _revision(connection: Connection) -> str:
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _file_digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# ------------------------------------------------------------------ reading it back


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    if file.exists() and not file.is_file():
        raise InvalidInput(f"{file} is not a backup of insitu: it is no file. Nothing was restored.")
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {file}.") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
        raise InvalidInput(f"{file} is not a backup of insitu, or is damaged: {error}. Nothing was restored.") from None
    except OSError as error:
        raise InvalidInput(f"The backup {file} cannot be read: {error.strerror or error}. Nothing was restored.") from error


def _checked_manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    """The manifest, once every member was found to be as it says."""
    try:
        manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
        known = manifest[MARK] == FORMAT
        tables = dict(manifest["tables"])
    except (KeyError, ValueError, TypeError, RecursionError):
        raise InvalidInput(f"{file} is not a backup of insitu: it has no manifest. Nothing was restored.") from None
    if not known:
        raise InvalidInput(f"{file} was made by a later release of insitu. Restore it with that release. Nothing was restored.")
    if manifest["revision"] not in (known := revisions()):
        raise InvalidInput(
            f"{file} has tables of revision {manifest['revision']}, this release knows up to {known[-1]}. "
            "Restore it with the release that made it. Nothing was restored."
        )
    if found := {MANIFEST, *(f"{name}.jsonl" for name in tables)} ^ set(archive.namelist()):
        raise InvalidInput(f"{file} was changed: {', '.join(sorted(found))}. Nothing was restored.")
    for name, about in tables.items():
        if _about(_members(archive, name)) != about:
            raise InvalidInput(f"{file} was changed: the table {name!r} is not what its manifest says. Nothing was restored.")
    return manifest


@contextmanager
def _in_todays_tables(archive: zipfile.ZipFile, manifest: Mapping[str, Any], file: Path) -> Iterator[tuple[Rows, Mapping[str, Any]]]:
    """The lines of each of today's tables, and the manifest with what these lines are."""
    if manifest["revision"] == revisions()[-1]:
        _refuse_other_tables(manifest, {target.name for target in _tables()}, file)
        yield lambda target: _members(archive, target.name), manifest
        return

    def fill(connection: Connection, then: Mapping[str, Table]) -> None:
        _refuse_other_tables(manifest, set(then), file)
        for target in then.values():
            _insert_rows(connection, target, _members(archive, target.name))
            _check_table(connection, target, manifest, file)

    with brought_up_to_date(manifest["revision"], fill) as connection:
        now = {target.name: _about(_lines(connection, target)) for target in _tables()}
        yield lambda target: _lines(connection, target), {**manifest, "tables": now}


def _refuse_other_tables(manifest: Mapping[str, Any], expected: set[str], file: Path) -> None:
    if found := expected ^ set(manifest["tables"]):
        raise InvalidInput(f"{file} was changed or is of another release: {', '.join(sorted(found))}. Nothing was restored.")


def _members(archive: zipfile.ZipFile, target: str) -> Iterator[bytes]:
    with archive.open(f"{target}.jsonl") as member:
        for line in member:
            yield line.rstrip(b"\n")


def _refuse_unfit(connection: Connection, replace: bool) -> None:
    # A fresh ledger already has the protocols of the library: they are in the backup too.
    kept = [target.name for target in _tables() if target.name != "protocol" and _count(connection, target)]
    if kept and not replace:
        raise Refused(f"The ledger is not empty ({', '.join(kept)}). Stop insitu, then restore with --replace to lose what it holds.")


def _access_rows(rows: Rows) -> Iterator[Mapping[str, Any]]:
    """The backup's access journal, in order: a table's lines have none of their own."""
    lines = (json.loads(line) for line in rows(_ACCESS))
    return iter(sorted(lines, key=lambda row: row["seq"]))


def _count(connection: Connection, target: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(target)).scalar_one())


def _replace_rows(connection: Connection, rows: Rows) -> None:
    if connection.dialect.name == "postgresql":
        names = ", ".join(f'"{target.name}"' for target in _tables())
        connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
    for target in reversed(_tables()):
        connection.execute(target.delete())
    for target in _tables():
        _insert_rows(connection, target, rows(target))
        _number_on(connection, target)


def _insert_rows(connection: Connection, target: Table, lines: Iterator[bytes]) -> None:
    rows = (_row(target, line) for line in lines)
    while batch := list(islice(rows, BATCH)):
        connection.execute(insert(target), batch)


def _row(target: Table, line: bytes) -> dict[str, Any]:
    return {name: _read(target, name, value) for name, value in json.loads(line).items()}


def _read(target: Table, name: str, value: Any) -> Any:
    kind = target.c[name].type
    if value is None:
        return None
    if isinstance(kind, Instant):
        return datetime.fromisoformat(value)
    if isinstance(kind, Date):
        return date.fromisoformat(value)
    return base64.b64decode(value) if isinstance(kind, LargeBinary) else value


def _number_on(connection: Connection, target: Table) -> None:
    """Let PostgreSQL number new rows after the restored ones; SQLite does so by itself."""
    if connection.dialect.name == "postgresql" and target.autoincrement_column is not None:
        name = target.autoincrement_column.name
        last = f'(SELECT max("{name}") FROM "{target.name}")'  # noqa: S608 -- our own tables' names
        sequence = f"pg_get_serial_sequence('\"{target.name}\"', '{name}')"
        connection.execute(text(f"SELECT setval({sequence}, coalesce({last}, 1), {last} IS NOT NULL)"))


def _check_table(connection: Connection, target: Table, manifest: Mapping[str, Any], file: Path) -> None:
    if _about(_lines(connection, target)) != manifest["tables"][target.name]:
        raise InsituError(f"The table {target.name!r} does not read back as it is in {file}. Nothing was restored.")


def _check_rows(connection: Connection, manifest: Mapping[str, Any], file: Path) -> None:
    for target in _tables():
        _check_table(connection, target, manifest, file)
    for target, content in ((_RELEASE, _RELEASE.c.content), (_DOCUMENT, _DOCUMENT.c.content)):
        for name, kept in connection.execute(select(target.c.hash, content), execution_options={"yield_per": BATCH}):
            if hashlib.sha256(kept if isinstance(kept, bytes) else kept.encode()).hexdigest() != name:
                raise InvalidInput(f"In {file}, {target.name} {name} does not match its hash. Nothing was restored.")
    if (found := verify_in(connection)) != manifest["journal"]:
        raise InvalidInput(f"The journal in {file} does not verify as it did: {found['first_bad']}. Nothing was restored.")
