"""Released protocols: kept whole under the hash of their canonical form, never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, insert, select

from protocols.conditions import evaluate_apart_by
from protocols.errors import InsituError, InvalidProtocol, Problem, Refused, UnknownThing
from protocols.model import Protocol, canonical, content_hash, limited
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites import apart
from sites.clock import Clock
from sites.database import Database, queue_up, table
from sites.tables import Release

if TYPE_CHECKING:
    from protocols.lint import Known

Row = TypeVar("Row", bound=Mapping[str, Any])

_RELEASE = table(Release)
_plans: dict[str, Plan] = {}
# Whoever evaluates a released condition has its plan from here.
evaluate_apart_by(apart.evaluate)


class AlteredProtocol(InsituError):
    """A released protocol is not what it was released as."""


def plan_of(connection: Connection, protocol_hash: str) -> Plan:
    """The compiled protocol of a hash, made once per process. What a hash names never changes, so it never grows stale.

    Raises AlteredProtocol when it is missing, or is not what its hash says: nothing is decided on it.
    """
    if protocol_hash not in _plans:
        _plans[protocol_hash] = read_plan(connection, protocol_hash)
    return _plans[protocol_hash]


def read_plan(connection: Connection, protocol_hash: str) -> Plan:
    """`plan_of`, read and compiled anew."""
    content = connection.execute(select(_RELEASE.c.content).where(_RELEASE.c.hash == protocol_hash)).scalar()
    if content is None or hashlib.sha256(content.encode()).hexdigest() != protocol_hash:
        raise AlteredProtocol(
            Phrase(
                "The protocol {hash} was changed in the database outside insitu, or is missing there: nothing is decided on it. "
                "Run `insitu verify`, and put it back from a backup.",
                hash=protocol_hash,
            )
        )
    return Plan(Protocol.model_validate_json(content), protocol_hash)


def add(database: Database, text: str, clock: Clock, file: str = "") -> dict[str, Any]:
    """Release a protocol: `{"id", "version", "hash"}`. The same content again changes nothing.

    A new release has a `max` on each of its tables; one that was released before, here or with insitu, keeps what it accepts and its
    hash. Raises InvalidProtocol with every problem and its line; Refused when this version was released with other content.
    """
    # These cost a parser; only those who release pay for it.
    from protocols.lint import lint
    from protocols.parsing import parse

    parsed = parse(text, file)
    was_released = _was_released(database, parsed.protocol)
    if errors := [problem for problem in lint(parsed, released=was_released) if problem.level == "error"]:
        raise InvalidProtocol(errors)
    protocol = parsed.protocol if was_released else limited(parsed.protocol)
    release = {"id": protocol.id, "version": protocol.version, "hash": content_hash(protocol)}
    with database.write() as connection:
        queue_up(connection)
        known = connection.execute(_named(protocol.id, protocol.version)).mappings().first()
        if known and known["hash"] != release["hash"]:
            raise Refused(
                Phrase(
                    "Protocol {id} {version} was released with other content; a release never changes. Raise its version.",
                    id=protocol.id,
                    version=protocol.version,
                )
            )
        if not known:
            row = release | {"content": canonical(protocol), "source": text, "added_at": clock.now()}
            connection.execute(insert(_RELEASE), row)
    return release


def problems(text: str, file: str = "", *, database: Database | None = None, known: Known | None = None) -> list[Problem]:
    """Everything wrong with a protocol, in the order of the lines. One released before, in `database` or with insitu, is only warned
    of what later rules refuse."""
    from protocols.lint import lint
    from protocols.parsing import parse

    try:
        parsed = parse(text, file)
    except InvalidProtocol as error:
        return error.problems
    return lint(parsed, known, released=_was_released(database, parsed.protocol))


def _was_released(database: Database | None, protocol: Protocol) -> bool:
    """Whether exactly this was released: in this database, or with insitu itself."""
    written = content_hash(protocol)
    if database is not None:
        with database.read() as connection:
            if connection.execute(select(_RELEASE.c.hash).where(_RELEASE.c.hash == written)).first():
                return True
    return written == _of_library(protocol.id)


@lru_cache(maxsize=64)
def _of_library(protocol: str) -> str:
    """The hash of the protocol of this id that comes with insitu, "" when none does."""
    from protocols.parsing import parse

    entry = files("protocols") / "library" / f"{protocol}.yaml"
    return content_hash(parse(entry.read_text("utf-8")).protocol) if entry.is_file() else ""


def add_library(database: Database, clock: Clock) -> list[dict[str, Any]]:
    """Release every protocol of the library that comes with insitu; those already there are left as they are."""
    folder = files("protocols") / "library"
    sources = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    return [add(database, entry.read_text("utf-8"), clock, entry.name) for entry in sources]


def find_release(connection: Connection, protocol: str, version: str | None = None) -> dict[str, Any]:
    """A release by id, the latest (`latest`) when no version is given. Raises UnknownThing."""
    rows = [dict(row) for row in connection.execute(select(_RELEASE).where(_RELEASE.c.id == protocol)).mappings()]
    chosen = [row for row in rows if version in (None, row["version"])]
    if not chosen:
        known = sorted(set(connection.execute(select(_RELEASE.c.id)).scalars())) if not rows else [row["version"] for row in rows]
        what = Phrase("version {version} of protocol {protocol!r}", version=version, protocol=protocol)
        what = what if rows else Phrase("protocol {protocol!r}", protocol=protocol)
        raise UnknownThing(
            Phrase(
                "There is no {what}; known: {known}. Add one with `insitu protocol add FILE`.",
                what=what,
                known=", ".join(known) or Phrase("none"),
            )
        )
    return latest(chosen)


def latest(rows: Iterable[Row]) -> Row:
    """The latest of some releases of one protocol: a pre-release such as 1.1.0-rc.1 only where there is nothing else."""
    return max(rows, key=lambda row: ("-" not in row["version"], _precedence(row["version"])))


def releases(database: Database) -> list[dict[str, Any]]:
    """Every release, by id then version."""
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(select(_RELEASE)).mappings()]
    return sorted(rows, key=lambda row: (row["id"], _precedence(row["version"])))


def _named(protocol: str, version: str) -> Any:
    return select(_RELEASE.c.hash).where(_RELEASE.c.id == protocol, _RELEASE.c.version == version)


def _precedence(version: str) -> tuple[tuple[int, ...], bool, list[tuple[bool, int, str]]]:
    """SemVer 2.0.0 §11: numbers in order, a pre-release before its release, its numeric parts before its words."""
    core, _, pre = version.partition("-")
    parts = [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in pre.split(".")] if pre else []
    return tuple(int(number) for number in core.split(".")), not pre, parts
