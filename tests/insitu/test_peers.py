"""On its own machine, insitu is set up by its own account; another one needs the code, which is told where insitu was started."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from visit import doors_on

from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.setup import setup_code
from sites.clock import SetClock
from sites.database import Database

NOBODY = 65534
HUNG_S = 30

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other kernels do not tell whose a connection is")


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock) -> Doors:
    return doors_on(sqlite_database, clock)


@pytest.fixture(params=["127.0.0.1", "::1"])
def page(request: pytest.FixtureRequest, doors: Doors) -> Iterator[str]:
    """The address of the set-up page, served on a real connection."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listening = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 here")
    server = uvicorn.Server(uvicorn.Config(create_app(doors), log_level="warning", access_log=False))
    running = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    running.start()
    host = f"[{request.param}]" if ":" in request.param else request.param
    yield f"http://{host}:{listening.getsockname()[1]}/setup"
    server.should_exit = True
    running.join(HUNG_S)


def seen(page: str, user: int | None = None) -> str:
    """What a browser of an account is shown."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    asked = [curl, "-sg", "--retry", "5", "--retry-connrefused", page]
    return subprocess.run(asked, user=user, capture_output=True, text=True, timeout=HUNG_S, check=True).stdout


def test_the_account_that_runs_insitu_is_asked_for_no_code(page: str) -> None:
    shown = seen(page)
    assert 'name="password"' in shown
    assert 'name="setup_code"' not in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
def test_another_account_of_the_machine_is_and_the_code_stands_in_the_log(
    page: str, doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "insitu.doors"):
        for _ in range(2):
            assert 'name="setup_code"' in seen(page, user=NOBODY)
    (told,) = [record.getMessage() for record in caplog.records if "set-up code" in record.getMessage()]
    assert setup_code(doors.key) in told
