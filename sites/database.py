"""The database: SQLite by default, PostgreSQL for a hospital; one write, one transaction."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import SQLModel

from protocols.errors import DatabaseUnavailable, InvalidInput
from protocols.phrase import Phrase
from sites.folding import teach_sqlite

try:
    import fcntl
except ImportError:  # not on this system: SQLite's own waiting does
    fcntl = None  # type: ignore[assignment]

LOCK_TIMEOUT_S = 30


def table(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table of a model, for statements that need no objects."""
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


def inserted_once(dialect: str, into: Table) -> Any:
    """An INSERT that leaves a row alone where its key is there already."""
    statement = (sqlite_insert if dialect == "sqlite" else postgresql_insert)(into).on_conflict_do_nothing()
    # Without it, whether a row went in is not known on PostgreSQL: the count is -1.
    return statement.execution_options(preserve_rowcount=True)


def upserted(dialect: str, into: Table, row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """An INSERT of a row that, where its `keys` are there already, puts the other columns in their place."""
    statement = (sqlite_insert if dialect == "sqlite" else postgresql_insert)(into).values(dict(row))
    return statement.on_conflict_do_update(index_elements=keys, set_={name: value for name, value in row.items() if name not in keys})


class Database:
    """A database by its address, such as `sqlite:///insitu.db` or `postgresql+psycopg://user@host/insitu`."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.dialect = make_url(url).get_backend_name()
        except Exception as error:
            raise InvalidInput(
                f"INSITU_DATABASE_URL {url!r} is not a database address; use sqlite:///FILE or postgresql+psycopg://…"
            ) from error
        if self.dialect not in ("sqlite", "postgresql"):
            raise InvalidInput(f"insitu keeps its state in SQLite or PostgreSQL, not in {self.dialect!r}.")

    @property
    def is_sqlite(self) -> bool:
        return self.dialect == "sqlite"

    @property
    def file(self) -> Path | None:
        """The SQLite file, None for a server."""
        name = make_url(self.url).database
        return Path(name) if self.is_sqlite and name else None

    @cached_property
    def engine(self) -> Engine:
        if self.file:
            self._make_folder(self.file.parent)
        if not self.is_sqlite:
            url = make_url(self.url).set(drivername="postgresql+psycopg")
            options = {} if "options" in url.query else {"options": f"-c lock_timeout={LOCK_TIMEOUT_S}s"}
            return create_engine(
                url,
                connect_args=options,
                pool_size=10,
                json_serializer=_compact_json,
                json_deserializer=orjson.loads,
            )
        engine = create_engine(
            self.url,
            connect_args={"timeout": LOCK_TIMEOUT_S, "check_same_thread": False},
            pool_size=10,
            max_overflow=20,
            json_serializer=_compact_json,
            json_deserializer=orjson.loads,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(f"The folder {folder} cannot be made: {error.strerror}. Choose another with --data.") from error

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to the present version, or to an earlier one that a backup has; nothing happens when they are."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", "sites:migrations")
        with self.write() as connection:
            queue_up(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; what it sees is one moment's state."""
        with self._explained(), self._reader.connect() as connection, connection.begin():
            self._begin(connection, "BEGIN")
            yield connection

    @cached_property
    def _reader(self) -> Engine:
        # PostgreSQL would let each statement see another moment.
        return self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside one transaction, committed at the end, rolled back on any error.

        On SQLite it holds the write lock from the start, so what it read cannot change before it writes.
        Raises DatabaseUnavailable when the disk is full, the file read-only or locked, or the server away: nothing is written then.
        """
        with self._explained(), self._queue, self.engine.connect() as connection, connection.begin():
            self._begin(connection, "BEGIN IMMEDIATE")
            yield connection

    def _begin(self, connection: Connection, how: str) -> None:
        # Said here and not by an engine event: a single such event makes every statement look for listeners.
        if self.is_sqlite:
            driver: Any = connection.connection.driver_connection
            driver.execute(how)

    @cached_property
    def _queue(self) -> AbstractContextManager[None]:
        """Where writers wait their turn: on SQLite beside the file, on PostgreSQL in the server."""
        return WriterQueue(self.file) if self.file else nullcontext()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, sqlite3.OperationalError, PoolTimeout) as error:
            raise DatabaseUnavailable(_explanation(self, error)) from error
        except (DBAPIError, sqlite3.DatabaseError) as error:
            cause = getattr(error, "orig", error)
            if "NUL (0x00)" in str(cause):  # PostgreSQL keeps every character but this one
                raise InvalidInput(Phrase("The text holds a null character; remove it and send it again.")) from error
            if getattr(error, "connection_invalidated", False) or type(cause) is sqlite3.DatabaseError or "read-only" in str(cause):
                raise DatabaseUnavailable(_explanation(self, error)) from error
            raise

    def dispose(self) -> None:
        """Close every connection."""
        if "engine" in self.__dict__:
            self.engine.dispose()


def queue_up(connection: Connection) -> None:
    """Wait until no other such transaction is under way. On SQLite every writer has waited already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(20261122)"))


class WriterQueue(AbstractContextManager[None]):
    """Lets one writer of an SQLite file in at a time, and wakes the next at once.

    SQLite itself makes writers sleep and try again: with 8 of them the unlucky waited for seconds (docs/performance.md). The lock is the
    kernel's and dies with its process. SQLite's own locks still guard the file: without this queue writing is slower, never wrong.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".queue")
        self._threads = threading.Lock()
        self._file: int | None = None

    def __enter__(self) -> None:
        if not self._threads.acquire(timeout=LOCK_TIMEOUT_S):
            raise sqlite3.OperationalError("database is locked")
        try:
            if fcntl:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666) if self._file is None else self._file
                fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:  # no room or no right for the queue's file: what SQLite then says of its own is clearer
            pass
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        if fcntl and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


def _compact_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling starts them late and as readers; `Database._begin` starts them as asked.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={LOCK_TIMEOUT_S * 1000}", "cache_size=-16000"):
        connection.execute(f"PRAGMA {pragma}")
    teach_sqlite(connection)


def _explanation(database: Database, error: Exception) -> str:
    cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    where = f"The database {database.file}" if database.file else "The database server"
    known = {
        "database or disk is full": f"{where} cannot grow: the disk is full. Free some space and try again.",
        "readonly": f"{where} is read-only. Make the file and its folder writable and try again.",
        "read-only": f"{where} is read-only. Make it writable and try again.",
        "locked": f"{where} stayed locked for {LOCK_TIMEOUT_S} s by another program. Try again; if it lasts, find what holds it.",
        "not a database": f"{where} is not one of insitu's, or it is damaged. Check the address, or restore a backup.",
        "malformed": f"{where} is damaged. Restore a backup with `insitu restore`.",
        "QueuePool": f"{where} is busy: no connection came free in time. Try again.",
        "lock timeout": f"{where} stayed locked for {LOCK_TIMEOUT_S} s by another program. Try again; if it lasts, find what holds it.",
        "no such table": f"{where} has no tables yet. Run `insitu up`, or any command that writes, once.",
        "unable to open": f"{where} cannot be opened. Check that its folder exists and is yours to write.",
    }
    said = next((sentence for sign, sentence in known.items() if sign in cause), f"{where} cannot be used: {cause}.")
    return f"{said} Nothing was written."


def is_alive(database: Database) -> bool:
    """Whether the database answers."""
    try:
        with database.read() as connection:
            connection.execute(text("SELECT 1"))
    except DatabaseUnavailable:
        return False
    return True
