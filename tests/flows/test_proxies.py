"""What runs on this machine is called directly, whatever proxy the hospital prescribes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from flows.client import Prefect, PrefectUnavailable
from flows.proxies import bypassing, is_on_this_machine, this_machine_called_directly, told_of_proxy


@pytest.fixture
def behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")


@pytest.fixture
def well() -> Iterator[str]:
    """The address of a server on this machine that is well."""

    class Well(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Well)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.9", "[::1]", "prefect.localhost"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_on_this_machine(f"http://{host}:4200/api")


@pytest.mark.parametrize("host", ["prefect.example.org", "10.0.0.1", "localhost.example.org"])
def test_others_are_not(host: str) -> None:
    assert not is_on_this_machine(f"http://{host}:4200/api")


def test_what_was_left_out_of_the_proxy_stays_left_out() -> None:
    given = {"NO_PROXY": "chu.example.org, 127.0.0.1", "no_proxy": "other.example.org"}
    found = bypassing(given, "http://127.0.0.9:4200/api", "http://prefect.example.org:4200/api")
    assert found["NO_PROXY"] == found["no_proxy"] == "chu.example.org,127.0.0.1,other.example.org,localhost,::1,127.0.0.9"


def test_the_environment_is_as_before_when_it_is_over(behind_a_proxy: None) -> None:
    with this_machine_called_directly():
        assert "127.0.0.1" in os.environ["NO_PROXY"]
    assert "NO_PROXY" not in os.environ


def test_prefect_on_this_machine_is_asked_directly(behind_a_proxy: None, well: str) -> None:
    prefect = Prefect(well)
    assert prefect.is_up()
    prefect.close()


def test_prefect_on_another_machine_is_asked_through_it_and_the_message_says_so(behind_a_proxy: None) -> None:
    prefect = Prefect("http://prefect.example.org:4200/api", pause_s=0.001)
    with pytest.raises(PrefectUnavailable, match=r"through the proxy of HTTP_PROXY; .* add prefect.example.org to NO_PROXY"):
        prefect.request("GET", "health")
    prefect.close()


def test_nothing_is_said_of_a_proxy_that_does_not_stand_before_it(behind_a_proxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert told_of_proxy("http://prefect.example.org/api") == ""
    assert told_of_proxy("http://127.0.0.1:4200/api") == ""
    assert told_of_proxy("https://prefect.example.com/api") == ""
