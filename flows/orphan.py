"""A child process remembered in a file, so that the next start finds one that outlived its parent, and ends it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

END_WITHIN_S = 10

log = logging.getLogger("insitu.prefect")


def remember(file: Path, pid: int) -> None:
    """Note the process that runs now under this id; another that is given the same id later is told from it."""
    file.write_text(f"{pid}\n{identity(pid)}\n", encoding="utf-8")


def forget(file: Path) -> None:
    """Note that it has ended."""
    file.unlink(missing_ok=True)


def end_orphan(file: Path) -> bool:
    """End the process that the file tells of, with its group, if it still runs; whether it did. For whoever holds the folder's lock."""
    with suppress(OSError, ValueError):
        pid, known = file.read_text(encoding="utf-8").split("\n", 1)
        if (number := int(pid)) > 1 and known.strip() and identity(number) == known.strip():
            log.warning("A Prefect server of an earlier `insitu up` still ran here (process %d); it is ended", number)
            _end(number)
            forget(file)
            return True
    forget(file)
    return False


def identity(pid: int) -> str:
    """What tells this process from another of the same id: when it began and what it runs; "" when there is none."""
    try:
        begun = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        runs = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").replace("\0", " ").strip()
    except (OSError, IndexError):
        return _identity_elsewhere(pid) if not Path("/proc/self/stat").exists() else ""
    return f"{begun} {runs}" if runs else ""  # a dead one that nobody has asked for yet runs nothing


def _identity_elsewhere(pid: int) -> str:
    told = subprocess.run(  # noqa: S603 -- fixed words and a number
        ["/bin/ps", "-o", "lstart=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return " ".join(told.stdout.split())


def _end(pid: int) -> None:
    known = identity(pid)
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(pid, how)
        limit = time.monotonic() + END_WITHIN_S
        while identity(pid) == known and time.monotonic() < limit:
            time.sleep(0.1)
