"""A slow, dripping or vanished OpenID provider holds up nobody but those who wait for it, and not them for long."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import anyio
import httpx
import pytest
from issuer import Gate, Liar, dripping, gate, key_called
from passage import Open, back_from, come, whys
from visit import Visit

from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.lane import AT_ONCE, LONGEST, Away, Jammed, Lane
from insitu.entrance.provider import AGAIN_AFTER_S, FRESH_FOR_S, KEPT_FOR_S, Provider
from insitu.services import serving
from insitu.supervision import Parts

WELL_KNOWN, KEYS = "/.well-known/openid-configuration", "/keys"
VISITS = 20


class Seconds:
    """A count of seconds that a test moves on."""

    def __init__(self) -> None:
        self.passed = 1000.0

    def __call__(self) -> float:
        return self.passed


@contextmanager
def in_the_open(doors: Doors) -> Iterator[str]:
    """The doors behind a real server; their address."""
    with socket.create_server(("127.0.0.1", 0)) as door, serving(create_app(doors), door, Parts()):
        yield f"http://127.0.0.1:{door.getsockname()[1]}"


@pytest.fixture
def slow(issuer: str) -> Iterator[Gate]:
    """A real provider behind a gate."""
    with gate(issuer) as found:
        yield found


def patient(doors: Doors) -> Doors:
    """The same doors, whose provider may take as long as this machine needs for a test."""
    return replace(doors, provider=Provider(doors.settings, Lane(lasts_s=60)))


def at_once(count: int, visit: Callable[[], httpx.Response]) -> tuple[list[httpx.Response], list[threading.Thread]]:
    """So many visits under way; what they were answered, once they are over."""
    answered: list[httpx.Response] = []
    running = [threading.Thread(target=lambda: answered.append(visit()), daemon=True) for _ in range(count)]
    for one in running:
        one.start()
    return answered, running


def test_pages_are_answered_while_the_provider_holds_more_visits_than_there_are_threads(open_doors: Open, slow: Gate) -> None:
    doors = patient(open_doors(slow.issuer))
    slow.shut()
    happened: list[str] = []
    with in_the_open(doors) as here:
        answered, running = at_once(VISITS, lambda: httpx.get(f"{here}/sign-in/provider", headers={"accept-language": "en"}, timeout=120))
        slow.wait_for(AT_ONCE)
        for path in ("/help", "/sign-in", "/api/v1/health"):
            assert httpx.get(here + path, timeout=60).status_code in (200, 303)
            happened.append(path)
        happened.append("let through")
        slow.open()
        for one in running:
            one.join(60)
    assert happened == ["/help", "/sign-in", "/api/v1/health", "let through"]
    statuses = [one.status_code for one in answered]
    assert sorted(set(statuses)) == [303, 403]
    assert AT_ONCE <= statuses.count(303) < VISITS
    refused = next(one.text for one in answered if one.status_code == 403)
    assert "is slow" in refused
    assert 'name="password"' in refused
    assert set(whys(doors)) == {"busy"}


def test_pages_are_answered_while_the_provider_holds_those_who_come_back(open_doors: Open, slow: Gate) -> None:
    doors = patient(open_doors(slow.issuer))
    happened: list[str] = []
    with in_the_open(doors) as here, httpx.Client(base_url=here, timeout=60) as browser:
        address = browser.get("/sign-in/provider").headers["location"]
        back = httpx.URL(httpx.post(address, data={"sub": "s-caen"}).headers["location"])
        slow.shut()
        answered, (running,) = at_once(1, lambda: browser.get(back.path, params=back.params))
        slow.wait_for(1)
        assert httpx.get(f"{here}/help", timeout=60).status_code == 200
        happened += ["page", "let through"]
        slow.open()
        running.join(60)
    assert happened == ["page", "let through"]
    assert [one.status_code for one in answered] == [303]


def test_whoever_waits_too_long_is_told_to_use_their_password(open_doors: Open, slow: Gate) -> None:
    doors = open_doors(slow.issuer)
    slow.shut()
    visit = Visit(replace(doors, provider=Provider(doors.settings, Lane(lasts_s=0.2))))
    answer = visit.get("/sign-in/provider")
    assert answer.status_code == 403
    assert "does not answer as it should" in answer.text
    assert whys(doors) == ["slow"]


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{", b"HTTP/1.1 200 OK\r\nx-slow: "],
    ids=["what it holds", "its headers"],
)
def test_an_answer_that_drips_is_not_waited_for(head: bytes) -> None:
    async def ask(address: str) -> None:
        lane = Lane(lasts_s=0.3)
        with lane.visit():
            await lane.ask("GET", address)

    with dripping(head=head) as address, pytest.raises(Away, match=r"more than 0\.3 s"):
        anyio.run(ask, address)


def test_a_full_lane_takes_nobody_until_one_has_left() -> None:
    async def crowd() -> None:
        lane = Lane(at_once=1)
        with lane.visit(), pytest.raises(Jammed), lane.visit():
            raise AssertionError("there was a place")
        with lane.visit():
            pass

    anyio.run(crowd)


@pytest.mark.parametrize(
    ("content", "headers", "why"),
    [
        (b"[" * LONGEST + b"1", {}, "bytes"),
        (b"[" * 100_000, {}, "something else than JSON"),
        (b"not JSON", {}, "something else than JSON"),
        (b'"text"', {}, "something else than an object"),
        (gzip.compress(b'{"issuer": "x"}'), {"content-encoding": "gzip"}, "compressed"),
    ],
    ids=["without an end", "nested without an end", "no JSON", "no object", "compressed"],
)
def test_an_answer_that_cannot_be_used_is_not(liar: Liar, content: bytes, headers: dict[str, str], why: str) -> None:
    liar.told[WELL_KNOWN], liar.headers = (200, content), headers

    async def ask() -> None:
        await Lane().ask("GET", liar.issuer + WELL_KNOWN)

    with pytest.raises(Away, match=why):
        anyio.run(ask)


# ------------------------------------------------------------------ what is remembered


def remembering(doors: Doors) -> tuple[Doors, Seconds]:
    seconds = Seconds()
    return replace(doors, provider=Provider(doors.settings, now=seconds)), seconds


def come_by(doors: Doors, liar: Liar) -> int:
    """The status of someone's coming in."""
    liar.nonce = ""
    return back_from(Visit(doors), liar).status_code


def test_a_provider_says_what_it_is_and_shows_its_keys_once_an_hour(open_doors: Open, liar: Liar) -> None:
    doors, seconds = remembering(open_doors(liar.issuer))
    assert [come_by(doors, liar) for _ in range(3)] == [303] * 3
    assert liar.gets == [WELL_KNOWN, KEYS]
    seconds.passed += FRESH_FOR_S
    assert come_by(doors, liar) == 303
    assert liar.gets == [WELL_KNOWN, KEYS] * 2


def test_a_key_that_is_not_known_yet_is_asked_for_twice_a_minute_at_most(open_doors: Open, liar: Liar) -> None:
    doors, seconds = remembering(open_doors(liar.issuer))
    assert come_by(doors, liar) == 303
    seconds.passed += AGAIN_AFTER_S
    liar.key, liar.kid = key_called("two"), "two"
    assert come_by(doors, liar) == 303
    assert liar.gets.count(KEYS) == 2
    liar.kid = "three"
    assert [come_by(doors, liar) for _ in range(3)] == [403] * 3
    assert liar.gets.count(KEYS) == 2
    seconds.passed += AGAIN_AFTER_S
    assert come_by(doors, liar) == 403
    assert liar.gets.count(KEYS) == 3
    assert set(whys(doors)) == {"signature"}


def test_what_is_remembered_does_while_the_provider_does_not_say_it_and_for_a_day(open_doors: Open, liar: Liar) -> None:
    doors, seconds = remembering(open_doors(liar.issuer))
    assert come_by(doors, liar) == 303
    liar.told |= {WELL_KNOWN: (500, {}), KEYS: (200, {"keys": None})}
    seconds.passed += FRESH_FOR_S
    asked = len(liar.gets)
    assert [come_by(doors, liar) for _ in range(3)] == [303] * 3
    assert liar.gets[asked:] == [WELL_KNOWN, KEYS]  # once, and not again within half a minute
    seconds.passed += KEPT_FOR_S
    assert Visit(doors).get("/sign-in/provider").status_code == 403
    liar.told.clear()
    assert come_by(doors, liar) == 303


def test_one_odd_key_does_not_spoil_the_others(open_doors: Open, liar: Liar) -> None:
    odd = [None, 7, "key", [], {}, {"kty": "RSA", "n": "!", "e": 3}, {"kty": "EC", "crv": "P-9", "x": "a", "y": "b"}, {"kty": "ML-DSA"}]
    liar.told[KEYS] = (200, {"keys": [*odd, liar.key.as_dict(private=False)]})
    assert come_by(open_doors(liar.issuer), liar) == 303


def test_what_a_real_provider_says_is_remembered_too(open_doors: Open, slow: Gate) -> None:
    doors = open_doors(slow.issuer)
    assert come(doors, "s-caen")[1].status_code == 303
    slow.shut()
    assert Visit(doors).get("/sign-in/provider").status_code == 303
    assert whys(doors) == []
