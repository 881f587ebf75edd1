"""What is kept whole under its hash: protocols and documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from protocols.errors import InvalidProtocol
from protocols.facts import Fact, FactKind
from protocols.model import content_hash, limited
from protocols.phrase import Phrase
from sites.database import table
from sites.journal import readable
from sites.tables import Delegation, Document, Experiment, Release, Training
from sites.verification.findings import Finding, Tally

_RELEASE, _DOCUMENT, _EXPERIMENT = table(Release), table(Document), table(Experiment)
AT_ONCE = 500
# A document may have tens of megabytes: few are held at a time.
DOCUMENTS_AT_ONCE = 4


class Named(NamedTuple):
    """A document that a fact names."""

    hash: str
    name: str
    step: str
    site: str
    round: int


def protocols(connection: Connection, tally: Tally, of: str = "") -> Iterator[Finding]:
    """The released protocols that are not what their hash says: all of them, or the one of an experiment."""
    chosen = select(_RELEASE).order_by(_RELEASE.c.id, _RELEASE.c.version)
    used = select(_EXPERIMENT.c.code, _EXPERIMENT.c.protocol).where(_EXPERIMENT.c.protocol.not_in(select(_RELEASE.c.hash)))
    if of:
        chosen = chosen.where(_RELEASE.c.hash.in_(select(_EXPERIMENT.c.protocol).where(_EXPERIMENT.c.code == of)))
        used = used.where(_EXPERIMENT.c.code == of)
    for row in readable(dict(one) for one in connection.execute(chosen, execution_options={"yield_per": 1}).mappings()):
        tally.protocols += 1
        if row is None:
            yield Finding(Phrase("a protocol cannot be read"))
        else:
            yield from protocol(row)
    for code, name in connection.execute(used):
        yield Finding(Phrase("its protocol {hash} is missing", hash=name), code)


def protocol(row: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with a released protocol."""
    named = Phrase("protocol {id} {version}", id=row["id"], version=row["version"])
    if hashlib.sha256(row["content"].encode()).hexdigest() != row["hash"]:
        yield Finding(Phrase("{protocol} was changed: its content does not match its hash {hash}", protocol=named, hash=row["hash"]))
        return
    content = json.loads(row["content"])
    if (content["id"], content["version"]) != (row["id"], row["version"]):
        holds = {"id": content["id"], "version": content["version"]}
        yield Finding(Phrase("{protocol} holds the content of {id} {version}", protocol=named, **holds))
    if row["source"] and not _is_source_of(row["source"], row["hash"]):
        yield Finding(Phrase("{protocol} was changed: its text as added is another protocol's", protocol=named))


@lru_cache(maxsize=256)
def _is_source_of(text: str, name: str) -> bool:
    """Whether a text gives the protocol of a hash, as it is or with the bounds that a release puts on its tables.

    One that today's language does not read any more cannot be told.
    """
    from protocols.parsing import parse

    try:
        protocol = parse(text).protocol
        return name in (content_hash(protocol), content_hash(limited(protocol)))
    except InvalidProtocol:
        return True


def documents(connection: Connection, tally: Tally) -> Iterator[Finding]:
    """The documents that are not what their hash says."""
    streamed = {"yield_per": DOCUMENTS_AT_ONCE}
    rows = connection.execute(select(_DOCUMENT.c.hash, _DOCUMENT.c.name, _DOCUMENT.c.content), execution_options=streamed)
    for row in readable(iter(rows)):
        tally.documents += 1
        if row is None:
            yield Finding(Phrase("a document cannot be read"))
        elif hashlib.sha256(row.content).hexdigest() != row.hash:
            yield Finding(
                Phrase("document “{name}” ({hash}) was replaced: its content does not match its hash", name=row.name, hash=row.hash)
            )


def named_in(fact: Fact) -> list[Named]:
    """The documents a fact names: what an action made, what somebody attached."""
    if fact.kind is FactKind.ACTION_DONE:
        found = _references(fact.data["result"].get("documents", ()))
    elif fact.kind is FactKind.CHECKPOINT_COMPLETED:
        found = _references(fact.data["answers"])
    else:
        return []
    return [Named(one["hash"], one["name"], fact.step, fact.site, fact.round) for one in found]


def _references(value: Any) -> Iterator[Mapping[str, Any]]:
    """The `{"hash", "name", …}` in answers or results, wherever they stand."""
    if isinstance(value, Mapping):
        if isinstance(value.get("hash"), str) and isinstance(value.get("name"), str):
            yield value
        else:
            yield from (found for one in value.values() for found in _references(one))
    elif isinstance(value, (list, tuple)):
        yield from (found for one in value for found in _references(one))


def missing(connection: Connection, named: list[Named], code: str) -> Iterator[Finding]:
    """The documents that facts name and that are not there."""
    for some in (named[at : at + AT_ONCE] for at in range(0, len(named), AT_ONCE)):
        wanted = {one.hash for one in some}
        there = set(connection.execute(select(_DOCUMENT.c.hash).where(_DOCUMENT.c.hash.in_(wanted))).scalars())
        for one in some:
            if one.hash not in there:
                why = Phrase("its document “{name}” ({hash}) is missing", name=one.name, hash=one.hash)
                yield Finding(why, code, step=one.step, site=one.site, round=one.round)


def evidence(connection: Connection) -> Iterator[Finding]:
    """The documents that delegations and trainings name and that are not there."""
    for kept, said in ((table(Delegation), Phrase("delegation")), (table(Training), Phrase("training"))):
        lost = select(kept.c.id, kept.c.evidence).where(kept.c.evidence != "", kept.c.evidence.not_in(select(_DOCUMENT.c.hash)))
        for number, name in connection.execute(lost):
            yield Finding(Phrase("the evidence of {record} {number} ({hash}) is missing", record=said, number=number, hash=name))
