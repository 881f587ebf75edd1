"""The heads of all journals: what an anchor holds on to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, select

from sites import register
from sites.anchors.tree import leaf_hash
from sites.database import table
from sites.tables import AccessRow, Experiment

_EXPERIMENT, _ACCESS = table(Experiment), table(AccessRow)
ACCESS, REGISTER = "access", "register"
EXPERIMENT = "experiment/"


class Head(NamedTuple):
    """Where a chain ends: the number and the hash of its last row, `seq` 0 once the chain is gone.

    `name` is `access`, `register`, or `experiment/` and a code.
    """

    name: str
    seq: int
    hash: str

    @property
    def leaf(self) -> bytes:
        return leaf_hash(f"{self.name}:{self.seq}:{self.hash}".encode())

    @property
    def experiment(self) -> str:
        """The code of the experiment whose chain it is, "" for another."""
        return self.name.removeprefix(EXPERIMENT) if self.name.startswith(EXPERIMENT) else ""


def heads(connection: Connection) -> dict[str, Head]:
    """Every chain's head at this moment, by its name."""
    return {head.name: head for head in _heads(connection)}


def _heads(connection: Connection) -> Iterator[Head]:
    last = connection.execute(select(_ACCESS.c.seq, _ACCESS.c.hash).order_by(_ACCESS.c.seq.desc()).limit(1)).first()
    if last:
        yield Head(ACCESS, last.seq, last.hash)
    if entered := register.head(connection):
        yield Head(REGISTER, *entered)
    for row in connection.execute(select(_EXPERIMENT.c.code, _EXPERIMENT.c.seq, _EXPERIMENT.c.head)):
        yield Head(f"{EXPERIMENT}{row.code}", row.seq, row.head)


def leaves(found: Iterable[Head]) -> list[bytes]:
    """The leaves of the tree, in the order of the chains' names."""
    return [head.leaf for head in sorted(found)]
