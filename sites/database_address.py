"""The address of a database: read, completed for PostgreSQL, and never shown with what is secret in it."""

from __future__ import annotations

import re

from sqlalchemy import URL
from sqlalchemy.engine import make_url

from protocols.errors import InvalidInput
from protocols.phrase import Phrase

# How a session speaks, whatever the server's, the database's or the role's own settings say: times and texts are read by these.
SPEAKS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
}
# A writer that hangs inside a transaction is cut off by the server, and what it held is free again.
IDLE_S = 60
CONNECT_S = 3


def as_address(url: str) -> URL:
    """The address of a database of a kind that insitu knows. Raises InvalidInput, which never shows it: a password stands in it."""
    try:
        address = make_url(url)
        dialect = address.get_backend_name()
    except Exception:  # noqa: BLE001 -- whatever it stumbled on, its own message quotes the address
        raise InvalidInput(
            Phrase(
                "INSITU_DATABASE_URL is not a database address{begins}; use sqlite:///FILE or postgresql+psycopg://…", begins=_begins(url)
            )
        ) from None
    if dialect not in ("sqlite", "postgresql"):
        raise InvalidInput(Phrase("insitu keeps its state in SQLite or PostgreSQL, not in {dialect!r}.", dialect=dialect))
    if "@" in (address.host or ""):
        raise InvalidInput(
            Phrase("INSITU_DATABASE_URL has more than one “@”: write those within the user's name or the password as %40, and “/” as %2F.")
        )
    return address


def _begins(url: str) -> Phrase | str:
    """What the address begins with, as far as that can hold no secret."""
    found = re.match(r"[a-z][a-z0-9+]{0,30}(?=:/)", url)
    return Phrase(" (it begins with {scheme}:)", scheme=found[0]) if found else ""


def as_postgresql(address: URL, lock_timeout_s: float) -> URL:
    """The address of a PostgreSQL database with all that a session of ours says at its start; its own `options` are kept."""
    given = address.query.get("options", ())
    ours = {"lock_timeout": f"{round(lock_timeout_s)}s", "idle_in_transaction_session_timeout": f"{IDLE_S}s"}
    options = [*_said(ours), *([given] if isinstance(given, str) else given), *_said(SPEAKS)]
    defaults = {"connect_timeout": str(CONNECT_S), "application_name": "insitu"}
    query = defaults | dict(address.query) | {"options": " ".join(options)}
    whole = address.set(drivername="postgresql+psycopg", query=query)
    _check(whole)
    return whole


def _said(settings: dict[str, str]) -> list[str]:
    return [f"-c {name}={value}" for name, value in settings.items()]


def _check(address: URL) -> None:
    """Raise InvalidInput for an option after the `?` that the driver does not know."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import make_conninfo
    except ImportError:
        return
    try:
        make_conninfo("", **{name: value for name, value in address.query.items() if isinstance(value, str)})
    except ProgrammingError as error:
        raise InvalidInput(Phrase("INSITU_DATABASE_URL cannot be used: {why}.", why=str(error).strip())) from None
