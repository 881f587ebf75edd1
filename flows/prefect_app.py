"""insitu's own Prefect server, `python -m flows.prefect_app --host … --port …`: Prefect's application behind a fence.

Prefect answers under any name, to any web page, and its newer pages call an analytics host whatever its settings say.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = "INSITU_PREFECT_HOSTS"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MISDIRECTED, FORBIDDEN = 421, 403


@dataclass(frozen=True, slots=True)
class Names:
    """The names a server may be called by, without port, and the origins whose pages may ask it."""

    hosts: frozenset[str]
    origins: frozenset[str]
    api: str  # the origin that the pages ask, whichever name they were opened by

    @classmethod
    def of(cls, ui_url: str, port: int, more: Iterable[str] = ()) -> Names:
        """Those of this machine, of the address people open, and `more`."""
        parts = urlsplit(ui_url)
        names = {*LOOPBACK, _bracketed(parts.hostname or ""), *(name.lower() for name in more)} - {""}
        api = f"{parts.scheme}://{parts.netloc}"
        return cls(frozenset(names), frozenset({api, *(f"http://{name}:{port}" for name in LOOPBACK)}), api)

    def knows(self, host: str) -> bool:
        """Whether a Host header, with or without port, names this server."""
        try:
            parts = urlsplit(f"//{host}")
            return parts.netloc == host and "@" not in host and (parts.port or 1) > 0 and _bracketed(parts.hostname or "") in self.hosts
        except ValueError:
            return False

    def lets_ask(self, origin: str, host: str) -> bool:
        """Whether a page of that origin may ask the server it calls `host`; a request that no page sends has no origin."""
        return not origin or origin in self.origins or urlsplit(origin).netloc == host

    @property
    def policy(self) -> str:
        """What a page of Prefect may load and call: this server and nothing else."""
        # eval: the older pages draw a run's chart with it. Nothing they may load comes from elsewhere.
        return (
            "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
            f"font-src 'self' data:; connect-src 'self' {self.api} {self.api.replace('http', 'ws', 1)}; worker-src 'self' blob:; "
            "manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


class Fence:
    """Turns away what calls the server by another's name or comes from another's page, and forbids its own pages to call out."""

    def __init__(self, app: ASGIApp, names: Names) -> None:
        self.app, self.names = app, names
        self._headers = {
            "content-security-policy": names.policy,
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
            return
        if refusal:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)
            return

        async def fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, fenced)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin", "")
        if not self.names.knows(host):
            return MISDIRECTED, f"This server is not called {host!r}. A name it should answer to goes into {HOSTS}.\n"
        if not self.names.lets_ask(origin, host):
            return FORBIDDEN, "A page from elsewhere may not ask this server.\n"
        return None


def more_hosts() -> list[str]:
    """The names in INSITU_PREFECT_HOSTS, by blanks or commas."""
    return os.environ.get(HOSTS, "").replace(",", " ").split()


def serve(host: str, port: int) -> None:
    """Serve until told to stop, as `prefect server start` does, with the settings of the environment."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    names = Names.of(settings.server.ui.api_url or f"http://{host}:{port}", port, [*more_hosts(), host])
    config = uvicorn.Config(
        Fence(create_app(final=True), names),
        timeout_keep_alive=settings.server.api.keepalive_timeout,
        ws_ping_interval=settings.server.api.websocket_ping_interval,
        ws_ping_timeout=settings.server.api.websocket_ping_timeout,
        log_level=settings.server.logging_level.lower(),
        proxy_headers=False,
    )
    with seated(host, port) as door:
        uvicorn.Server(config).run(sockets=[door])


def seated(host: str, port: int) -> socket.socket:
    """The socket to listen on, beside the one that `flows.server` keeps the port with."""
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections inherit it: those that linger hold up no later start
    door.bind((host, port))
    return door


def main() -> None:
    parser = argparse.ArgumentParser(prog="flows.prefect_app")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    serve(given.host, given.port)


if __name__ == "__main__":
    main()
