"""What the machine reports to the ledger: actions that ended, timers that fire, incidents, notices, documents."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from protocols import commands
from protocols.context import place_of
from protocols.engine import Decision
from protocols.errors import (
    UnknownThing,
)
from protocols.facts import Fact, FactKind
from protocols.notices import Owed, reconsider_alarm
from protocols.phrase import Phrase
from protocols.state import StepKey
from sites import evidence, timers
from sites.checkpoints import CheckpointId
from sites.commands import Result
from sites.database import inserted_once, table, upserted
from sites.ledger.writer import Writer
from sites.outbox import owe
from sites.snapshot import Loaded, find, load
from sites.tables import Document, Incident

_DOCUMENT, _INCIDENT = table(Document), table(Incident)


class MachinesReports(Writer):
    """The reports of the machine. Each may come twice, or late."""

    def record_action(
        self,
        checkpoint: str,
        index: int,
        result: Mapping[str, Any] | None = None,
        *,
        error: str | None = None,
        command_id: str | None = None,
    ) -> Result:
        """Note that a run action ended, with a JSON result or for good with an error. Reporting it again changes nothing."""
        name = CheckpointId.parse(checkpoint)
        command = commands.RecordAction(name.key, name.round, index, result, error)
        return self._act(name, command, {"action": checkpoint, "index": index}, command_id, None)

    def fire_timers(self, limit: int = 100) -> int:
        """Fire the timers that are due, oldest first, each in its own transaction; returns how many fired.

        Several processes may do it at once: each timer fires in one of them.
        """
        with self.database.read() as connection:
            ids = timers.due(connection, self.clock.now(), limit)
        return sum(self._fire(timer) for timer in ids)

    def next_timer_at(self) -> datetime | None:
        """When the next timer is due, aware UTC; None without one."""
        with self.database.read() as connection:
            return timers.next_at(connection)

    def report_incident(self, experiment: str, key: str, kind: str, message: str, *, step: str = "", site: str = "") -> bool:
        """Journal something a person must look at and owe the project managers a message; once per key while it is open.

        Returns whether it is new. It works on an ended experiment too, and changes no step.
        """
        with self.database.write() as connection:
            row = find(connection, experiment, lock=True)
            now = self._now(row)
            known = connection.execute(
                select(_INCIDENT.c.resolved_at).where(_INCIDENT.c.experiment_id == row["id"], _INCIDENT.c.key == key)
            ).first()
            if known and known.resolved_at is None:
                return False
            incident = {"experiment_id": row["id"], "key": key, "kind": kind, "message": message, "step": step, "site": site, "at": now}
            connection.execute(upserted(self.database.dialect, _INCIDENT, incident | {"resolved_at": None}, ["experiment_id", "key"]))
            number = row["seq"] + 1
            data = {"key": f"{key}.{number}", "kind": kind, "message": message}
            facts = (Fact(FactKind.INCIDENT_REPORTED, now, step=step, site=site, data=data),)
            loaded = load(connection, row)
            self._write(connection, loaded, Decision(facts, loaded.state))
        return True

    def tell(self, connection: Connection, row: Mapping[str, Any], fact: Fact) -> None:
        """Journal a fact that only tells, and owe its messages, in the caller's transaction; `row` is the experiment's, locked."""
        loaded = load(connection, row)
        self._write(connection, loaded, Decision((fact,), loaded.state))

    def resolve_incident(self, experiment: str, key: str) -> None:
        """Mark an incident as over; one that is over or unknown stays as it is."""
        with self.database.write() as connection:
            row = find(connection, experiment)
            open_one = (_INCIDENT.c.experiment_id == row["id"], _INCIDENT.c.key == key, _INCIDENT.c.resolved_at.is_(None))
            connection.execute(update(_INCIDENT).where(*open_one).values(resolved_at=self.clock.now()))

    def owe_notice(
        self,
        checkpoint: str,
        kind: str,
        roles: Sequence[str],
        *,
        occasion: str = "",
        persons: Sequence[str] = (),
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """Put a message in the outbox, once per (checkpoint, kind, occasion); returns whether it is new."""
        name = CheckpointId.parse(checkpoint)
        with self.database.write() as connection:
            row = find(connection, name.experiment)
            owed = Owed(kind, name.key, name.round, tuple(roles), occasion, dict(details or {}))
            return owe(connection, row, [owed], self.clock.now(), persons) == 1

    def store_document(self, name: str, media_type: str, content: bytes) -> str:
        """Keep a document that the machine made under the SHA-256 of its content, which is returned; the same content is kept once."""
        with self.database.write() as connection:
            return self._stored(connection, name, media_type, content)

    def store_file(self, name: str, media_type: str, content: bytes, by: str) -> str:
        """Keep a file that a person hands in, once `sites.files.store` has checked it, as `store_document` does: they may name it then."""
        with self.database.write() as connection:
            key = self._stored(connection, name, media_type, content)
            evidence.hand_in(connection, key, name, by, self.clock.now())
        return key

    def _stored(self, connection: Connection, name: str, media_type: str, content: bytes) -> str:
        key = hashlib.sha256(content).hexdigest()
        row = {"hash": key, "media_type": media_type, "name": name, "content": content, "stored_at": self.clock.now()}
        connection.execute(inserted_once(self.database.dialect, _DOCUMENT).values(row))
        return key

    def document(self, key: str) -> Mapping[str, Any]:
        """A stored document: `hash`, `media_type`, `name`, `content` (bytes), `stored_at`. Raises UnknownThing."""
        with self.database.read() as connection:
            row = connection.execute(select(_DOCUMENT).where(_DOCUMENT.c.hash == key)).mappings().first()
        if row is None:
            raise UnknownThing(Phrase("There is no document {key!r}.", key=key))
        return dict(row)

    def _fire(self, timer: int) -> int:
        with self.database.write() as connection:
            alarm = timers.read(connection, timer)
            if alarm is None:
                return 0
            # The experiment before its timers, as commands lock them: in the other order two could wait for each other.
            row = find(connection, alarm["code"], site=alarm["site"], lock=True)
            loaded = load(connection, row, StepKey(alarm["step"], alarm["site"]))
            if loaded.state.is_held(alarm["site"]) or not timers.take(connection, timer):
                return 0
            self._remember(connection, loaded, alarm)
        return 1

    def _remember(self, connection: Connection, loaded: Loaded, alarm: Mapping[str, Any]) -> None:
        key, now = StepKey(alarm["step"], alarm["site"]), self._now(loaded.row)
        command = commands.Remember(key, alarm["round"], alarm["kind"], alarm["occasion"])
        loaded, decision = self._decide(connection, loaded, command, now)
        self._write(connection, loaded, decision, due=alarm["fire_at"])
        step = decision.state.step(key)
        if alarm["kind"] == "reconsider" and step.status.is_live and step.round == alarm["round"]:
            place, _ = place_of(decision.state, key.site)
            timers.set_alarms(connection, loaded.id, reconsider_alarm(loaded.plan, step, place, now))
