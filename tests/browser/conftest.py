"""A real browser on real pages: Chromium where one is found, and a server in a thread of the test's own process."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright
from two_sites import TwoSites, settle
from visit import doors_on

from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.services import address, listening
from sites.clock import SetClock
from sites.database import Database

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Nothing of a browser's own may call out: the tests run where there is no network.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser, or a skip that says why. Not for the session: its event loop runs while it lasts, and other tests run their own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium): what a browser shows was not tested")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def served(doors: Doors) -> Iterator[str]:
    """The address at which an installation is served while the block runs."""
    with listening("127.0.0.1", 0) as door:
        server = uvicorn.Server(uvicorn.Config(create_app(doors), log_level="warning", access_log=False))
        running = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        running.start()
        yield address(door)
        server.should_exit = True
        running.join(10)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSites]:
    """Two experiments on two sites, as in the tests of the routes."""
    folder = tmp_path_factory.mktemp("house")
    database = Database(f"sqlite:///{folder / 'insitu.db'}")
    database.migrate()
    yield settle(doors_on(database, SetClock(datetime(2026, 3, 2, 9, tzinfo=UTC)), data=folder))
    database.dispose()


@pytest.fixture(scope="module")
def address_of_house(house: TwoSites) -> Iterator[str]:
    with served(house.doors) as at:
        yield at


PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
