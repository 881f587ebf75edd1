"""A way to call the API: a program with a person's token."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from insitu.app import create_app
from insitu.entrance.doors import Doors
from sites.identity.tokens import Scope, create_token

HOST = "http://insitu.test"


class Caller:
    """A program that calls as a person, "" for nobody; paths are below `/api/v1`."""

    def __init__(self, doors: Doors, person: str = "", *, scope: Scope = "write", locale: str = "en", app: FastAPI | None = None) -> None:
        self.doors, self.person, self.app = doors, person, app or create_app(doors)
        self.client = TestClient(self.app, base_url=HOST, follow_redirects=False, headers={"accept-language": locale})
        if person:
            self.token = create_token(doors.database, doors.clock, person, "test", scope, 30)
            self.client.headers["authorization"] = f"Bearer {self.token}"

    def as_(self, person: str) -> Caller:
        """Another person's program on the same doors."""
        return Caller(self.doors, person, app=self.app)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.client.get(f"/api/v1{path}", params=query or None)

    def post(self, path: str, body: Any = None, *, key: str = "", **options: Any) -> httpx.Response:
        return self.client.post(f"/api/v1{path}", json=body, headers={"idempotency-key": key} if key else {}, **options)

    def put(self, path: str, body: Any) -> httpx.Response:
        return self.client.put(f"/api/v1{path}", json=body)

    def ok(self, answer: httpx.Response) -> Any:
        """The JSON of an answer that must be a success."""
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    """The status of a refusal and what its problem document calls it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert {"type", "title", "status", "detail", "errors"} <= body.keys()
    assert body["status"] == answer.status_code
    return answer.status_code, body["type"].removeprefix("urn:insitu:problem:")
