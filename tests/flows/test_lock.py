"""insitu's own Prefect server is closed to whoever has not its password, calls it by another name, or asks from another's page."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient
from httpx import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from flows.client import Prefect, PrefectRefused
from flows.lock import VARIABLE, authorization, lock_of
from flows.prefect_app import Fence, Names, seated
from flows.server import PrefectServer, free_port, seat

LAUNCH = "/api/deployments/filter"


def ask(server: PrefectServer, method: str, path: str, **headers: str) -> Response:
    return httpx.request(method, server.address + path, headers=headers, json={} if method == "POST" else None, trust_env=False)


def test_without_the_password_nothing_is_read_or_done(prefect: PrefectServer) -> None:
    for path in (LAUNCH, "/api/flow_runs/filter", "/api/events", "/api/work_pools/"):
        assert ask(prefect, "POST", path).status_code == 401
        assert ask(prefect, "POST", path, authorization=authorization("insitu:guess")).status_code == 401
    assert ask(prefect, "GET", "/api/admin/settings").status_code == 401
    assert ask(prefect, "POST", LAUNCH, authorization=authorization(prefect.lock)).status_code == 200


def test_the_password_is_in_no_argument_that_other_accounts_see(prefect: PrefectServer) -> None:
    (server,) = [one for one in psutil.Process().children() if str(prefect.port) in one.cmdline()]
    assert prefect.lock not in " ".join(server.cmdline())
    assert server.environ()["PREFECT_SERVER_API_AUTH_STRING"] == prefect.lock


def test_a_server_makes_its_own_password_which_its_account_alone_can_read(tmp_path: Path) -> None:
    say = f"from pathlib import Path; from flows.lock import lock_of; print(lock_of(Path({str(tmp_path / 'server')!r})))"
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    first, second = (subprocess.check_output([sys.executable, "-c", say], env=clean, text=True).strip() for _ in range(2))
    assert first == second == (tmp_path / "server" / "password").read_text()
    assert first.startswith("insitu:")
    assert len(first) > 60
    assert stat.S_IMODE((tmp_path / "server" / "password").stat().st_mode) == 0o600
    assert lock_of(tmp_path / "server") == os.environ[VARIABLE]  # the one that is chosen goes before it


def test_what_the_server_writes_is_its_account_s_alone(prefect: PrefectServer) -> None:
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) & 0o077 for file in [prefect.home, *prefect.home.glob("prefect.db*")]}
    assert set(modes.values()) == {0}, modes


def test_a_client_without_the_password_is_told_what_to_set(prefect: PrefectServer) -> None:
    stranger = Prefect(prefect.api_url, lock="insitu:guess")
    with pytest.raises(PrefectRefused, match=VARIABLE):
        stranger.request("POST", "flows/filter", {})
    stranger.close()


# ------------------------------------------------------------------ other names and other pages


FOREIGN = ("evil.example", "evil.example:4200", "127.0.0.1.evil.example", "a@127.0.0.1", "127.0.0.1:99999", "[::1", "")


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_name_is_answered_by_nothing(prefect: PrefectServer, host: str) -> None:
    opened = authorization(prefect.lock)
    for path in ("/", "/v2/runs", "/api/health", "/ui-settings"):
        assert ask(prefect, "GET", path, host=host, authorization=opened).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:{port}", "127.0.0.1:{port}", "[::1]:{port}"])
def test_its_own_names_are_answered(prefect: PrefectServer, host: str) -> None:
    assert ask(prefect, "GET", "/api/health", host=host.format(port=prefect.port)).text == "true"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", "http://127.0.0.1.evil.example"]
)
def test_a_page_from_elsewhere_can_neither_ask_nor_launch(prefect: PrefectServer, origin: str) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    before = ask(prefect, "OPTIONS", LAUNCH, origin=origin, **asks)
    assert (before.status_code, "access-control-allow-origin" in before.headers) == (403, False)
    # What a page may send without asking first: a body without a type, which Prefect would read as JSON.
    plain = ask(prefect, "POST", LAUNCH, origin=origin, authorization=authorization(prefect.lock))
    assert plain.status_code == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_prefects_own_pages_may_ask(prefect: PrefectServer, origin: str) -> None:
    origin = origin.format(port=prefect.port)
    answer = ask(prefect, "POST", LAUNCH, origin=origin, authorization=authorization(prefect.lock))
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def test_every_page_forbids_itself_to_call_out(prefect: PrefectServer) -> None:
    for path in ("/dashboard", "/v2/dashboard", "/docs", "/ui-settings"):
        policy = ask(prefect, "GET", path).headers["content-security-policy"]
        parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert (parts["default-src"], parts["frame-ancestors"]) == ("'none'", "'none'")
        assert parts["connect-src"] == f"'self' {prefect.address} {prefect.address.replace('http', 'ws')}"
        assert "://" not in policy.replace(parts["connect-src"], "")


# ------------------------------------------------------------------ the fence alone


async def anything(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def fenced(ui_url: str = "http://127.0.0.1:4200", *more: str) -> TestClient:
    return TestClient(Fence(anything, Names.of(ui_url, 4200, more)), base_url="http://127.0.0.1:4200")


SOCKET = "ws://127.0.0.1:4200/api/events/out"


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}])
def test_a_foreign_socket_is_not_opened(headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDisconnect), fenced().websocket_connect(SOCKET, headers=headers):
        pass


def test_our_own_socket_is_opened() -> None:
    with fenced().websocket_connect(SOCKET, headers={"origin": "http://127.0.0.1:4200"}):
        pass


def test_the_address_people_open_and_the_names_that_are_set_are_answered() -> None:
    client = fenced("https://prefect.example.org/api", "other.example.org")
    behind = {"host": "prefect.example.org", "origin": "https://prefect.example.org"}
    answer = client.get("/", headers=behind)
    assert answer.status_code == 200
    assert "wss://prefect.example.org" in answer.headers["content-security-policy"]
    assert client.get("/", headers={"host": "other.example.org"}).status_code == 200
    assert client.get("/", headers={"host": "third.example.org"}).status_code == 421
    assert client.get("/", headers={"host": "other.example.org", "origin": "https://prefect.example.org"}).status_code == 200


# ------------------------------------------------------------------ the port


def test_a_server_that_ended_keeps_its_port_until_it_is_given_up(tmp_path: Path) -> None:
    server = PrefectServer(tmp_path / "server")
    (tmp_path / "server").write_text("no folder: it cannot start")
    with pytest.raises(OSError, match="File exists"):
        server.start()
    (tmp_path / "server").unlink()
    over = iter([False])
    server.start(lambda: next(over, True))  # it is not waited for
    server.end()
    with pytest.raises(OSError, match="in use"), seat("127.0.0.1", server.port):
        pass
    server.stop()
    with seat("127.0.0.1", server.port):
        pass


def test_nobody_else_can_take_the_port_while_our_server_is_down() -> None:
    port = free_port()
    with seat("127.0.0.1", port):
        for reuses in (0, 1):
            with socket.socket() as rival:
                rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuses)
                with pytest.raises(OSError, match="in use"):
                    rival.bind(("127.0.0.1", port))
        with pytest.raises(OSError, match="in use"), seat("127.0.0.1", port):  # another of ours
            pass
        with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
            caller.connect(("127.0.0.1", port))  # refused at once, not left to wait
        with seated("127.0.0.1", port) as ours, socket.socket() as caller:
            ours.listen()
            caller.connect(("127.0.0.1", port))
            ours.accept()[0].close()  # by the server first: the connection lingers
        with seated("127.0.0.1", port):  # as after a restart
            pass
    with seat("127.0.0.1", port):  # as after another `insitu up`
        pass
