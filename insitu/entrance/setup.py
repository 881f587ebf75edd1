"""The first manager: who may make them. The account that insitu runs as; anyone else, from here or elsewhere, by the code it printed."""

from __future__ import annotations

import logging
import secrets
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import Request

from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.peers import is_own_account
from insitu.entrance.sender import came_by_proxy
from sites.identity.accounts import has_accounts
from sites.identity.keys import Key, fingerprint

log = logging.getLogger("insitu.doors")


def setup_code(key: Key) -> str:
    """The code that `insitu up` and `insitu serve` print: three groups of four figures, always the same for one key."""
    figures = str(int(fingerprint(key.sign("setup", "first manager")), 16)).zfill(12)[-12:]
    return "-".join(figures[at : at + 4] for at in range(0, 12, 4))


def is_setup_code(key: Key, typed: str) -> bool:
    """Whether someone typed that code, with or without what stands between its groups."""
    figures = "".join(char for char in typed if char in "0123456789")
    return secrets.compare_digest(figures, setup_code(key).replace("-", ""))


def asks_setup_code(request: Request) -> bool:
    """Whether whoever sets up may be somebody else: from elsewhere by the socket, by a proxy in front, by another site's name that leads
    here, or another account of this machine; that one is told the code where insitu was started, for it is printed there only now."""
    if is_open_to_others(doors_of(request)) or came_by_proxy(request) or not is_here(request.url.hostname):
        return True
    if is_own_account(request):
        return False
    _tell_code(doors_of(request))
    return True


def _tell_code(doors: Doors) -> None:
    """Say the code in the log, once: nobody who is at the machine itself was told it at the start."""
    if not doors.code_told.is_set():
        doors.code_told.set()
        log.warning(
            "Another account of this machine, or one that cannot be told, opens the set-up of insitu. If it is yours: set-up code %s.",
            setup_code(doors.key),
        )


def is_open_to_others(doors: Doors) -> bool:
    """Whether others than this machine reach the doors, directly or by a proxy."""
    by_proxy = bool(doors.settings.trusted_proxies)
    return by_proxy or not (doors.loopback and is_here(urlsplit(doors.settings.public_url).hostname))


def code_to_print(doors: Doors) -> str:
    """The code to show where insitu is started, while nobody has an account and others may reach the doors; "" when it is not needed."""
    return setup_code(doors.key) if is_open_to_others(doors) and not has_accounts(doors.database) else ""


def is_here(host: str | None) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
