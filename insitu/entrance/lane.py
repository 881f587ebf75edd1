"""The lane of one slow neighbour: calls that hold up nothing but themselves, and end whatever the other side does."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

HERE = ("127.0.0.1", "localhost", "::1")
AT_ONCE = 8  # visits that may wait for it
LASTS_S = 8.0  # a visit's calls, all together
CONNECTS_IN_S = 3.0
LONGEST = 256 * 1024  # bytes of an answer


class Jammed(Exception):
    """The lane is full: nothing was asked."""


class Away(Exception):
    """The other side does not answer, or too slowly, or not as was agreed; the text says which, for a log."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: its status, the object that it held, and what time it was there (None where it does not say)."""

    status: int
    content: dict[str, Any]
    at: datetime | None


class Lane:
    """Calls are awaited and take no thread of the pages; only so many visits at once may make some, and each for so long."""

    def __init__(self, at_once: int = AT_ONCE, lasts_s: float = LASTS_S) -> None:
        self.lasts_s = lasts_s
        self._timeout = httpx.Timeout(lasts_s, connect=min(CONNECTS_IN_S, lasts_s))
        self._places = threading.BoundedSemaphore(at_once)

    @contextmanager
    def visit(self) -> Iterator[None]:
        """What may call for so long, however slowly the answers drip. Raises Jammed when too many wait, Away when it took too long."""
        if not self._places.acquire(blocking=False):
            raise Jammed
        try:
            with anyio.fail_after(self.lasts_s):
                yield
        except TimeoutError:
            raise Away(f"it took more than {self.lasts_s:g} s") from None
        finally:
            self._places.release()

    async def ask(self, method: str, address: str, **given: Any) -> Told:
        """Ask for an object. Raises Away for anything else than an answer that holds one."""
        headers = {"accept": "application/json", "accept-encoding": "identity"} | given.pop("headers", {})
        # No client is kept: it would carry one person's cookies to the next. What runs on this machine is called through no proxy.
        is_here = urlsplit(address).hostname in HERE
        try:
            async with (
                httpx.AsyncClient(verify=_certificates(), timeout=self._timeout, trust_env=not is_here) as client,
                client.stream(method, address, headers=headers, **given) as answer,
            ):
                content = await _content(answer)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Away(type(error).__name__) from error
        return Told(answer.status_code, _object(answer.status_code, content), _date(answer.headers.get("date", "")))


async def _content(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":  # it could grow without end as it is unpacked
        raise Away("it answered compressed, which was not asked for")
    content = b""
    async for part in answer.aiter_raw():
        content += part
        if len(content) > LONGEST:
            raise Away(f"it answered more than {LONGEST} bytes")
    return content


def _object(status: int, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise Away(f"it answered {status} with something else than JSON") from None
    if not isinstance(found, dict):
        raise Away(f"it answered {status} with something else than an object")
    return found


def _date(header: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust, read once: it takes longer than the rest of a request."""
    return httpx.create_ssl_context()
