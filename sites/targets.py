"""Where a backup may be written: never over a file that is not a backup of insitu, nor where insitu or SQLite would take it for theirs."""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

from protocols.errors import InvalidInput
from protocols.phrase import Phrase
from sites.private import BESIDE, LOCKS

MANIFEST = "manifest.json"
MARK = "insitu_backup"
# Names that insitu gives to files of its own; one that is not there yet would be taken for the real one.
OWN_NAMES = frozenset(
    (
        *("insitu.db", "key", "up.lock", "address", "prefect", "prefect.db", "password"),
        *("anchor-key", "anchor-key.next", "anchors", "anchors.jsonl", "leaves", "lock"),
    )
)
OWN_ENDS = (*BESIDE, *LOCKS, ".lock")


def is_backup(file: Path) -> bool:
    """Whether a file is a backup of insitu, by its manifest."""
    try:
        with zipfile.ZipFile(file) as archive:
            return MARK in json.loads(archive.read(MANIFEST))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, RuntimeError, NotImplementedError):
        return False


def require_free(file: Path) -> None:
    """Raise InvalidInput unless a backup may be written to `file`: to a new one, or in place of an older backup."""
    if os.path.lexists(file):
        if not (file.is_file() and is_backup(file)):
            raise InvalidInput(
                Phrase("{file} is there already, and is not a backup of insitu. Nothing was written; choose another name.", file=str(file))
            )
    elif file.name.casefold() in OWN_NAMES or file.name.casefold().endswith(OWN_ENDS):  # some disks fold capitals
        raise InvalidInput(
            Phrase(
                "{file} is a name of insitu's own files. Nothing was written; choose another, such as {example}.",
                file=str(file),
                example="monday.zip",
            )
        )


def put_in_place(partial: Path, file: Path) -> None:
    """Give a file that was written whole its name. Raises InvalidInput when something else took the name meanwhile."""
    if not os.path.lexists(file):
        with suppress(OSError):  # a disk without links, or somebody was first
            os.link(partial, file, follow_symlinks=False)
            return
    require_free(file)
    os.replace(partial, file)
