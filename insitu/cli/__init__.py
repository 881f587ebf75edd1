"""The command line: one file a noun, all of it read by `main`. Nothing slow is imported before a command needs it."""

from insitu.cli.app import app, main

__all__ = ["app", "main"]
