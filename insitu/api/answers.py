"""What the document says of every answer: the refusals there are, and the headers that come along."""

from __future__ import annotations

from typing import Any

from insitu.api.idempotency import REPLAYED
from insitu.api.shapes.common import Problem

Responses = dict[int | str, dict[str, Any]]

MEANINGS = {
    400: "The body cannot be read at all.",
    401: "Nobody is signed in, or the token is unknown, expired or revoked.",
    403: "It is not this person's to do: a role, a delegation, a training, the token's scope or the proof of who they are is missing.",
    404: "It does not exist, or this person may not see it: the two answer alike.",
    409: "It cannot be done now: someone was first, a gate is closed, an experiment has ended, or the key was used for something else.",
    413: "The body is too large.",
    415: "The body is not of a kind that is read here.",
    422: "What was sent cannot be used; `errors` says which part and why.",
    429: "Too many tries; the header Retry-After says when to come back.",
    503: "The ledger does not answer; nothing was written.",
}
LINKED = {
    "Link": {"description": "The parts of the list beside this one (RFC 8288): `rel` is `next` or `prev`.", "schema": {"type": "string"}}
}
PAGED = LINKED | {"X-Total-Count": {"description": "How many entries there are in all.", "schema": {"type": "integer"}}}
ONCE = {
    REPLAYED: {
        "description": "`true` where the key was used before and this is the first result again.",
        "schema": {"type": "string", "const": "true"},
    }
}
Headers = dict[str, dict[str, Any]]


def reads(*more: int, headers: Headers | None = None) -> Responses:
    """The answers of a read: it may be refused for its parameters, for who asks, and for `more`."""
    return _refusals({401, 422, 429, 503, *more}) | ({200: {"headers": headers}} if headers else {})


def writes(success: int = 200) -> Responses:
    """The answers of a write."""
    return _refusals({400, 401, 403, 404, 409, 413, 415, 422, 429, 503}) | {success: {"headers": ONCE}}


def _refusals(statuses: set[int]) -> Responses:
    return {status: {"model": Problem, "description": MEANINGS[status]} for status in sorted(statuses)}
