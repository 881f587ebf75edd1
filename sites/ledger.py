"""The ledger: every write of an experiment. One command, one transaction: facts, snapshot, timers and messages together or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from protocols import clocks, commands
from protocols.clocks import Place
from protocols.context import place_of
from protocols.engine import Decision, decide, next_signature
from protocols.errors import (
    CheckpointAlreadyCompleted,
    CommandReused,
    IllegalTransition,
    InvalidAnswers,
    InvalidInput,
    UnknownThing,
)
from protocols.facts import Fact, FactKind
from protocols.forms import check_answers
from protocols.model import in_locale
from protocols.needs import needs
from protocols.notices import Alarm, Owed, alarms, messages, reconsider_alarm
from protocols.plan import Plan
from protocols.state import SliceTooSmall, State, StepKey
from sites import policy
from sites.checkpoints import CheckpointId
from sites.clock import Clock
from sites.database import Database, table
from sites.journal import chained, compact
from sites.releases import find_release, plan_of
from sites.snapshot import Loaded, experiment_values, find, load, save
from sites.tables import Command, Document, Draft, Experiment, ExperimentSite, FactRow, Incident, Notice, Person, Site, Tally, Timer

_EXPERIMENT, _SITES, _FACT, _COMMAND = table(Experiment), table(ExperimentSite), table(FactRow), table(Command)
_NOTICE, _TIMER, _DRAFT, _DOCUMENT, _INCIDENT = table(Notice), table(Timer), table(Draft), table(Document), table(Incident)
_PLACE, _TALLY, _PERSON = table(Site), table(Tally), table(Person)


# Built once: see sites.snapshot.
_EARLIER = select(_COMMAND.c.digest, _COMMAND.c.result).where(_COMMAND.c.id == bindparam("id"))
_LOCALE = select(_PERSON.c.locale).where(_PERSON.c.id == bindparam("id"))
_INSERT_FACT, _INSERT_COMMAND, _INSERT_TIMER = insert(_FACT), insert(_COMMAND), insert(_TIMER)
_NOTICE_COLUMNS = [column.name for column in _NOTICE.c if column.name not in ("id", "leased_until")]
_OWE = {
    "sqlite": sqlite_insert(_NOTICE).values({name: bindparam(name) for name in _NOTICE_COLUMNS}).on_conflict_do_nothing(),
    "postgresql": postgresql_insert(_NOTICE).values({name: bindparam(name) for name in _NOTICE_COLUMNS}).on_conflict_do_nothing(),
}
_ADVANCE = (
    update(_EXPERIMENT)
    .where(_EXPERIMENT.c.id == bindparam("of_experiment"), _EXPERIMENT.c.seq == bindparam("old_seq"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("state", "active", "stopped", "pending", "held_at", "suspensions", "seq", "head", "changed_at")
        }
    )
)
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Weighed:
    """A command thought through: the decision to write, if any, and the result to report."""

    loaded: Loaded | None
    decision: Decision | None
    result: Result


class Ledger:
    """Writes to the experiments of one database, at the times its clock gives. Safe to use from several threads and processes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock

    # ------------------------------------------------------------------ commands of people

    def launch(
        self,
        protocol: str,
        sites: Sequence[str],
        launch: Mapping[str, Any],
        by: str,
        *,
        version: str | None = None,
        title: str | None = None,
        command_id: str | None = None,
    ) -> Result:
        """Start an experiment: `{"code", "protocol", "version", "state"}`. The same command id again starts nothing more.

        The first site's territory and time zone are the experiment's own. Raises UnknownThing for a protocol or site, InvalidInput
        for no site, InvalidAnswers for launch fields, NotAssigned unless `by` is a project manager.
        """
        command = {"launch": protocol, "sites": list(sites), "with": dict(launch), "by": by, "version": version, "title": title}
        with self.database.write() as connection:
            if earlier := self._earlier(connection, command_id, command):
                return earlier
            result = self._launch(connection, protocol, sites, launch, by, version, title)
            self._remember_command(connection, command_id, command, result)
        return result

    def complete(
        self, checkpoint: str, answers: Mapping[str, Any], by: str, *, command_id: str | None = None, change: bool = False
    ) -> Result:
        """Answer a checkpoint: its id, parts and `status`, `gate` when its gate moved, `waiting_for` when it did not.

        With `change`, answers that wait for signatures are replaced and these voided. Answers refused, or come too late because
        someone was first, are kept as the person's draft. Raises InvalidAnswers, CheckpointAlreadyCompleted, IllegalTransition,
        NotAssigned, UnknownThing, CommandReused.
        """
        name = CheckpointId.parse(checkpoint)
        try:
            return self._act(
                name,
                commands.Complete(name.key, name.round, answers, by, change),
                {"complete": checkpoint, "answers": dict(answers), "by": by},
                command_id,
                lambda connection, loaded, now: self._may_answer(connection, loaded, name, by, now),
            )
        except (InvalidAnswers, CheckpointAlreadyCompleted, IllegalTransition):
            self.save_draft(checkpoint, by, answers)
            raise

    def sign(self, checkpoint: str, by: str, *, meaning: str | None = None, command_id: str | None = None) -> Result:
        """Put the next signature on a checkpoint's answers: the same shape as `complete`.

        `meaning` is the text as shown to the signer, else the protocol's in the signer's language. Raises as `complete` does.
        """
        name = CheckpointId.parse(checkpoint)
        shown = [meaning or ""]

        def may_sign(connection: Connection, loaded: Loaded, now: datetime) -> None:
            wanted = next_signature(loaded.plan.steps[name.step], loaded.state.step(name.key))
            if wanted is not None:
                self._require(connection, loaded, name, by, wanted.role, now, to=f"sign {checkpoint}")
                shown[0] = meaning or in_locale(wanted.meaning, _locale_of(connection, by))

        return self._act(
            name,
            lambda: commands.Sign(name.key, name.round, by, shown[0]),
            {"sign": checkpoint, "by": by, "meaning": meaning},
            command_id,
            may_sign,
        )

    def hold(self, experiment: str, by: str, reason: str, *, site: str = "", command_id: str | None = None) -> Result:
        """Put an experiment, or one of its sites, on hold: clocks stop, nothing can be completed. `{"code", "state"}`."""
        return self._manage(experiment, commands.Hold(by, _said(reason), site), command_id)

    def release(self, experiment: str, by: str, reason: str, *, site: str = "", command_id: str | None = None) -> Result:
        """Let an experiment, or one of its sites, go on; deadlines move by the time it was held. `{"code", "state"}`."""
        return self._manage(experiment, commands.Release(by, _said(reason), site), command_id)

    def stop(self, experiment: str, by: str, reason: str, *, site: str = "", command_id: str | None = None) -> Result:
        """End an experiment, or one site's part in it, early and for good. `{"code", "state"}`."""
        return self._manage(experiment, commands.Stop(by, _said(reason), site), command_id)

    def retry_action(self, checkpoint: str, by: str, *, command_id: str | None = None) -> Result:
        """Ask for a step's failed action again; only a project manager may."""
        name = CheckpointId.parse(checkpoint)
        return self._act(
            name,
            commands.RetryAction(name.key, name.round, by),
            {"retry": checkpoint, "by": by},
            command_id,
            lambda connection, loaded, now: policy.require_manager(
                connection, by, experiment=loaded.code, on=_today(loaded, name.key, now), to=f"retry {checkpoint}"
            ),
        )

    def save_draft(self, checkpoint: str, by: str, answers: Mapping[str, Any], *, origin: str = "person") -> None:
        """Keep what someone typed; the latest replaces their earlier draft of that checkpoint. Nothing else changes."""
        name = CheckpointId.parse(checkpoint)
        with self.database.write() as connection:
            row = find(connection, name.experiment)
            where = {"experiment_id": row["id"], "site": name.site, "step": name.step, "round": name.round, "person": by}
            values = {"answers": dict(answers), "origin": origin, "saved_at": self.clock.now()}
            connection.execute(self._upsert(_DRAFT, where | values, update=values))

    # ------------------------------------------------------------------ reports of the machine

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
            due = select(_TIMER.c.id).where(_TIMER.c.fire_at <= self.clock.now()).order_by(_TIMER.c.fire_at).limit(limit)
            ids = list(connection.execute(due).scalars())
        return sum(self._fire(timer) for timer in ids)

    def next_timer_at(self) -> datetime | None:
        """When the next timer is due, aware UTC; None without one."""
        with self.database.read() as connection:
            found: datetime | None = connection.execute(select(_TIMER.c.fire_at).order_by(_TIMER.c.fire_at).limit(1)).scalar()
            return found

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
            values = {"kind": kind, "message": message, "step": step, "site": site, "at": now, "resolved_at": None}
            connection.execute(self._upsert(_INCIDENT, {"experiment_id": row["id"], "key": key} | values, update=values))
            number = row["seq"] + 1
            data = {"key": f"{key}.{number}", "kind": kind, "message": message}
            facts = (Fact(FactKind.INCIDENT_REPORTED, now, step=step, site=site, data=data),)
            loaded = load(connection, row)
            self._write(connection, loaded, Decision(facts, loaded.state))
        return True

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
            return self._owe(connection, row, [owed], self.clock.now(), persons) == 1

    def store_document(self, name: str, media_type: str, content: bytes) -> str:
        """Keep a document under the SHA-256 of its content, which is returned; the same content is kept once."""
        key = hashlib.sha256(content).hexdigest()
        with self.database.write() as connection:
            row = {"hash": key, "media_type": media_type, "name": name, "content": content, "stored_at": self.clock.now()}
            connection.execute(self._upsert(_DOCUMENT, row, update=None))
        return key

    def document(self, key: str) -> Mapping[str, Any]:
        """A stored document: `hash`, `media_type`, `name`, `content` (bytes), `stored_at`. Raises UnknownThing."""
        with self.database.read() as connection:
            row = connection.execute(select(_DOCUMENT).where(_DOCUMENT.c.hash == key)).mappings().first()
        if row is None:
            raise UnknownThing(f"There is no document {key!r}.")
        return dict(row)

    # ------------------------------------------------------------------ how a command is carried out

    def _act(
        self,
        name: CheckpointId,
        command: commands.Command | Callable[[], commands.Command],
        described: Mapping[str, Any],
        command_id: str | None,
        allowed: Callable[[Connection, Loaded, datetime], None] | None,
    ) -> Result:
        """Carry out a command about one checkpoint: decide on a slice, and write if nobody was faster; else decide again in turn."""

        def weigh(connection: Connection, row: Mapping[str, Any]) -> Weighed:
            if earlier := self._earlier(connection, command_id, described):
                return Weighed(None, None, earlier)
            now = self._now(row)
            loaded = load(connection, row, name.key)
            if allowed:
                allowed(connection, loaded, now)
            asked = command() if callable(command) else command
            loaded, decision = self._decide(connection, loaded, asked, now)
            locale_of = partial(_locale_of, connection, getattr(asked, "by", ""))
            return Weighed(loaded, decision, _outcome(name, loaded.plan, decision, now, locale_of))

        weighed = self._foresee(name, weigh)
        if weighed is None or weighed.decision is not None:
            with self.database.write() as connection:
                if weighed is None or not self._written(connection, weighed, command_id, described):
                    weighed = weigh(connection, find(connection, name.experiment, lock=True))
                    self._written(connection, weighed, command_id, described)
        return weighed.result

    def _written(self, connection: Connection, weighed: Weighed, command_id: str | None, described: Mapping[str, Any]) -> bool:
        """Write what was weighed, unless another command on this experiment came between; nothing is written then."""
        if weighed.loaded is None or weighed.decision is None or not weighed.decision.facts:
            return True
        if not self._write(connection, weighed.loaded, weighed.decision):
            return False
        self._remember_command(connection, command_id, described, weighed.result)
        return True

    def _foresee(self, name: CheckpointId, weigh: Callable[[Connection, Mapping[str, Any]], Weighed]) -> Weighed | None:
        """Decide before the turn to write has come, where all writers share one queue (docs/performance.md); None on PostgreSQL."""
        if not self.database.is_sqlite:
            return None
        with self.database.read() as connection:
            return weigh(connection, find(connection, name.experiment, site=name.site))

    def _manage(self, experiment: str, command: commands.Hold | commands.Release | commands.Stop, command_id: str | None) -> Result:
        """Carry out a project manager's command about a whole experiment or site."""
        act = type(command).__name__.lower()
        described = {act: experiment, "site": command.site, "by": command.by, "reason": command.reason}
        with self.database.write() as connection:
            row = find(connection, experiment, lock=True)
            if earlier := self._earlier(connection, command_id, described):
                return earlier
            now = self._now(row)
            loaded = load(connection, row)
            policy.require_manager(
                connection, command.by, experiment=experiment, on=_today(loaded, StepKey(""), now), to=f"{act} {experiment}"
            )
            decision = decide(loaded.plan, loaded.state, command, now)
            self._write(connection, loaded, decision)
            result = {"code": experiment, "state": decision.state.status.value}
            self._remember_command(connection, command_id, described, result)
        return result

    def _decide(self, connection: Connection, loaded: Loaded, command: commands.Command, now: datetime) -> tuple[Loaded, Decision]:
        """Decide on the slice, or on the whole state when the slice proves too small."""
        try:
            return loaded, decide(loaded.plan, loaded.state, command, now)
        except SliceTooSmall:
            whole = load(connection, loaded.row)
            return whole, decide(whole.plan, whole.state, command, now)

    def _write(self, connection: Connection, loaded: Loaded, decision: Decision) -> bool:
        """Write everything a decision brings about; False, and nothing written, when the experiment has moved on since it was loaded.

        A decision without facts writes nothing.
        """
        if not decision.facts:
            return True
        rows = chained(loaded.id, loaded.code, loaded.plan.hash, loaded.row["seq"], loaded.row["head"], decision.facts)
        now = decision.facts[-1].at
        values = experiment_values(decision.state) | {"seq": rows[-1]["seq"], "head": rows[-1]["hash"], "changed_at": now}
        new = {f"new_{name}": value for name, value in values.items()}
        if connection.execute(_ADVANCE, new | {"of_experiment": loaded.id, "old_seq": loaded.row["seq"]}).rowcount != 1:
            return False
        save(connection, loaded, decision)
        connection.execute(_INSERT_FACT, rows)
        self._set_timers(connection, loaded, decision)
        self._owe(connection, loaded.row, messages(loaded.plan, decision), now)
        return True

    def _set_timers(self, connection: Connection, loaded: Loaded, decision: Decision) -> None:
        """Timers of rounds that are over fire once more and find nothing to do; only moved deadlines need theirs taken back."""
        moved = [fact for fact in decision.facts if fact.kind is FactKind.DEADLINE_MOVED]
        for fact in moved:
            of_step = (_TIMER.c.experiment_id == loaded.id, _TIMER.c.step == fact.step, _TIMER.c.site == fact.site)
            connection.execute(delete(_TIMER).where(*of_step))
        self._set(connection, loaded.id, alarms(loaded.plan, decision))

    def _set(self, connection: Connection, experiment: int, wanted: Sequence[Alarm]) -> None:
        if wanted:
            rows = [
                {
                    "experiment_id": experiment,
                    "site": alarm.key.site,
                    "step": alarm.key.step,
                    "round": alarm.round,
                    "kind": alarm.kind,
                    "occasion": alarm.occasion,
                    "fire_at": alarm.fire_at,
                }
                for alarm in wanted
            ]
            connection.execute(_INSERT_TIMER, rows)

    def _owe(self, connection: Connection, row: Mapping[str, Any], owed: Sequence[Owed], now: datetime, persons: Sequence[str] = ()) -> int:
        if not owed:
            return 0
        rows = [
            {
                "key": _notice_key(row["code"], one),
                "kind": one.kind,
                "experiment_id": row["id"],
                "step": one.key.step,
                "site": one.key.site,
                "round": one.round,
                "roles": list(one.roles),
                "persons": list(persons),
                "details": one.details,
                "created_at": now,
                "state": "owed",
                "next_at": now,
                "attempts": 0,
                "leased_by": "",
            }
            for one in owed
        ]
        return sum(connection.execute(_OWE[self.database.dialect], one).rowcount for one in rows)

    def _fire(self, timer: int) -> int:
        with self.database.write() as connection:
            alarm = connection.execute(select(_TIMER).where(_TIMER.c.id == timer)).mappings().first()
            if alarm is None or connection.execute(delete(_TIMER).where(_TIMER.c.id == timer)).rowcount != 1:
                return 0
            of_experiment = select(_EXPERIMENT.c.code).where(_EXPERIMENT.c.id == alarm["experiment_id"])
            row = find(connection, connection.execute(of_experiment).scalar_one(), lock=True)
            self._remember(connection, row, dict(alarm))
        return 1

    def _remember(self, connection: Connection, row: Mapping[str, Any], alarm: Mapping[str, Any]) -> None:
        key, now = StepKey(alarm["step"], alarm["site"]), self._now(row)
        loaded = load(connection, row, key)
        command = commands.Remember(key, alarm["round"], alarm["kind"], alarm["occasion"])
        try:
            loaded, decision = self._decide(connection, loaded, command, now)
        except IllegalTransition:  # the experiment has ended since
            return
        self._write(connection, loaded, decision)
        step = decision.state.step(key)
        if alarm["kind"] == "reconsider" and step.status.is_live and step.round == alarm["round"]:
            place, _ = place_of(decision.state, key.site)
            self._set(connection, loaded.id, list(reconsider_alarm(loaded.plan, step, place, now)))

    def _launch(
        self,
        connection: Connection,
        protocol: str,
        sites: Sequence[str],
        launch: Mapping[str, Any],
        by: str,
        version: str | None,
        title: str | None,
    ) -> Result:
        now = self.clock.now()
        release = find_release(connection, protocol, version)
        plan = plan_of(connection, release["hash"])
        places = _places(connection, sites)
        place = Place(places[0]["territory"], places[0]["timezone"])
        today = clocks.local_date(now, place)
        policy.require_manager(connection, by, on=today, to=f"launch {protocol}")
        kept, errors = check_answers(plan.protocol.launch, launch, today)
        if errors:
            raise InvalidAnswers(f"launch of {protocol}", errors)
        number = connection.execute(select(func.count()).where(_EXPERIMENT.c.protocol_id == protocol)).scalar_one() + 1
        code = f"{protocol.upper()}-{number}"
        name = title or in_locale(plan.protocol.title, "fr")
        decision = decide(plan, State(), commands.Launch(by, tuple(places), kept, name), now)
        row = self._insert_experiment(connection, release, code, name, decision.state, by, now)
        sites_rows = [{"experiment_id": row["id"], "site": place["code"], "state": "active", "held_at": None, "suspensions": []}
                      | {column: place[column] for column in ("name", "kind", "territory", "timezone")} for place in places]  # fmt: skip
        connection.execute(insert(_SITES), sites_rows)
        if plan.joined:
            connection.execute(insert(_TALLY), [{"experiment_id": row["id"], "step": step, "through": 0} for step in sorted(plan.joined)])
        before = State(sites=dict(decision.state.sites), known_steps=None)
        self._write(connection, Loaded(row, plan, before), decision)
        return {"code": code, "protocol": protocol, "version": release["version"], "state": decision.state.status.value}

    def _insert_experiment(
        self, connection: Connection, release: Mapping[str, Any], code: str, title: str, state: State, by: str, now: datetime
    ) -> dict[str, Any]:
        row = {
            "code": code,
            "protocol": release["hash"],
            "protocol_id": release["id"],
            "version": release["version"],
            "title": title,
            "launch": dict(state.launch),
            "territory": state.place.territory,
            "timezone": state.place.timezone,
            "launched_by": by,
            "launched_at": now,
            "changed_at": now,
            "seq": 0,
            "head": "",
            "projected_seq": 0,
        } | experiment_values(state)
        try:
            result = connection.execute(insert(_EXPERIMENT).values(row))
        except IntegrityError as error:
            raise IllegalTransition(f"Another experiment took the code {code} at the same moment; launch again.") from error
        return row | {"id": result.inserted_primary_key[0]}  # type: ignore[index]

    # ------------------------------------------------------------------ small parts

    def _now(self, row: Mapping[str, Any]) -> datetime:
        """The present, never before the experiment's last fact: a clock set back does not undo the order of things."""
        last: datetime = row["changed_at"]
        return max(self.clock.now(), last)

    def _may_answer(self, connection: Connection, loaded: Loaded, name: CheckpointId, by: str, now: datetime) -> None:
        if checkpoint := loaded.plan.steps[name.step].step.checkpoint:
            self._require(connection, loaded, name, by, checkpoint.role, now, to=f"complete {name}")

    def _require(self, connection: Connection, loaded: Loaded, name: CheckpointId, by: str, role: str, now: datetime, *, to: str) -> None:
        on = _today(loaded, name.key, now)
        policy.require(connection, by, role, site=name.site, experiment=loaded.code, on=on, to=to)

    def _earlier(self, connection: Connection, command_id: str | None, described: Mapping[str, Any]) -> Result | None:
        """The first result of this command id, if it was carried out before."""
        if command_id is None:
            return None
        row = connection.execute(_EARLIER, {"id": command_id}).first()
        if row is None:
            return None
        if row.digest != _digest(described):
            raise CommandReused(f"Command id {command_id!r} was used before for something else. Use a new one for a new command.")
        result: Result = json.loads(row.result)
        return result

    def _remember_command(
        self, connection: Connection, command_id: str | None, described: Mapping[str, Any], result: Mapping[str, Any]
    ) -> None:
        if command_id is not None:
            row = {"id": command_id, "digest": _digest(described), "result": compact(result), "at": self.clock.now()}
            connection.execute(_INSERT_COMMAND, row)

    def _upsert(self, into: Any, row: Mapping[str, Any], *, update: Mapping[str, Any] | None) -> Any:
        """INSERT that, where the row is there already, changes `update` or (None) nothing."""
        statement = (sqlite_insert if self.database.is_sqlite else postgresql_insert)(into).values(dict(row))
        if update is None:
            return statement.on_conflict_do_nothing()
        keys = ["experiment_id", "key"] if into is _INCIDENT else [column.name for column in into.primary_key]
        return statement.on_conflict_do_update(index_elements=keys, set_=dict(update))


def _said(reason: str) -> str:
    if not reason.strip():
        raise InvalidInput("A reason is needed, so that others understand later why this was done. Give one with --reason.")
    return reason.strip()


def _digest(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(compact(described).encode()).hexdigest()[:32]


def _notice_key(code: str, owed: Owed) -> str:
    return ":".join((code, owed.key.step, owed.key.site, str(owed.round), owed.kind, owed.occasion)).rstrip(":")


def _today(loaded: Loaded, key: StepKey, now: datetime) -> Any:
    place, _ = place_of(loaded.state, key.site)
    return clocks.local_date(now, place)


def _locale_of(connection: Connection, person: str) -> str:
    return connection.execute(_LOCALE, {"id": person}).scalar() or "fr"


def _places(connection: Connection, codes: Sequence[str]) -> list[dict[str, str]]:
    wanted = list(dict.fromkeys(codes))
    if not wanted:
        raise InvalidInput("An experiment needs at least one site; name them with --site.")
    known = {row["code"]: dict(row) for row in connection.execute(select(_PLACE).where(_PLACE.c.code.in_(wanted))).mappings()}
    if unknown := [code for code in wanted if code not in known]:
        raise UnknownThing(f"There is no site {', '.join(unknown)}; `insitu site list` shows those there are.")
    return [known[code] for code in wanted]


_MOVES = {FactKind.GATE_PASSED: "passed", FactKind.GATE_RETURNED: "returned", FactKind.GATE_STOPPED: "stopped"}


def _outcome(name: CheckpointId, plan: Plan, decision: Decision, now: datetime, locale_of: Callable[[], str]) -> Result:
    """What a command did to its checkpoint, as the doors report it."""
    moved = [_MOVES[fact.kind] for fact in decision.facts if fact.kind in _MOVES and (fact.step, fact.site) == name.key]
    step = decision.state.step(name.key)
    status = moved[-1] if moved else step.status.value
    waits = [] if moved else needs(plan, decision.state, name.key, now)
    locale = locale_of() if waits else ""
    return {
        "id": str(name),
        "experiment": name.experiment,
        "step": name.step,
        "site": name.site or None,
        "round": name.round,
        "status": status,
        "waiting_for": [{"what": need.what(locale), "role": need.role, "since": _iso(need.since)} for need in waits],
    } | ({"gate": moved[-1]} if moved else {})


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
