"""How long each page takes: a crowd's database, the real server in its own process, people who click in another."""

from __future__ import annotations

import asyncio
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench import crowd
from insitu.entrance.visitor import COOKIE
from sites.clock import SystemClock
from sites.database import Database
from sites.identity.sessions import open_session

OF_EXPERIMENT = ("", "/timeline", "/people", "/messages", "/documents", "/journal", "/signatures")
EVERYONE_S = (
    "/today",
    "/experiments",
    "/experiments?only=stuck",
    "/deadlines",
    "/library",
    "/library/telerehab-hip/{version}",
    "/account",
    "/account/notices",
)
APIS = (
    "/api/v1/experiments",
    "/api/v1/checkpoints?state=open&mine=true",
    "/api/v1/experiments/{code}/gates",
    "/api/v1/experiments/{code}/journal",
)
MANAGER_S = ("/experiments/{code}/manage", "/launch", "/launch/telerehab-hip", "/admin")
ROUNDS = {"alone": 0.0, "thinking": 1.0, "closed_loop": 0.0}  # seconds of thought in the mean between two clicks
WHO = {"coordinator": crowd.COORDINATOR, "sponsor": crowd.SPONSOR, "manager": crowd.MANAGER}


@dataclass
class Person:
    """Someone who clicks: as what, with which session, on which pages."""

    role: str
    cookie: str
    pages: list[str]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    answers: dict[str, tuple[int, int]] = field(default_factory=dict)  # status and size of the last answer


def run(folder: Path, users: int, seconds: float) -> dict[str, Any]:
    """Measure every page: with one person at a time, with people who think for a second between clicks, with people who never do."""
    known = crowd.build(folder)
    with _server(folder) as (address, server):
        people = _people(folder, users, known)
        _in_a_process(address, _once_each(people), 0.0, 0.0)  # templates and protocols are read once, by whoever comes first
        rounds = {}
        for name, think in ROUNDS.items():
            before, begun = sum(server.cpu_times()[:2]), time.perf_counter()
            crews = [[person] for person in _once_each(people)] if name == "alone" else [people]
            found = [person for crew in crews for person in _in_a_process(address, crew, seconds / len(crews), think)]
            used = sum(server.cpu_times()[:2]) - before
            rounds[name] = _told(found, time.perf_counter() - begun, used)
        memory = server.memory_info().rss // 2**20
    return {"crowd": known, "users": users, "seconds": seconds, "server_rss_mb": memory} | rounds


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`insitu serve` on a free port: its address, and the process."""
    command = [sys.executable, "-c", "from insitu.cli import main; main()", "serve", "--port", "0", "--data", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        address = next((word for word in line.split() if word.startswith("http")), "")
        if not address:
            raise RuntimeError(f"the server did not start: {line!r}")
        yield address.rstrip("."), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def pages_of(role: str, known: Mapping[str, Any]) -> list[str]:
    """The pages that a role looks at."""
    of_experiment = [f"/experiments/{{code}}{part}" for part in OF_EXPERIMENT]
    pages = [*EVERYONE_S, *of_experiment, *APIS]
    pages += [f"/checkpoints/{known['checkpoint']}"] if role != "sponsor" else []
    pages += MANAGER_S if role == "manager" else ()
    return [page.replace("{code}", known["experiment"]).replace("{version}", known["version"]) for page in pages]


def _people(folder: Path, users: int, known: Mapping[str, Any]) -> list[Person]:
    database, now = Database(f"sqlite:///{folder / 'insitu.db'}"), SystemClock().now()
    roles = [list(WHO)[number % len(WHO)] for number in range(users)]
    with database.write() as connection:
        cookies = [open_session(connection, WHO[role], now, method="password") for role in roles]
    database.dispose()
    return [Person(role, cookie, pages_of(role, known)) for role, cookie in zip(roles, cookies, strict=True)]


def _once_each(people: Sequence[Person]) -> list[Person]:
    return list({person.role: person for person in people}.values())


# ------------------------------------------------------------------ clicking, in a process of its own


def _in_a_process(address: str, people: Sequence[Person], seconds: float, think: float) -> list[Person]:
    context = get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(click, (address, list(people), seconds, think))


def click(address: str, people: list[Person], seconds: float, think: float) -> list[Person]:
    """Let people click for so many seconds (0: every page of theirs once), thinking `think` seconds in the mean between two clicks."""
    asyncio.run(_all(address, people, seconds, think))
    return people


async def _all(address: str, people: Sequence[Person], seconds: float, think: float) -> None:
    end = time.perf_counter() + seconds
    await asyncio.gather(*(_clicks(address, person, number, end if seconds else 0.0, think) for number, person in enumerate(people)))


async def _clicks(address: str, person: Person, number: int, end: float, think: float) -> None:
    dice, browser = random.Random(number), Browser(address, person.cookie)
    if not end:
        for page in person.pages:
            await browser.get(page)
        return
    await asyncio.sleep(dice.random() * think)
    pages = dice.sample(person.pages, len(person.pages))
    while time.perf_counter() < end:
        for page in pages:
            begun = time.perf_counter()
            person.answers[page] = await browser.get(page)
            person.seconds.setdefault(page, []).append(time.perf_counter() - begun)
            if time.perf_counter() >= end:
                return
            if think:
                await asyncio.sleep(dice.expovariate(1 / think))


class Browser:
    """A connection kept open, without the cost of a whole client: it shares two cores with the server."""

    def __init__(self, address: str, cookie: str) -> None:
        self.host = urlsplit(address).hostname or "127.0.0.1"
        self.port = urlsplit(address).port or 80
        self.head = f"Host: {self.host}:{self.port}\r\nCookie: {COOKIE}={cookie}\r\nAccept: text/html\r\n\r\n"
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, page: str) -> tuple[int, int]:
        """The status and the size of a page."""
        try:
            return await self._get(page)
        except (ConnectionError, asyncio.IncompleteReadError):  # kept open too long: the server closed it
            self.streams = None
            return await self._get(page)

    async def _get(self, page: str) -> tuple[int, int]:
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port, limit=2**20)
        reader, writer = self.streams
        writer.write(f"GET {page} HTTP/1.1\r\n{self.head}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), None)
        if length is None:
            return status, await self._chunks(reader)
        await reader.readexactly(length)
        return status, length

    async def _chunks(self, reader: asyncio.StreamReader) -> int:
        size = 0
        while count := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
            await reader.readexactly(count + 2)
            size += count
        await reader.readuntil(b"\r\n")
        return size


# ------------------------------------------------------------------ what came of it


def _told(people: Sequence[Person], seconds: float, used: float) -> dict[str, Any]:
    """Milliseconds by page and role, over all, and by role; `cpu_ms` is the server's for one answer."""
    times: dict[tuple[str, str], list[float]] = {}
    answers: dict[tuple[str, str], tuple[int, int]] = {}
    for person in people:
        for page, found in person.seconds.items():
            times.setdefault((page, person.role), []).extend(found)
            answers[page, person.role] = person.answers[page]
    every = [value for found in times.values() for value in found]
    by_role = {role: [value for (_, whose), found in times.items() if whose == role for value in found] for role in WHO}
    rows = [
        {"page": page, "role": role} | _percentiles(found) | _answer(answers[page, role]) for (page, role), found in sorted(times.items())
    ]
    return {
        "requests_per_s": round(len(every) / seconds, 1),
        "cpu_ms": round(used / max(len(every), 1) * 1000, 2),
        "all": _percentiles(every),
        "by_role": {role: _percentiles(found) for role, found in by_role.items()},
        "pages": rows,
    }


def _answer(answer: tuple[int, int]) -> dict[str, int]:
    return {"status": answer[0], "bytes": answer[1]}


def _percentiles(found: Sequence[float]) -> dict[str, float]:
    if not found:
        return {"n": 0, "p50": 0.0, "p95": 0.0}
    ordered = sorted(found)
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return {"n": len(ordered), "p50": round(median(ordered) * 1000, 1), "p95": round(p95 * 1000, 1)}


def table_of(result: Mapping[str, Any]) -> str:
    """The measurement as text: a line a page and role, the slowest first."""
    lines = []
    for name in ROUNDS:
        found = result[name]
        lines.append(
            f"{name}: {result['users']} people, {found['requests_per_s']} answers/s, {found['cpu_ms']} ms of the server's processor each"
        )
        lines.append(f"{'page':58} {'role':12} {'n':>6} {'p50 ms':>8} {'p95 ms':>8} {'bytes':>8} status")
        for row in sorted(found["pages"], key=lambda row: -row["p95"]):
            lines.append(
                f"{row['page'][:58]:58} {row['role']:12} {row['n']:6} {row['p50']:8} {row['p95']:8} {row['bytes']:8} {row['status']}"
            )
        for role, of_role in found["by_role"].items():
            lines.append(f"{'all pages':58} {role:12} {of_role['n']:6} {of_role['p50']:8} {of_role['p95']:8}")
        lines.append("")
    return "\n".join(lines)
