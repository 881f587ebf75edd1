"""The database: SQLite by default, PostgreSQL for a hospital; one write, one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from protocols.errors import DatabaseUnavailable, InvalidInput
from protocols.phrase import Phrase
from sites.database_address import as_address, as_postgresql
from sites.folding import teach_sqlite
from sites.private import close_database, make_file, make_folder
from sites.trouble import UNCERTAIN, Trouble, disk_trouble, explained, on_this_disk, trouble_of
from sites.turns import WriterQueue

LOCK_TIMEOUT_S = 30.0
HURRIED_S = 0.8  # somebody sits and waits: with what else a request does, they hear within a second
IN_PASSING_S = 0.02
STUCK_S = 0.05  # while a writer hangs: threads that all waited their time out for it would leave none to read with

_patience: ContextVar[float] = ContextVar("patience", default=LOCK_TIMEOUT_S)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Within this block whoever finds the database locked gives up after so many seconds; work in the background waits half a minute."""
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


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
        self._address = as_address(url)
        self.dialect = self._address.get_backend_name()
        self.trouble: Trouble | None = None  # what the last write met; None since one went well
        self._is_stuck = False

    @property
    def is_sqlite(self) -> bool:
        return self.dialect == "sqlite"

    @property
    def file(self) -> Path | None:
        """The SQLite file, None for a server."""
        name = self._address.database
        return Path(name) if self.is_sqlite and name else None

    @cached_property
    def engine(self) -> Engine:
        file = self.file
        if file is None:
            return self._engine(as_postgresql(self._address, LOCK_TIMEOUT_S), pool_size=10)
        make_folder(file.parent)
        make_file(file)
        close_database(file)
        connecting = {"timeout": LOCK_TIMEOUT_S, "check_same_thread": False}
        engine = self._engine(self._address, connect_args=connecting, pool_size=10, max_overflow=20)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine

    def _engine(self, url: str | URL, **options: Any) -> Engine:
        try:
            return create_engine(url, json_serializer=_compact_json, json_deserializer=orjson.loads, **options)
        except ModuleNotFoundError as error:
            raise InvalidInput(
                f"PostgreSQL needs its driver, which is not installed ({error.name}): pip install 'insitu[postgresql]'."
            ) from None

    @cached_property
    def _apart(self) -> Engine:
        """Connections that need no room on the disk, for reading where SQLite cannot make the file that its readers share."""
        assert self.file is not None, "only a file can be read so"
        file = self.file
        engine = self._engine("sqlite://", creator=lambda: on_this_disk(file), poolclass=NullPool)
        event.listen(engine, "connect", lambda connection, _record: teach_sqlite(connection))
        return engine

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
        """A connection to read with; what it sees is one moment's state. It waits for no writer, and needs no room on a full disk."""
        with self._explained(Phrase("Nothing was read.")), self._reading() as connection, connection.begin():
            self._begin(connection, "BEGIN")
            yield connection

    @cached_property
    def _reader(self) -> Engine:
        # PostgreSQL would let each statement see another moment.
        return self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _reading(self) -> Connection:
        try:
            return self._reader.connect()
        except OperationalError as error:
            if self.file and trouble_of(error, self.file) in (Trouble.FULL, Trouble.READ_ONLY):
                return self._apart.connect()
            raise

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside one transaction, committed at the end, rolled back on any error.

        On SQLite it holds the write lock from the start, so what it read cannot change before it writes.
        Raises DatabaseUnavailable when the disk is full, the file read-only or locked, or the server away: nothing is written then.
        """
        with self._watched(), self._turn() as patience_s, self.engine.connect() as connection, connection.begin() as transaction:
            self._begin(connection, "BEGIN IMMEDIATE", patience_s)
            self._is_stuck = False
            yield connection
            with _certain():
                transaction.commit()

    def write_in_passing(self, write: Callable[[Connection], object]) -> bool:
        """Do a small write that somebody who only reads would leave behind, such as when they were seen; whether it was done.

        It is left out where the database cannot take it at once: no read waits or fails for it.
        """
        try:
            with waiting_at_most(IN_PASSING_S), self.write() as connection:
                write(connection)
        except DatabaseUnavailable:
            return False
        return True

    def _begin(self, connection: Connection, how: str, patience_s: float | None = None) -> None:
        # Said here and not by an engine event: a single such event makes every statement look for listeners.
        wished = self._patience_s() if patience_s is None else patience_s
        if not self.is_sqlite:
            if patience_s is not None and wished < LOCK_TIMEOUT_S:
                connection.execute(text(f"SET LOCAL lock_timeout = {round(wished * 1000)}"))
            return
        driver: Any = connection.connection.driver_connection
        wished_ms, known = round(wished * 1000), connection.info
        if wished_ms != known.get("busy_timeout", LOCK_TIMEOUT_S * 1000):
            driver.execute(f"PRAGMA busy_timeout={wished_ms}")
            known["busy_timeout"] = wished_ms
        driver.execute(how)

    def _patience_s(self) -> float:
        wished = _patience.get()
        return min(wished, STUCK_S) if self._is_stuck and wished <= HURRIED_S else wished

    @contextmanager
    def _turn(self) -> Iterator[float]:
        """Where writers wait: on SQLite in a queue beside the file, on PostgreSQL in the server. Gives the patience left."""
        if self._queue is None:
            yield self._patience_s()
            return
        with self._queue.turn(self._patience_s()) as left_s:
            yield left_s

    @cached_property
    def _queue(self) -> WriterQueue | None:
        self.engine  # noqa: B018 -- it makes the folder that the queue's file stands in
        return WriterQueue(self.file.resolve()) if self.file else None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Remember what a write met, for whoever asks how the database is."""
        began = monotonic()
        try:
            with self._explained(Phrase("Nothing was written.")):
                yield
        except DatabaseUnavailable as error:
            cause = error.__cause__ or error
            found = trouble_of(cause, self.file)
            waited_long = monotonic() - began >= HURRIED_S * 0.8
            self._is_stuck = self._is_stuck or (found is Trouble.LOCKED and waited_long)
            if found is not Trouble.LOCKED or waited_long:
                self.trouble = found
            raise
        self.trouble = None

    @contextmanager
    def _explained(self, so: str) -> Iterator[None]:
        try:
            yield
        except (OperationalError, sqlite3.OperationalError, PoolTimeout) as error:
            raise DatabaseUnavailable(explained(error, self.file, self._patience_s(), so)) from error
        except (DBAPIError, sqlite3.DatabaseError) as error:
            cause = getattr(error, "orig", error)
            if "NUL (0x00)" in str(cause):  # PostgreSQL keeps every character but this one
                raise InvalidInput(Phrase("The text holds a null character; remove it and send it again.")) from error
            if getattr(error, "connection_invalidated", False) or type(cause) is sqlite3.DatabaseError or "read-only" in str(cause):
                raise DatabaseUnavailable(explained(error, self.file, self._patience_s(), so)) from error
            raise

    def dispose(self) -> None:
        """Close every connection."""
        if "engine" in self.__dict__:
            self.engine.dispose()


@contextmanager
def _certain() -> Iterator[None]:
    """A commit that the server did not answer may have been carried out: it is not said that nothing was written."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable(UNCERTAIN) from error
        raise


def queue_up(connection: Connection) -> None:
    """Wait until no other such transaction is under way. On SQLite every writer has waited already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(20261122)"))


def _compact_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling starts them late and as readers; `Database._begin` starts them as asked.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={round(LOCK_TIMEOUT_S * 1000)}",
        "cache_size=-16000",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    teach_sqlite(connection)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a database is: whether it can be read, and what keeps it from being written, None where nothing does."""

    can_read: bool
    trouble: Trouble | None = None


def condition(database: Database) -> Condition:
    """How the database is now, found within a second where it answers at all."""
    try:
        with waiting_at_most(HURRIED_S), database.read() as connection:
            if not database.is_sqlite:
                standby = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool"
                is_frozen = bool(connection.execute(text(standby)).scalar())
                return Condition(True, Trouble.READ_ONLY if is_frozen else database.trouble if database.trouble is Trouble.FULL else None)
            connection.execute(text("SELECT count(*) FROM sqlite_schema"))
    except DatabaseUnavailable as error:
        return Condition(False, trouble_of(error.__cause__ or error, database.file))
    if database.file and (found := disk_trouble(database.file)):
        return Condition(True, found)
    try:
        with waiting_at_most(HURRIED_S / 2), database.write():
            return Condition(True)
    except DatabaseUnavailable as error:
        return Condition(True, trouble_of(error.__cause__ or error, database.file))


def is_alive(database: Database) -> bool:
    """Whether the database answers."""
    return condition(database).can_read
