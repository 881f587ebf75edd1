"""What is measured while a provider, a mail server and a writer hang all at once: `make soak`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from figures import keep, skip_if_done
from sqlalchemy import select
from test_unavailable import PASSWORD, filled, locked
from visit import Visit, doors_on

from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.guard import FIELD
from insitu.entrance.visitor import COOKIE
from insitu.services import serving
from insitu.supervision import Parts
from notifications.dispatch import Dispatcher
from sites.clock import SetClock, SystemClock
from sites.database import Database, table
from sites.identity.tokens import create_token
from sites.tables import Experiment

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
TIMES, AT_ONCE = 30, 4
PATIENCE_S = 5
READS = ("/today", "/experiments", "/account", "/api/v1/experiments", "/api/v1/checkpoints")


@contextmanager
def silent() -> Iterator[int]:
    """A server that takes connections and never answers; its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as door:
        yield door.getsockname()[1]


@contextmanager
def held(database: Database) -> Iterator[None]:
    """A writer that hangs: on PostgreSQL it holds the rows of the experiments."""
    if database.is_sqlite:
        with locked(database):
            yield
        return
    with database.write() as holder:
        holder.execute(select(table(Experiment)).with_for_update())
        yield


@contextmanager
def everything_hanging(doors: Doors, stack: ExitStack) -> Iterator[str]:
    """The doors behind a real server, with visits to the provider and mails under way that nobody answers."""
    door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    stack.enter_context(serving(create_app(doors), door, Parts()))
    here, stop = f"http://127.0.0.1:{door.getsockname()[1]}", threading.Event()
    sending = threading.Thread(target=Dispatcher(doors.database, SystemClock(), doors.settings).run, args=(stop,), daemon=True)
    sending.start()
    stack.callback(stop.set)
    for _ in range(20):
        threading.Thread(target=visit_the_provider, args=(here, stop), daemon=True).start()
    yield here


def visit_the_provider(here: str, stop: threading.Event) -> None:
    """Come again as somebody would who was told that it is slow."""
    while not stop.is_set():
        httpx.get(f"{here}/sign-in/provider", timeout=120)
        stop.wait(PATIENCE_S)


def measured(ask: Callable[[], httpx.Response], wanted: Sequence[int]) -> list[float]:
    """How long so many of each of a few at once take, in seconds; each is answered as wanted."""
    taken: list[float] = []
    wrong: list[int] = []

    def run() -> None:
        for _ in range(TIMES):
            began = time.monotonic()
            answer = ask()
            taken.append(time.monotonic() - began)
            if answer.status_code not in wanted or (answer.status_code == 503 and "retry-after" not in answer.headers):
                wrong.append(answer.status_code)

    askers = [threading.Thread(target=run) for _ in range(AT_ONCE)]
    for one in askers:
        one.start()
    for one in askers:
        one.join()
    assert wrong == []
    return sorted(taken)


def told(taken: list[float]) -> dict[str, float]:
    return {"median_s": round(taken[len(taken) // 2], 3), "p95_s": round(taken[int(len(taken) * 0.95)], 3), "max_s": round(taken[-1], 3)}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_reads_and_health_go_on_and_writes_are_told_while_everything_hangs(
    request: pytest.FixtureRequest, clock: SetClock, kind: str
) -> None:
    skip_if_done(name := f"hanging {kind}")
    database: Database = filled(request.getfixturevalue(f"{kind}_database"), clock)
    with ExitStack() as stack:
        provider, mail = stack.enter_context(silent()), stack.enter_context(silent())
        hanging: dict[str, Any] = {"oidc_issuer": f"http://127.0.0.1:{provider}", "oidc_client_id": "insitu", "oidc_client_secret": "x"}
        doors = doors_on(database, clock, mail_url=f"mailto://127.0.0.1:{mail}?from=insitu@example.org", **hanging)
        doors = replace(doors, loopback=True)
        visit = Visit(doors).sign_in("project_manager")
        cookies = {COOKIE: str(visit.client.cookies[COOKIE])}
        token = create_token(database, clock, "project_manager", "soak", "write", 30)
        entering = Visit(doors)
        form = {FIELD: entering.token("/sign-in"), "name": "project_manager", "password": PASSWORD}
        before = dict(entering.client.cookies)
        clock.advance(timedelta(minutes=2))  # so that being seen would be written
        here = stack.enter_context(everything_hanging(doors, stack))
        stack.enter_context(held(database))
        paths = iter(READS + READS * TIMES * AT_ONCE)
        headers = {"authorization": f"Bearer {token}"}

        def read() -> httpx.Response:
            path = next(paths)
            proof: dict[str, Any] = {"headers": headers} if path.startswith("/api") else {"cookies": cookies}
            return httpx.get(here + path, timeout=60, **proof)

        for _ in READS:  # the first look at a page makes its template ready
            read()
        writes = [503] if kind == "sqlite" else [303]
        figures = {
            "reads": told(measured(read, [200])),
            "health": told(measured(lambda: httpx.get(f"{here}/api/v1/health", timeout=60), [200])),
            "sign_ins": told(measured(lambda: httpx.post(f"{here}/sign-in", data=form, cookies=before, timeout=60), writes)),
        }
    keep(name, **figures)
