"""One line of the file of anchors: a day's heads in one hash, chained to the line before and signed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from sites.anchors import key as keys
from sites.anchors.key import SigningKey

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Line:
    """`number` counts from 1; `date` is the day in UTC, `at` the moment (RFC 3339); `count` the chains, `root` the Merkle root of
    their heads.

    `leaves` is the SHA-256 of the companion file with the heads: all of them when `full`, else those that changed since the line before.
    `previous` is the SHA-256 of the line before ("" for the first), `key` the public key that signed, `next_key` the one announced to
    sign from the next line on, "" for none.
    """

    number: int
    date: str
    at: str
    count: int
    root: str
    leaves: str
    full: bool
    previous: str
    key: str
    next_key: str = ""
    format: int = FORMAT
    signature: str = ""

    @property
    def content(self) -> bytes:
        """What is signed: canonical JSON of everything but the signature."""
        values = asdict(self)
        del values["signature"]
        return orjson.dumps(values, option=orjson.OPT_SORT_KEYS)

    @property
    def text(self) -> bytes:
        """The line as it stands in the file, without its end."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text).hexdigest()

    @property
    def signer(self) -> str:
        """The fingerprint of the key that signed."""
        return keys.fingerprint(self.key)

    @property
    def is_signed(self) -> bool:
        return keys.is_signed(self.key, self.signature, self.content)

    def signed(self, key: SigningKey) -> Line:
        values = asdict(self) | {"key": key.public, "signature": ""}
        return Line(**values | {"signature": key.sign(Line(**values).content)})


def read(text: bytes) -> Line | None:
    """The line of a text; None for what is none, or is of a later format."""
    try:
        values = orjson.loads(text)  # it also refuses what nests deep, numbers beyond 64 bits and halves of characters
        line = Line(**values)
        keys.fingerprint(line.key)
    except (TypeError, ValueError):
        return None
    return line if _is_sound(values) and line.format == FORMAT else None


def _is_sound(values: dict[str, Any]) -> bool:
    numbers, booleans = ("number", "count", "format"), ("full",)
    return all(type(value) is (int if name in numbers else bool if name in booleans else str) for name, value in values.items())
