"""The program `insitu`: its commands, and what becomes of an error."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from insitu.cli import account, checkpoint, experiment, keeping, prefect, protocol, qualification, registry, services
from insitu.cli.opening import Data, given_first
from insitu.words import terminal_locale
from protocols.errors import InsituError, InvalidInput
from protocols.phrase import Phrase


class Door(TyperGroup):
    """Turns an error a user can meet into a sentence on standard error and its exit status: never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InsituError as error:
            typer.echo(_said(error), err=True)
            raise typer.Exit(error.exit_status) from None


def _said(error: InsituError) -> str:
    """The error in the terminal's language; the catalogues are read only then."""
    message = error.args[0] if error.args else str(error)
    if terminal_locale() == "en" or not isinstance(message, Phrase):
        return str(error)
    from insitu.entrance.language import language

    return language(terminal_locale()).text(message)


# Plain errors and help: they start in half the time, and are the same in a terminal and in a log.
app = typer.Typer(
    cls=Door,
    help="Run experimentation protocols for digital-health solutions in real care settings.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"insitu {version('insitu')}")
        raise typer.Exit


@app.callback()
def insitu(
    data: Data = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """Run experimentation protocols for digital-health solutions in real care settings."""
    given_first.set(data)


services.add_to(app)
for group in (protocol.app, registry.site_app, registry.person_app, *qualification.apps, account.app, checkpoint.app, prefect.app):
    app.add_typer(group)
registry.add_to(app)
experiment.add_to(app)
checkpoint.add_to(app)
keeping.add_to(app)


def main() -> None:
    """The entry point of the program."""
    os.umask(0o077)  # whatever insitu and what it starts write, logs and Prefect's files among it, is for its own account only
    # Importing allocates objects that never die; looking for dead ones all the while costs a tenth of a short command's time.
    gc.set_threshold(100_000, 10, 10)
    if unread := next((word for word in sys.argv[1:] if not _is_text(word)), None):
        word = ascii(unread.encode(errors="surrogateescape"))
        said = Phrase("{word} is not UTF-8 text. Set the terminal to UTF-8 and type it again.", word=word)
        typer.echo(_said(InvalidInput(said)), err=True)
        raise SystemExit(InvalidInput.exit_status)
    app(prog_name="insitu")


def _is_text(word: str) -> bool:
    """Whether a word of the command line came in the terminal's encoding; what did not is kept by Python as half characters."""
    return not any("\ud800" <= character <= "\udfff" for character in word)
