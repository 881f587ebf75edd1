"""The client of Prefect's API against a real HTTP server that misbehaves as Prefect does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows.client import Prefect, PrefectRefused, PrefectUnavailable
from flows.server import free_port

ANSWERS: list[tuple[int, bytes]] = []
CALLERS: list[int] = []


class Moody(BaseHTTPRequestHandler):
    """Gives the answers it was told to, in order, and notes from which port each question came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        CALLERS.append(self.client_address[1])
        status, body = ANSWERS.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def prefect() -> Iterator[Prefect]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ANSWERS.clear()
    CALLERS.clear()
    client = Prefect(f"http://127.0.0.1:{server.server_port}/api", pause_s=0.001)
    yield client
    client.close()
    server.shutdown()
    server.server_close()


def test_a_locked_database_is_asked_again_on_a_new_connection(prefect: Prefect) -> None:
    ANSWERS.extend([(503, b"{}"), (500, b"oops"), (200, b'{"ok": true}')])
    assert prefect.request("GET", "anything") == {"ok": True}
    assert len(set(CALLERS)) == 3


def test_a_server_that_never_recovers_is_unavailable(prefect: Prefect) -> None:
    ANSWERS.extend([(503, b"{}")] * 50)
    with pytest.raises(PrefectUnavailable, match="503"):
        prefect.request("GET", "anything")


def test_what_is_not_there_is_none_and_what_is_refused_says_why(prefect: Prefect) -> None:
    ANSWERS.extend([(404, b"{}"), (409, b"already so")])
    assert prefect.request("GET", "anything") is None
    with pytest.raises(PrefectRefused, match="already so"):
        prefect.request("GET", "anything")


def test_a_server_that_is_not_there_is_unavailable_and_the_message_says_what_goes_on() -> None:
    client = Prefect(f"http://127.0.0.1:{free_port()}/api", pause_s=0.001)
    with pytest.raises(PrefectUnavailable, match="go on without it"):
        client.request("GET", "health")
    client.close()
