"""Which account of this machine is at the other end of a connection, as far as its kernel tells."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from fastapi import Request

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
# Of a connection that its program has closed the kernel says 0, root's, whoever's it was.
_ESTABLISHED = "01"
ROOT = 0


def is_own_account(request: Request) -> bool:
    """Whether a request comes from the account that insitu runs as, or from root; not where the kernel does not tell.

    One that came by no network at all, as in a test, is our own.
    """
    peer, server = request.scope.get("client"), request.scope.get("server")
    if not peer or not _is_address(peer[0]):
        return True
    if not server or server[1] is None or not _is_address(server[0]):
        return False
    return _account(peer, server) in {os.geteuid(), ROOT}


def _account(peer: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user id at the other end, None when it is not told."""
    ends = {(_written(peer, mapped), _written(server, mapped)) for mapped in (False, True)}
    for table in _TABLES:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for columns in map(str.split, lines):
            if (columns[1], columns[2]) in ends and columns[3] == _ESTABLISHED:
                return int(columns[7])
    return None


def _written(end: tuple[str, int], mapped: bool) -> str:
    """An address and a port as the kernel's tables write them: words of 32 bits, in the machine's order."""
    address: IPv4Address | IPv6Address = ip_address(end[0])
    if mapped and address.version == 4:
        address = IPv6Address(f"::ffff:{address}")
    packed = address.packed
    words = (int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4))
    return "".join(f"{socket.ntohl(word):08X}" for word in words) + f":{end[1]:04X}"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
