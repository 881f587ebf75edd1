"""What runs on this machine is never called through a proxy, whatever HTTP_PROXY says; and what is called through one says so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
NAMES = ("NO_PROXY", "no_proxy")  # programs read the one or the other


def is_on_this_machine(url: str) -> bool:
    """Whether the address is this machine's own (loopback)."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def bypassing(environment: Mapping[str, str], *urls: str) -> dict[str, str]:
    """The variables that keep this machine, and those of `urls` that are on it, out of every proxy; what is left out already stays so."""
    ours = dict.fromkeys((*THIS_MACHINE, *(urlsplit(url).hostname or "" for url in urls if is_on_this_machine(url))))
    before = [host.strip() for name in NAMES for host in environment.get(name, "").split(",") if host.strip()]
    value = ",".join(dict.fromkeys((*before, *ours)))
    return dict.fromkeys(NAMES, value)


@contextmanager
def this_machine_called_directly(*urls: str) -> Iterator[None]:
    """For this process and those it starts: Prefect's own client reads these variables when it connects."""
    before = {name: os.environ.get(name) for name in NAMES}
    os.environ.update(bypassing(os.environ, *urls))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def proxy_of(url: str) -> str:
    """The setting that names a proxy for this address, such as `HTTP_PROXY`; "" when it is called directly."""
    split, proxies = urlsplit(url), getproxies_environment()
    if is_on_this_machine(url) or proxy_bypass_environment(split.hostname or "", proxies):
        return ""
    kind = split.scheme if split.scheme in proxies else "all"
    return f"{kind.upper()}_PROXY" if kind in proxies else ""


def told_of_proxy(url: str) -> str:
    """A sentence for an error about this address, "" when no proxy stands before it."""
    setting = proxy_of(url)
    if not setting:
        return ""
    return f" It is called through the proxy of {setting}; if it must be called directly, add {urlsplit(url).hostname} to NO_PROXY."
