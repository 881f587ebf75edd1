"""Where a request comes from: the address of whoever asks, and what a proxy on the way says of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Lock

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from insitu.entrance.doors import doors_of
from sites.settings import Network

FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-real-ip"})  # whoever sends one of these speaks for others
MOST_TOLD = 10

log = logging.getLogger("insitu.doors")


def address_of(request: Request) -> str:
    """The network address of whoever asks: the connection's or, by a trusted proxy, the one it names."""
    return request.client.host if request.client else ""


def is_secure(request: Request) -> bool:
    """Whether this installation is reached by https, as the request or its public address says."""
    return request.url.scheme == "https" or doors_of(request).settings.public_url.startswith("https://")


def came_by_proxy(request: Request) -> bool:
    """Whether a proxy, trusted or not, passed the request on; one may be silent about it."""
    return bool(FORWARDED & {name.lower() for name in request.headers})


def sender(peer: str, named: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address of whoever asks, of the connection's `peer` and what `x-forwarded-for` names, the nearest last.

    Read from the right: what a trusted proxy added is believed, what stood there before it came is not.
    """
    nearest = _address(peer)
    if nearest is None:
        return peer
    for said in reversed(named):
        before = _address(said)
        if not _is_among(nearest, trusted) or before is None:
            break
        nearest = before
    return str(nearest)


def _is_among(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _address(said: str) -> IPv4Address | IPv6Address | None:
    """An address, some write a port after it; None for anything else."""
    text = said.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


class Unnamed:
    """The proxies that passed requests on though nobody named them; each is told in the log once."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._lock = Lock()

    def __bool__(self) -> bool:
        return bool(self._found)

    def note(self, peer: str) -> None:
        """Remember one, and say what follows from it."""
        with self._lock:
            if peer in self._found or len(self._found) >= MOST_TOLD:
                return
            self._found.add(peer)
        log.warning(
            "A proxy at %s passes requests on, and INSITU_TRUSTED_PROXIES does not name it: all who come by it count as one address, "
            "so that the failures of one lock out the others. Set INSITU_TRUSTED_PROXIES=%s if it is yours.",
            peer,
            peer,
        )


class Proxies:
    """Puts the address and the scheme that a trusted proxy names in place of the proxy's own; from others they are not believed.

    The Host header is the proxy's to pass on unchanged: what others name a host, nginx lets through as the browser wrote it.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network], unnamed: Unnamed) -> None:
        self.app, self.trusted, self.unnamed = app, trusted, unnamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(self._seen(scope) if scope["type"] == "http" else scope, receive, send)

    def _seen(self, scope: Scope) -> Scope:
        headers, (peer, port) = Headers(scope=scope), scope.get("client") or ("", 0)
        named = [one for line in headers.getlist("x-forwarded-for") for one in line.split(",")]
        proxy = _address(peer)
        if proxy is None:
            return scope
        if not _is_among(proxy, self.trusted):
            if (named or "forwarded" in headers) and (proxy.is_loopback or proxy.is_private):
                self.unnamed.note(str(proxy))
            return {**scope, "client": (str(proxy), port)}
        scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        return {
            **scope,
            "client": (sender(peer, named, self.trusted), port),
            "scheme": scheme if scheme in ("http", "https") else scope["scheme"],
        }
