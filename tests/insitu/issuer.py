"""OpenID providers for tests: a real one in a process of its own, and one in this process that can be told to lie."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "insitu"


@contextmanager
def real_provider(*people: dict[str, Any]) -> Iterator[str]:
    """`oidc-provider-mock` running on a free port of this machine; its issuer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    claims = [word for person in people for word in ("--user-claims", json.dumps(person))]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *claims]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        issuer = f"http://127.0.0.1:{port}"
        _wait_for(issuer, running)
        yield issuer
    finally:
        running.terminate()
        running.wait(10)


def _wait_for(issuer: str, running: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and running.poll() is None:
        try:
            if httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=5).is_success:
                return
        except httpx.TransportError:
            threading.Event().wait(0.05)
    raise AssertionError(f"the provider did not start (status {running.poll()})")


@dataclass
class Liar:
    """A provider whose every word a test chooses: `claims` replace those of an honest token, None takes one out."""

    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signing: RSAKey | None = None
    document: dict[str, Any] = field(default_factory=dict)
    nonce: str = ""
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    issuer: str = ""

    def token(self) -> str:
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 60, "auth_time": now, "nonce": self.nonce}
        told = {name: value for name, value in (honest | self.claims).items() if value is not None}
        if self.algorithm == "none":
            return ".".join([*(_part(one) for one in ({"alg": "none"}, told)), ""])
        return jwt.encode({"alg": self.algorithm, "kid": "one"}, told, self.signing or self.key)

    def answer(self, path: str) -> dict[str, Any]:
        if path.endswith("/openid-configuration"):
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            return {"issuer": self.issuer} | {name: f"{self.issuer}/{end}" for name, end in ends.items()} | self.document
        if path == "/token":
            return {"access_token": "a", "token_type": "Bearer", "id_token": self.token()}
        return {"keys": [self.key.as_dict(private=False)]}


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@contextmanager
def listening(liar: Liar) -> Iterator[Liar]:
    """The liar on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(liar.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            liar.asked.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    running = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    running.start()
    try:
        yield liar
    finally:
        server.shutdown()
        server.server_close()
        running.join()
