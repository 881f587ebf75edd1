"""Who asks, where a proxy stands before the doors: its word is taken where it is named, and nowhere else."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest
from fastapi.testclient import TestClient
from visit import doors_on

from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.sender import sender
from insitu.entrance.setup import code_to_print
from protocols.errors import TooOften
from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import entries
from sites.identity.limits import Door, Limits
from sites.settings import Network

PROXY, CLIENT, FORGED = "127.0.0.1", "10.20.0.7", "192.0.2.66"
TRUSTED = tuple(ip_network(one) for one in ("127.0.0.1", "::1", "10.1.0.0/24", "2001:db8::/64"))


@pytest.mark.parametrize(
    ("peer", "named", "found"),
    [
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [FORGED, CLIENT], CLIENT),  # what the browser sent stands before what the proxy added
        (PROXY, [FORGED, CLIENT, "10.1.0.9"], CLIENT),  # two proxies of ours
        (PROXY, ["10.1.0.8", "10.1.0.9"], "10.1.0.8"),  # from the proxies' own network
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [CLIENT, "unknown"], PROXY),  # nobody knows what stands before
        (PROXY, ["<script>"], PROXY),
        (PROXY, [f"{CLIENT}:5000"], CLIENT),
        (PROXY, ["[2001:db8:1::7]:443"], "2001:db8:1::7"),
        (PROXY, ['"[2001:db8:1::7]"'], "2001:db8:1::7"),
        (PROXY, ["::ffff:10.20.0.7"], CLIENT),
        ("::ffff:127.0.0.1", [CLIENT], CLIENT),  # a socket that hears both
        ("2001:db8::1", [CLIENT], CLIENT),
        ("2001:db8:0:1::1", [CLIENT], "2001:db8:0:1::1"),
        (CLIENT, [FORGED], CLIENT),
        ("testclient", [FORGED], "testclient"),
    ],
)
def test_the_word_of_trusted_proxies_alone_is_taken(peer: str, named: list[str], found: str) -> None:
    assert sender(peer, named, TRUSTED) == found


def test_without_a_trusted_proxy_nobody_is_believed() -> None:
    assert sender(PROXY, [FORGED], ()) == PROXY


# ------------------------------------------------------------------ at the doors


def asked(doors: Doors, peer: str = PROXY) -> TestClient:
    return TestClient(create_app(doors), base_url="http://insitu.test", follow_redirects=False, client=(peer, 5000))


def doors_behind(database: Database, clock: SetClock, *trusted: str, **given: object) -> Doors:
    networks: tuple[Network, ...] = tuple(ip_network(one) for one in trusted)
    return doors_on(database, clock, trusted_proxies=networks, **given)  # type: ignore[arg-type]


def guess(client: TestClient, address: str, times: int) -> int:
    """The status of the last of so many tokens, each guessed from that address as the proxy says."""
    headers = {"authorization": "Bearer guessed", "x-forwarded-for": address}
    return [client.get("/api/v1/me", headers=headers).status_code for _ in range(times)][-1]


def test_behind_a_trusted_proxy_one_addresss_failures_lock_out_nobody_else(sqlite_database: Database, clock: SetClock) -> None:
    client = asked(doors_behind(sqlite_database, clock, PROXY))
    assert guess(client, CLIENT, 50) == 401
    assert guess(client, CLIENT, 1) == 429
    assert guess(client, f"{FORGED}, {CLIENT}", 1) == 429  # with something forged before
    assert guess(client, "10.20.0.8", 1) == 401


@pytest.mark.parametrize("trusted", [(), ("10.9.0.1",)])
def test_a_forged_address_escapes_no_limit(sqlite_database: Database, clock: SetClock, trusted: tuple[str, ...]) -> None:
    client = asked(doors_behind(sqlite_database, clock, *trusted), peer="203.0.113.5")
    for number in range(50):
        assert guess(client, f"192.0.2.{number}", 1) == 401
    assert guess(client, "192.0.2.200", 1) == 429


def test_the_journal_names_who_asked_and_not_the_proxy(sqlite_database: Database, clock: SetClock) -> None:
    doors = doors_behind(sqlite_database, clock, PROXY)
    asked(doors).get("/api/v1/me", headers={"authorization": "Bearer x", "x-forwarded-for": f"{FORGED}, {CLIENT}"})
    (noted,) = entries(sqlite_database)
    assert noted["address"] == CLIENT


@pytest.mark.parametrize(
    ("proto", "is_secure"), [("https", True), ("http, https", True), ("http", False), ("javascript", False), ("", False)]
)
def test_https_at_the_proxy_makes_cookies_secure(sqlite_database: Database, clock: SetClock, proto: str, is_secure: bool) -> None:
    behind = asked(doors_behind(sqlite_database, clock, PROXY)).get("/accessibility", headers={"x-forwarded-proto": proto})
    assert all(("Secure" in one) is is_secure for one in behind.headers.get_list("set-cookie"))
    assert ("strict-transport-security" in behind.headers) is is_secure
    from_elsewhere = asked(doors_behind(sqlite_database, clock, "10.9.0.1")).get("/accessibility", headers={"x-forwarded-proto": proto})
    assert "strict-transport-security" not in from_elsewhere.headers


def test_a_proxy_that_nobody_named_is_told_once_and_seen_in_health(
    sqlite_database: Database, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    client = asked(doors_behind(sqlite_database, clock))
    assert client.get("/api/v1/health").json()["unnamed_proxy"] is False
    with caplog.at_level(logging.WARNING, "insitu.doors"):
        for _ in range(3):
            client.get("/sign-in", headers={"x-forwarded-for": CLIENT})
    (told,) = [record.getMessage() for record in caplog.records if "INSITU_TRUSTED_PROXIES" in record.getMessage()]
    assert "127.0.0.1" in told
    assert client.get("/api/v1/health").json()["unnamed_proxy"] is True


@pytest.mark.parametrize(("trusted", "peer"), [((PROXY,), PROXY), ((), "8.8.8.8")])
def test_a_named_proxy_or_a_stranger_who_says_so_is_not_told(
    sqlite_database: Database, clock: SetClock, trusted: tuple[str, ...], peer: str
) -> None:
    client = asked(doors_behind(sqlite_database, clock, *trusted), peer)
    client.get("/sign-in", headers={"x-forwarded-for": CLIENT})
    assert client.get("/api/v1/health").json()["unnamed_proxy"] is False


def test_who_comes_by_a_proxy_needs_the_printed_code_to_set_up(sqlite_database: Database, clock: SetClock) -> None:
    named = doors_behind(sqlite_database, clock, PROXY)
    assert code_to_print(named)
    here = {"host": "127.0.0.1:8080"}  # as nginx asks when it is told nothing
    assert 'name="setup_code"' in asked(named).get("/setup", headers=here).text
    unnamed = asked(doors_behind(sqlite_database, clock))
    assert 'name="setup_code"' in unnamed.get("/setup", headers=here | {"x-forwarded-for": CLIENT}).text
    own = TestClient(unnamed.app, base_url="http://insitu.test")  # by no network: nobody else's
    assert 'name="setup_code"' not in own.get("/setup", headers=here).text


def test_figures_are_not_given_to_who_comes_by_a_proxy(sqlite_database: Database, clock: SetClock) -> None:
    client = asked(doors_behind(sqlite_database, clock, PROXY))
    assert client.get("/api/v1/metrics", headers={"x-forwarded-for": CLIENT}).status_code == 401
    assert client.get("/api/v1/metrics", headers={"x-forwarded-for": "127.0.0.1"}).status_code == 401


def test_one_machines_many_addresses_are_counted_together() -> None:
    limits = Limits()
    for number in range(50):
        limits.count(Door.TOKEN, f"2001:db8:7::{number:x}")
    with pytest.raises(TooOften):
        limits.check(Door.TOKEN, "2001:db8:7::ffff")
    limits.check(Door.TOKEN, "2001:db8:8::1")
