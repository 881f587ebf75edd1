"""Files and folders that no other account of the machine can open: 0600 and 0700, whatever the umask, also where they were made wider."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from protocols.errors import DatabaseUnavailable

OTHERS = 0o077
# What SQLite puts beside a database.
BESIDE = ("-wal", "-shm", "-journal")
# What we put there to lock. It is not closed but made anew: whoever had opened it before could still hold it.
LOCKS = (".queue", ".running")

log = logging.getLogger("insitu.store")


def make_folder(folder: Path) -> None:
    """A folder that only its owner can enter; one that is there already stays as it is. Raises DatabaseUnavailable."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(0o700)
            folder.chmod(0o700)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise DatabaseUnavailable(f"The folder {folder} cannot be made: {error.strerror}. Choose another with --data.") from error


def make_file(file: Path) -> None:
    """An empty file of our own, unless there is one; whatever hinders it is left to whoever opens it next, and says it better."""
    with suppress(OSError):
        made = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(made, 0o600)
        finally:
            os.close(made)


def close_folder(folder: Path) -> None:
    """Close an installation's folder and what insitu keeps in it to other accounts; what cannot be closed is said in the log."""
    if not folder.is_dir():
        return
    if is_shared(folder):
        log.warning("%s is not insitu's alone, and stays open to other accounts of this machine. Choose another with --data.", folder)
    else:
        close_off(folder, 0o700)
    for file in _kept_in(folder):
        close_off(file, 0o700 if file.is_dir() else 0o600)


def is_shared(folder: Path) -> bool:
    """Whether a folder serves for more than insitu, so that closing it would shut others out: /tmp, a home, the root."""
    home = {Path.home()} if "HOME" in os.environ else set()
    return folder in {Path(folder.anchor), *home} or bool(folder.stat().st_mode & stat.S_ISVTX)


def _kept_in(folder: Path) -> Iterator[Path]:
    for pattern in ("insitu.db*", "key", "up.lock"):
        yield from (file for file in folder.glob(pattern) if not file.name.endswith(LOCKS))
    prefect = folder / "prefect"
    if prefect.is_dir() and prefect.stat().st_mode & OTHERS:  # the first time only
        yield from (file for file in prefect.rglob("*") if not file.is_symlink())
        yield prefect


def close_database(file: Path) -> None:
    """Close a database's file, and what stands beside it, to other accounts."""
    whole = file.resolve()
    for one in (whole, *(whole.with_name(whole.name + end) for end in BESIDE)):
        close_off(one, 0o600)


def close_off(path: Path, mode: int) -> None:
    """Take from other accounts whatever they may do with a file or a folder; a word in the log where that fails."""
    try:
        about = path.lstat()
        if not about.st_mode & OTHERS or stat.S_ISLNK(about.st_mode):
            return
        path.chmod(mode & about.st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s is open to other accounts of this machine, and cannot be closed: %s.", path, error.strerror or error)


def opened_alone(file: Path, beside: Path) -> int:
    """The descriptor of a file to lock, that nobody but us can open and so nobody else can hold; it is made where there is none.

    One that was open to others is made anew: who has it open already holds another. Run by root, it belongs to the owner of `beside`.
    Raises OSError, also for a file of another account.
    """
    found = _opened(file, beside)
    if found is None:
        with suppress(FileNotFoundError):
            file.unlink()
        found = _opened(file, beside)
    if found is None:
        raise PermissionError(errno.EPERM, "it is open to other accounts", str(file))
    return found


def _opened(file: Path, beside: Path) -> int | None:
    """The descriptor; None, and nothing kept open, when others may open the file."""
    opened = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        about, ours = os.fstat(opened), os.geteuid()
        owner = _owner(beside, ours)
        if about.st_uid not in (ours, owner) or not stat.S_ISREG(about.st_mode):
            raise PermissionError(errno.EPERM, "it belongs to another account", str(file))
        if about.st_mode & OTHERS:
            os.close(opened)
            return None
        if about.st_uid != owner:
            os.fchown(opened, owner, -1)
    except BaseException:
        with suppress(OSError):
            os.close(opened)
        raise
    return opened


def _owner(beside: Path, ours: int) -> int:
    """Whose the file should be: ours, and for root whose the database is, or nobody but root could write any more."""
    with suppress(OSError):
        return beside.stat().st_uid if ours == 0 else ours
    return ours
