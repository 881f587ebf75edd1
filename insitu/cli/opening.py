"""What a command works on, and the options that every command has."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insitu.words import terminal_locale, word
from protocols.errors import InvalidInput
from protocols.strict_json import NotJson, read_json

if TYPE_CHECKING:
    from sites.database import Database
    from sites.ledger import Ledger
    from sites.settings import Settings

Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Where insitu keeps its data; else INSITU_HOME.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, the shapes of the REST API.")]
By = Annotated[str, typer.Option("--as", metavar="PERSON", help="The person who does it.")]
CommandId = Annotated[str | None, typer.Option("--command-id", metavar="ID", help="The same id again gives the first result.")]

# `--data` as given before the command's name.
given_first: ContextVar[Path | None] = ContextVar("given_first", default=None)


LONGEST_FILE = 200 * 1024**2  # bytes: twice the largest evidence


@dataclass
class Opened:
    """An installation: its settings, its database ready to use, and the language of this terminal."""

    settings: Settings
    locale: str

    @cached_property
    def database(self) -> Database:
        from sites.clock import SystemClock
        from sites.database import Database
        from sites.readiness import make_ready

        database = Database(self.settings.database_url)
        make_ready(database, SystemClock())
        return database

    @cached_property
    def ledger(self) -> Ledger:
        from sites.clock import SystemClock
        from sites.ledger import Ledger

        return Ledger(self.database, SystemClock())

    def text(self, message: str) -> str:
        """A message in this terminal's language; the catalogues are read only then."""
        from protocols.phrase import Phrase

        if self.locale == "en" or not isinstance(message, Phrase):
            return message
        from insitu.entrance.language import language

        return str(language(self.locale).text(message))

    def when_ready(self, stop: threading.Event, say: Callable[[str], None], limit_s: float = 120) -> None:
        """Wait until the database answers, a minute or two at most, or until `stop`: a machine may start insitu before its database.

        Raises DatabaseUnavailable then, and at once for whatever does not pass by itself.
        """
        from sites.readiness import wait_until_it_answers

        def said(why: str) -> None:
            say(self.word("waits_for_database", why=why, seconds=round(limit_s)))

        wait_until_it_answers(lambda: self.database, stop, said, limit_s)

    def word(self, key: str, **values: object) -> str:
        return word(key, self.locale, **values)


def opened(data: Path | None) -> Opened:
    """The installation in `--data`, given before or after the command's name, else where the environment says."""
    from sites.private import close_folder
    from sites.settings import Settings

    settings = Settings.load(data or given_first.get())
    close_folder(settings.data)
    return Opened(settings, terminal_locale())


def file_bytes(file: Path) -> bytes:
    """What a file holds, `-` being standard input. Raises InvalidInput when it cannot be read."""
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as reading:
            content = reading.read(LONGEST_FILE + 1)
    except OSError as error:
        raise InvalidInput(f"The file {file} cannot be read: {error.strerror}.") from None
    if len(content) > LONGEST_FILE:
        raise InvalidInput(f"The file {file} is larger than {LONGEST_FILE // 1024**2} MB, which nothing here is read from.")
    return content


def file_text(file: Path) -> str:
    """A UTF-8 file's text. Raises InvalidInput when it is not."""
    try:
        return file_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The file {file} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None


def answers_in(file: Path) -> dict[str, Any]:
    """The answers in a JSON file. Raises InvalidInput when it is not a JSON object."""
    try:
        found = read_json(file_text(file))
    except NotJson as error:
        raise InvalidInput(f"The file {file} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InvalidInput(f'The file {file} should be a JSON object, {{"field": answer, …}}, not {type(found).__name__}.')
    return found
