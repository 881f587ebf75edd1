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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
from joserfc import jws
from joserfc.jwk import RSAKey

CLIENT = "insitu"
VERIFIED = {"email": "Nurse.Caen@example.org", "email_verified": True}
PEOPLE = (
    {"sub": "s-caen"} | VERIFIED,
    {"sub": "s-metz", "email": "nurse.metz@example.org", "email_verified": False},
    {"sub": "s-other", "email": "who.ever@example.org", "email_verified": True},
    {"sub": "s-claim", "email": "other@example.org", "email_verified": True, "SubjectNameID": "899700000000"},
)


@cache
def key_called(kid: str) -> RSAKey:
    """A key of a name, made once: it takes a while."""
    return RSAKey.generate_key(2048, {"kid": kid})


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
    """A provider whose every word a test chooses: `claims` replace those of an honest token, None takes one out.

    `told` are whole answers by path: a status and what it holds, as JSON unless it is bytes. `gets` lists the paths it was asked for.
    """

    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    key: RSAKey = field(default_factory=lambda: key_called("one"))
    signing: RSAKey | None = None
    document: dict[str, Any] = field(default_factory=dict)
    nonce: str = ""
    kid: str = "one"
    userinfo: dict[str, Any] | None = None
    told: dict[str, tuple[int, Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    gets: list[str] = field(default_factory=list)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    issuer: str = ""

    def token(self) -> str:
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 60, "auth_time": now, "nonce": self.nonce}
        told = {name: value for name, value in (honest | self.claims).items() if value is not None}
        if self.algorithm == "none":
            return ".".join([*(_part(one) for one in ({"alg": "none"}, told)), ""])
        return jws.serialize_compact({"alg": self.algorithm, "kid": self.kid}, json.dumps(told), self.signing or self.key)

    def answer(self, path: str) -> dict[str, Any]:
        if path.endswith("/openid-configuration"):
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            ends |= {"userinfo_endpoint": "userinfo"} if self.userinfo is not None else {}
            return {"issuer": self.issuer} | {name: f"{self.issuer}/{end}" for name, end in ends.items()} | self.document
        if path == "/token":
            return {"access_token": "a", "token_type": "Bearer", "id_token": self.token()}
        if path == "/userinfo":
            return self.userinfo or {}
        return {"keys": [self.key.as_dict(private=False)]}


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@contextmanager
def listening(liar: Liar) -> Iterator[Liar]:
    """The liar on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            liar.gets.append(self.path)
            self.answer()

        def answer(self) -> None:
            status, told = liar.told.get(self.path) or (200, liar.answer(self.path))
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response_only(status)
            for name, value in ({"date": self.date_time_string(), "content-type": "application/json"} | liar.headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            liar.asked.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
            self.answer()

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


class Gate:
    """A door before a provider: who knocks is let through at once while it is open, and held while it is shut."""

    def __init__(self, issuer: str) -> None:
        self._there = ("127.0.0.1", int(issuer.rpartition(":")[2]))
        self._changed = threading.Condition()
        self._is_open, self._held = True, 0
        self._door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.issuer = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._watch, daemon=True).start()

    def shut(self) -> None:
        with self._changed:
            self._is_open = False

    def open(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def wait_for(self, held: int) -> None:
        """Until so many are held."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held >= held, 60), f"{self._held} came"

    def close(self) -> None:
        self.open()
        self._door.close()

    def _watch(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                threading.Thread(target=self._let_through, args=(self._door.accept()[0],), daemon=True).start()

    def _let_through(self, visitor: socket.socket) -> None:
        with self._changed:
            self._held += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_open, 120)
            self._held -= 1
        with visitor, socket.create_connection(self._there) as house, suppress(OSError):
            back = threading.Thread(target=_carry, args=(house, visitor), daemon=True)
            back.start()
            _carry(visitor, house)
            back.join(60)


def _carry(here: socket.socket, there: socket.socket) -> None:
    with suppress(OSError):
        while part := here.recv(65536):
            there.sendall(part)
        there.shutdown(socket.SHUT_WR)


@contextmanager
def gate(issuer: str) -> Iterator[Gate]:
    """A gate before a provider on this machine."""
    found = Gate(issuer)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def dripping(*, head: bytes) -> Iterator[str]:
    """A server that says its head, then a byte now and again, and never ends; its address."""
    ended = threading.Event()
    door = socket.create_server(("127.0.0.1", 0), backlog=16)

    def drip(visitor: socket.socket) -> None:
        with visitor, suppress(OSError):
            visitor.sendall(head)
            while not ended.wait(0.02):
                visitor.sendall(b" ")

    def watch() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(door.accept()[0],), daemon=True).start()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        ended.set()
        door.close()
