"""The command line's own help as one page: `python -m insitu.cli.manual` writes docs/reference/commands.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from insitu.cli.app import app

HEAD = """# Commands

<!-- Written by `python -m insitu.cli.manual`; a test compares. -->

Exit status: 0 done; 2 wrong use or invalid input; 3 refused by a rule; 1 anything else. Errors go to standard error.
`--data` may stand before or after the command's name. Words are French or English as `INSITU_LOCALE`, `LC_ALL`, `LC_MESSAGES`
or `LANG` say; messages about a checkpoint are in the acting person's language.
"""
WIDTH = 100


def manual() -> str:
    """The page: every command with its help, in the order of `insitu --help`."""
    return HEAD + "".join(_sections(typer.main.get_command(app), "insitu", None))


def _sections(command: Any, name: str, parent: Any) -> Iterator[str]:
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH} | command.context_settings
    context = command.context_class(command, info_name=name, parent=parent, **settings)
    yield f"\n## {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    for inner, found in getattr(command, "commands", {}).items():
        yield from _sections(found, inner, context)


if __name__ == "__main__":
    typer.echo(manual(), nl=False)
