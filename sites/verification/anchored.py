"""The ledger held against the anchors: every head that was signed must still be there, and the anchors themselves be whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, tuple_

from protocols.errors import InsituError
from protocols.phrase import Phrase
from sites.anchors import tree
from sites.anchors.folder import DamagedLeaves, Folder
from sites.anchors.heads import ACCESS, REGISTER, Head
from sites.anchors.keeper import advance
from sites.anchors.key import found_key
from sites.anchors.line import Line
from sites.database import table
from sites.identity.access import AccessKind
from sites.tables import AccessRow, Experiment, FactRow, RegisterRow
from sites.verification.findings import Finding

_FACT, _ACCESS, _EXPERIMENT = table(FactRow), table(AccessRow), table(Experiment)
_ANCHORED = select(_ACCESS.c.data).where(_ACCESS.c.kind == AccessKind.ANCHORED.value).order_by(_ACCESS.c.seq.desc())
_OTHERS = {ACCESS: _ACCESS, REGISTER: table(RegisterRow)}
AT_ONCE = 200


@dataclass(slots=True)
class Reading:
    """The anchors as far as they were read: the heads by the last line, with what their leaves hash to, and who signed."""

    heads: dict[str, Head] = field(default_factory=dict)
    hashed: dict[str, bytes] = field(default_factory=dict)
    last: Line | None = None
    keys: dict[str, list[int]] = field(default_factory=dict)
    lines: int = 0
    is_whole: bool = True
    lost: set[str] = field(default_factory=set)

    def said(self, folder: Folder) -> dict[str, Any]:
        """`file`, `lines`, `last` (`number`, `date`, `hash`) or None, and `keys`: `fingerprint`, `first` and `last` number signed."""
        last = self.last and {"number": self.last.number, "date": self.last.date, "hash": self.last.hash}
        keys = [{"fingerprint": name, "first": first, "last": last_} for name, (first, last_) in self.keys.items()]
        return {"file": str(folder.file), "lines": self.lines, "last": last, "keys": keys}


def check(connection: Connection, folder: Folder, reading: Reading, data: Path | None) -> Iterator[Finding]:
    """What does not fit; `reading` is filled on the way. `data` is the folder with this machine's key, None where it is not to be asked."""
    try:
        yield from _lines(connection, folder, reading)
        yield from _end(connection, folder, reading, data)
    except InsituError as error:
        yield Finding(Phrase("the anchors cannot be checked: {error}", error=error.args[0]))


def _lines(connection: Connection, folder: Folder, reading: Reading) -> Iterator[Finding]:
    ids = {row.code: row.id for row in connection.execute(select(_EXPERIMENT.c.code, _EXPERIMENT.c.id))}
    unread = 0
    for line in folder.lines():
        if line is None:
            unread += 1
            continue
        yield from _line(folder, line, reading, unread)
        unread = 0
        yield from _leaves(connection, folder, line, reading, ids)
        reading.last = line
        reading.lines += 1
    if unread:
        yield Finding(Phrase("the last line of {file} cannot be read: it was altered, or cut while it was written", file=folder.file))


def _line(folder: Folder, line: Line, reading: Reading, unread: int) -> Iterator[Finding]:
    """Whether a line is the one that its signature and the line before say."""
    last = reading.last
    number, before = (last.number + 1, last.hash) if last else (1, "")
    named = Phrase("anchor {number} of {date}", number=line.number, date=line.date)
    if line.number != number:
        why = Phrase("{anchor} follows anchor {number}: lines were lost or altered between them", anchor=named, number=number - 1)
        yield Finding(why)
    elif line.previous != before:
        yield Finding(Phrase("{anchor} does not follow the line before it: that one was altered", anchor=named))
    if not line.is_signed:
        yield Finding(Phrase("{anchor} is not what the key {signer} signed: it was altered", anchor=named, signer=line.signer))
    elif last and line.key not in (last.key, last.next_key):
        values = {"signer": line.signer, "before": last.signer}
        yield Finding(
            Phrase("{anchor} is signed by the key {signer}, which the key before it, {before}, does not announce", anchor=named, **values)
        )
    reading.keys.setdefault(line.signer, [line.number, 0])[1] = line.number


def _leaves(connection: Connection, folder: Folder, line: Line, reading: Reading, ids: dict[str, int]) -> Iterator[Finding]:
    """Whether the heads of a line are those it signs, and are still in the ledger."""
    named = Phrase("anchor {number} of {date}", number=line.number, date=line.date)
    try:
        changed = folder.leaves(line)
    except DamagedLeaves as error:
        reading.is_whole = False
        yield Finding(Phrase("{anchor} cannot be held against the ledger: {why}", anchor=named, why=error.args[0]))
        return
    if line.full:
        before, reading.heads, reading.hashed, reading.is_whole = reading.heads, {}, {}, True
        changed += [Head(name, 0, "") for name in before if name not in {head.name for head in changed}]
    gone = [head.name for head in changed if not head.seq]
    advance(reading.heads, changed)
    reading.hashed.update({head.name: head.leaf for head in changed if head.seq})
    for name in gone:
        reading.hashed.pop(name, None)
        if name not in reading.lost:
            reading.lost.add(name)
            yield Finding(Phrase("{anchor} lacks {chain}, which the line before it holds", anchor=named, chain=_chain(name)), _code(name))
    root = tree.root(reading.hashed[name] for name in sorted(reading.hashed))
    if reading.is_whole and (root, len(reading.heads)) != (line.root, line.count):
        yield Finding(Phrase("{anchor} signs other heads than those beside it", anchor=named))
    for head, why in _not_there(connection, [head for head in changed if head.seq], ids):
        if head.name not in reading.lost:
            reading.lost.add(head.name)
            told = {"anchor": named, "chain": _chain(head.name), "seq": head.seq, "why": why}
            yield Finding(
                Phrase("{anchor} holds {chain} up to number {seq}; {why}", **told), _code(head.name), head.seq if head.experiment else None
            )


def _not_there(connection: Connection, found: list[Head], ids: dict[str, int]) -> Iterator[tuple[Head, Phrase]]:
    """The heads that the ledger does not have, and what it has instead."""
    for some in (found[at : at + AT_ONCE] for at in range(0, len(found), AT_ONCE)):
        kept = _kept(connection, some, ids)
        for head in some:
            if head.experiment and head.experiment not in ids:
                yield head, Phrase("the experiment is gone")
            elif head not in kept:
                yield head, Phrase("that row is gone: the journal was cut or written anew")
            elif kept[head] != head.hash:
                yield head, Phrase("another row stands there: the journal was written anew")


def _kept(connection: Connection, some: list[Head], ids: dict[str, int]) -> dict[Head, str]:
    places = {(ids[head.experiment], head.seq): head for head in some if head.experiment in ids}
    wanted = select(_FACT.c.experiment_id, _FACT.c.seq, _FACT.c.hash)
    wanted = wanted.where(tuple_(_FACT.c.experiment_id, _FACT.c.seq).in_(places))
    found = {places[row.experiment_id, row.seq]: row.hash for row in connection.execute(wanted)} if places else {}
    for head in some:
        if head.name in _OTHERS:
            kept = _OTHERS[head.name]
            entry = connection.execute(select(kept.c.hash).where(kept.c.seq == head.seq)).scalar()
            found |= {head: entry} if entry else {}
    return found


def _end(connection: Connection, folder: Folder, reading: Reading, data: Path | None) -> Iterator[Finding]:
    """Whether lines were cut at the end, and whether this machine's key is the one that signs."""
    last = reading.last.number if reading.last else 0
    if later := [number for number in folder.numbers_of_leaves() if number > last]:
        yield Finding(
            Phrase("there are heads of anchor {later}, and the file ends at anchor {last}: lines were cut", later=later[-1], last=last)
        )
    key = found_key(data) if data else None
    if key is None:
        return
    if reading.last and key.public not in (reading.last.key, reading.last.next_key):
        signer = reading.last.signer
        yield Finding(
            Phrase("the last anchor is signed by the key {signer}, this machine has the key {own}", signer=signer, own=key.fingerprint)
        )
    known = {key.fingerprint, *reading.keys}
    entries = connection.execute(_ANCHORED).scalars()
    noted = next((told for told in map(json.loads, entries) if {told.get("signer"), told.get("next_signer")} & known), None)
    if noted and noted["number"] > last:
        told = {"number": noted["number"], "date": noted["date"], "file": folder.file, "last": last}
        yield Finding(Phrase("the access journal tells of anchor {number} of {date}; {file} ends at anchor {last}", **told))


def _chain(name: str) -> Phrase:
    if name == ACCESS:
        return Phrase("the access journal")
    if name == REGISTER:
        return Phrase("the register of experiments")
    return Phrase("the journal of {experiment}", experiment=_code(name) or name)


def _code(name: str) -> str:
    return Head(name, 0, "").experiment
