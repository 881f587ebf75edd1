"""The lock of insitu's own Prefect server: Prefect knows no users, so whoever has this one text may do everything there."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from sites.identity.keys import kept_secret

VARIABLE = "PREFECT_API_AUTH_STRING"
FILE = "password"


def chosen_lock() -> str:
    """The `user:password` that the environment names for a Prefect server, "" for none."""
    return os.environ.get(VARIABLE, "")


def lock_of(home: Path) -> str:
    """The `user:password` of the server whose home that is: the environment's, else its own, which only this account can read.

    It never stands among a process's arguments, which every account of the machine sees.
    """
    return chosen_lock() or kept_secret(home / FILE, f"set {VARIABLE}", begins="insitu:")


def authorization(lock: str) -> str:
    """The header that opens the lock, as Prefect reads it: the whole text, with or without a colon."""
    return f"Basic {base64.b64encode(lock.encode()).decode()}"
