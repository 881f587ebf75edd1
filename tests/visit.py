"""A way to look at the pages: a browser without JavaScript, whose person has signed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.guard import FIELD
from insitu.entrance.visitor import COOKIE
from sites.clock import SetClock
from sites.database import Database
from sites.identity.sessions import open_session
from sites.ledger import Ledger
from sites.settings import Settings

HOST = "http://insitu.test"


class Visit:
    """A browser on an application. `sign_in` begins a session by the same door as the sign-in page does."""

    def __init__(self, doors: Doors, *, locale: str = "en", app: ASGIApp | None = None) -> None:
        self.doors, self.app = doors, app or create_app(doors)
        self.client = TestClient(self.app, base_url=HOST, follow_redirects=False, headers={"accept-language": locale})

    def sign_in(self, person: str) -> Visit:
        """Begin a session of the person's; gives the visit back."""
        with self.doors.database.write() as connection:
            cookie = open_session(connection, person, self.doors.clock.now(), method="password")
        self.client.cookies.set(COOKIE, cookie)
        return self

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def token(self, path: str) -> str:
        """The form token of a page."""
        found = re.search(rf'name="{FIELD}" value="([^"]+)"', self.get(path).text)
        assert found, f"{path} has no form"
        return found[1]

    def post(self, path: str, form: Mapping[str, Any] | None = None, *, of: str, **options: Any) -> httpx.Response:
        """Send a form found on the page `of`, to `path`."""
        return self.client.post(path, data={FIELD: self.token(of)} | dict(form or {}), **options)


def doors_on(database: Database, clock: SetClock, **settings: Any) -> Doors:
    """The doors of a database that a test has filled; the key is the tests' own."""
    given: dict[str, Any] = {"data": Path(), "key": "a key of thirty-two characters or more, for tests"} | settings
    return Doors.of(Settings(database_url=database.url, **given), database, Ledger(database, clock))
