"""Anchoring: once a day by whoever dispatches, and by hand; each anchor is noted in the access journal and mailed where wished."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from protocols.errors import InsituError, Refused, UnknownThing
from protocols.phrase import Phrase
from sites.anchors import tree
from sites.anchors.folder import DamagedLeaves, Folder
from sites.anchors.heads import Head, heads, leaves
from sites.anchors.key import NAME, SigningKey, fingerprint, found_key, kept_key, new_key, read_key
from sites.anchors.line import Line
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.letters import owe_letter
from sites.settings import Settings
from sites.tables import AccessRow, Person

_ACCESS, _PERSON = table(AccessRow), table(Person)

LETTER = "anchor"
FULL_EVERY = 30  # lines: of a month, so that a day's heads are read from few files
LOOK_EVERY_S = 60.0
TRY_AGAIN_AFTER_S = 600.0

log = logging.getLogger("insitu.anchors")


class Keeper:
    """Keeps the anchors of a database in a folder of this machine's choice. Several processes may: one writes at a time.

    Raises InsituError where INSITU_ANCHORS is `none`.
    """

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        if settings.anchors is None:
            raise InsituError(Phrase("INSITU_ANCHORS is `none` here: another machine keeps the anchors."))
        self.database = database
        self.clock = clock
        self.folder = Folder(settings.anchors)
        self.data: Path = settings.data
        self.mail_to = settings.anchor_mail_to

    def run(self, stop: threading.Event, look_every_s: float = LOOK_EVERY_S) -> None:
        """Anchor once a day, until `stop` is set. A failure is logged and tried again after ten minutes."""
        while not stop.is_set():
            stop.wait(look_every_s if self._attempt() else TRY_AGAIN_AFTER_S)

    def _attempt(self) -> bool:
        try:
            self.anchor_today()
        except Refused:  # another process is at it
            pass
        except InsituError as error:
            log.error("No anchor was made, and it will be tried again: %s", error)
            return False
        except Exception:
            log.exception("No anchor was made, for a reason it does not know, and it will be tried again")
            return False
        return True

    def anchor_today(self) -> Line | None:
        """Today's line (UTC), None when there is one already; what an interrupted try left undone about the last is done then."""
        if self._is_done():
            return None
        with self.folder.alone():
            return None if self._is_done() else self._anchor()

    def anchor(self, *, new_key: bool = False) -> Line:
        """A line now, whatever the day has already; with `new_key`, it announces another key, which signs from the next line on.

        Raises Refused while another process writes one, InsituError when it cannot be written.
        """
        with self.folder.alone():
            return self._anchor(new_key=new_key)

    def _is_done(self) -> bool:
        last = self.folder.last()
        if last is None or last.date != _day(self.clock.now()):
            return False
        with self.database.read() as connection:
            is_told = _told(connection, last)
        if not is_told:
            self._tell(last)
        return True

    def _anchor(self, *, new_key: bool = False) -> Line:
        key, last, now = self._key(), self.folder.last(), self.clock.now()
        with self.database.read() as connection:
            found = heads(connection)
        number = last.number + 1 if last else 1
        before = None if number % FULL_EVERY == 1 else self._before(last)
        changed = list(found.values()) if before is None else _changed(before, found)
        draft = self._next_key() if new_key else None
        line = Line(
            number=number,
            date=_day(now),
            at=now.astimezone(UTC).isoformat(),
            count=len(found),
            root=tree.root(leaves(found.values())),
            leaves=self.folder.put(number, changed),
            full=before is None,
            previous=last.hash if last else "",
            key="",
            next_key=read_key(draft).public if draft else "",
        ).signed(key)
        self.folder.append(line)
        self.folder.settle(number)
        if draft:
            os.replace(draft, self.data / NAME)
        self._tell(line)
        return line

    def _before(self, last: Line | None) -> dict[str, Head] | None:
        """All heads as the last line left them; None where that cannot be read any more."""
        try:
            return state_at(self.folder, last) if last else None
        except DamagedLeaves:
            return None

    # ------------------------------------------------------------------ the key

    def _key(self) -> SigningKey:
        """The key that signs now. One that was announced when the machine stopped takes its place."""
        draft, last = self.data / f"{NAME}.next", self.folder.last()
        if draft.exists() and last and last.next_key == read_key(draft).public:
            os.replace(draft, self.data / NAME)
        return kept_key(self.data)

    def _next_key(self) -> Path:
        made, draft = new_key(self.data), self.data / f"{NAME}.next"
        os.replace(made, draft)
        return draft

    # ------------------------------------------------------------------ who is told

    def _tell(self, line: Line) -> None:
        """Note the line in the access journal and owe it to whoever is to keep it, once each. Raises UnknownThing for nobody known."""
        now = self.clock.now()
        with self.database.write() as connection:
            if not _told(connection, line):
                signers = {"signer": line.signer, "next_signer": fingerprint(line.next_key) if line.next_key else ""}
                note(connection, AccessKind.ANCHORED, now, number=line.number, date=line.date, hash=line.hash, **signers)
            known = set(connection.execute(select(_PERSON.c.id).where(_PERSON.c.id.in_(self.mail_to))).scalars()) if self.mail_to else set()
            for person in known:
                owe_letter(connection, f"{LETTER}:{line.hash[:32]}:{person}", LETTER, person, now, anchor=in_words(line))
        if unknown := [one for one in self.mail_to if one not in known]:
            nobody = ", ".join(unknown)
            raise UnknownThing(
                Phrase("INSITU_ANCHOR_MAIL_TO names {people}, whom nobody knows; anchors are not mailed to them.", people=nobody)
            )


def _told(connection: Connection, line: Line) -> bool:
    """Whether the access journal tells of this line."""
    anchored = (_ACCESS.c.kind == AccessKind.ANCHORED.value, _ACCESS.c.data.contains(line.hash, autoescape=True))
    return bool(connection.execute(select(func.count()).where(*anchored)).scalar_one())


def in_words(line: Line) -> dict[str, str]:
    """What a letter says of a line: `text` is the line itself."""
    told = {"date": line.date, "hash": line.hash, "root": line.root, "key": line.key, "signer": line.signer, "next_key": line.next_key}
    return told | {"number": str(line.number), "count": str(line.count), "text": line.text.decode()}


def state_at(folder: Folder, line: Line) -> dict[str, Head]:
    """All heads as a line left them, read from the last full file and what changed since. Raises DamagedLeaves."""
    since: list[Line] = []
    for one in folder.lines():
        if one is not None:
            since = [one] if one.full else [*since, one]
            if one.number == line.number:
                break
    found: dict[str, Head] = {}
    for one in since:
        advance(found, folder.leaves(one))
    return found


def advance(found: dict[str, Head], changed: list[Head]) -> None:
    """Bring all heads, by name, to where a line's changes leave them."""
    for head in changed:
        if head.seq:
            found[head.name] = head
        else:
            found.pop(head.name, None)


def _changed(before: Mapping[str, Head], found: Mapping[str, Head]) -> list[Head]:
    gone = [Head(name, 0, "") for name in before if name not in found]
    return gone + [head for name, head in found.items() if before.get(name) != head]


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()


def about(settings: Settings, last: int = 10) -> dict[str, Any]:
    """What is kept here: `folder` ("" for nothing), `key`, `fingerprint` ("" before the first anchor), and the last `lines`, newest first.

    Raises InsituError when the folder or the key cannot be read.
    """
    if settings.anchors is None:
        return {"folder": "", "key": "", "fingerprint": "", "lines": []}
    key = found_key(settings.data)
    lines = [asdict(line) | {"hash": line.hash, "signer": line.signer} for line in Folder(settings.anchors).lines() if line]
    return {
        "folder": str(settings.anchors),
        "key": key.public if key else "",
        "fingerprint": key.fingerprint if key else "",
        "lines": lines[-last:][::-1],
    }
