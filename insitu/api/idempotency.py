"""The same request twice: an `Idempotency-Key` gives the first result again instead of doing it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response

from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.visitor import visitor_of
from sites import commands

REPLAYED = "Idempotency-Replayed"
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Your own text for this write, such as a UUID. The same key and body again give the first result and change nothing; "
        "the same key with another body is refused (409). Keys are each person's own and are kept for ever.",
        examples=["8b5d0f0e-6c55-4a7e-9f0b-5a1a4f6b2c11"],
    ),
]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a write; `command_id` is None without a key."""

    doors: Doors
    command_id: str | None

    def once(self, described: Mapping[str, Any], do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `do` gives, done once for a key; for writes that the ledger does not count by itself.

        The key is taken first: if the machine stops in the middle, a repeat is refused (409) rather than done twice.
        """
        if self.command_id is None:
            return do()
        database = self.doors.database
        earlier = commands.claim(database, self.command_id, described, self.doors.clock.now())
        if earlier is not None:
            return earlier
        try:
            result = do()
        except BaseException:
            commands.give_back(database, self.command_id)
            raise
        commands.fulfil(database, self.command_id, result)
        return result


def attempt(request: Request, response: Response, idempotency_key: Key = None) -> Attempt:
    """The write's key as a command id that no other person's key can meet; a repeat is marked in the answer's headers."""
    doors, visitor = doors_of(request), visitor_of(request)
    if idempotency_key is None or visitor is None:
        return Attempt(doors, None)
    digest = hashlib.sha256(f"{visitor.person}\x00{idempotency_key}".encode()).hexdigest()
    command_id = f"api:{digest}"
    if commands.is_known(doors.database, command_id):
        response.headers[REPLAYED] = "true"
    return Attempt(doors, command_id)


Once = Annotated[Attempt, Depends(attempt)]
