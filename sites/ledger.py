"""The ledger: every write of an experiment. One command, one transaction: facts, snapshot, timers and messages together or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from protocols import clocks, commands
from protocols.context import place_of
from protocols.engine import Decision, decide, next_signature
from protocols.errors import (
    CheckpointAlreadyCompleted,
    IllegalTransition,
    InsituError,
    InvalidAnswers,
    InvalidInput,
    NotQualified,
    UnknownThing,
)
from protocols.facts import Fact, FactKind
from protocols.model import in_locale
from protocols.needs import needs
from protocols.notices import Owed, alarms, messages, reconsider_alarm
from protocols.phrase import Phrase
from protocols.plan import Plan
from protocols.state import SliceTooSmall, StepKey
from sites import policy, remarks, timers
from sites.checkpoints import CheckpointId
from sites.clock import Clock
from sites.commands import Result, first_result, remember
from sites.database import Database, inserted_once, queue_up, table, upserted
from sites.journal import chained
from sites.launching import launched
from sites.outbox import owe
from sites.snapshot import Loaded, experiment_values, find, load, save
from sites.tables import Document, Draft, Experiment, FactRow, Incident, Person

_EXPERIMENT, _FACT, _PERSON = table(Experiment), table(FactRow), table(Person)
_DRAFT, _DOCUMENT, _INCIDENT = table(Draft), table(Document), table(Incident)

# Built once: see sites.snapshot.
_LOCALE = select(_PERSON.c.locale).where(_PERSON.c.id == bindparam("id"))
_INSERT_FACT = insert(_FACT)
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
            queue_up(connection)
            if earlier := first_result(connection, command_id, command):
                return earlier
            now = self.clock.now()
            loaded, decision = launched(connection, protocol, sites, launch, by, now, version=version, title=title)
            self._write(connection, loaded, decision)
            state = decision.state.status.value
            result = {"code": loaded.code, "protocol": protocol, "version": loaded.row["version"], "state": state}
            remember(connection, command_id, command, result, now)
        return result

    def complete(
        self,
        checkpoint: str,
        answers: Mapping[str, Any],
        by: str,
        *,
        command_id: str | None = None,
        change: bool = False,
        via: str = "",
        also: Callable[[Connection, datetime], None] | None = None,
    ) -> Result:
        """Answer a checkpoint: its id, parts and `status`, `gate` when its gate moved, `waiting_for` when it did not.

        With `change`, answers that wait for signatures are replaced and these voided. Answers refused, or come too late because
        someone was first, are kept as the person's draft. `via` notes by which other way than a session they came; `also` is done in
        the same transaction, and undoes it all when it raises. Raises InvalidAnswers, CheckpointAlreadyCompleted, IllegalTransition,
        NotAssigned, InConflict, NotQualified, UnknownThing, CommandReused.
        """
        name = CheckpointId.parse(checkpoint)
        try:
            return self._act(
                name,
                commands.Complete(name.key, name.round, answers, by, change, via),
                {"complete": checkpoint, "answers": dict(answers), "by": by} | ({"change": True} if change else {}),
                command_id,
                lambda connection, loaded, now: self._may_answer(connection, loaded, name, by, now, qualified=True),
                also,
            )
        except (InvalidAnswers, CheckpointAlreadyCompleted, IllegalTransition, NotQualified):
            with suppress(InsituError):  # why it was refused matters more
                self.save_draft(checkpoint, by, answers)
            raise

    def sign(
        self, checkpoint: str, by: str, *, meaning: str | None = None, shown: str | None = None, command_id: str | None = None
    ) -> Result:
        """Put the next signature on a checkpoint's answers: the same shape as `complete`.

        `meaning` is the text as shown to the signer, else the protocol's in the signer's language; `shown` the hash of the answers as
        shown: with it, answers changed since are not signed (IllegalTransition). Raises as `complete` does.
        """
        name = CheckpointId.parse(checkpoint)
        said = [meaning or ""]

        def may_sign(connection: Connection, loaded: Loaded, now: datetime) -> str:
            wanted = next_signature(loaded.plan.steps[name.step], loaded.state.step(name.key))
            if wanted is None:
                return ""
            said[0] = meaning or in_locale(wanted.meaning, _locale_of(connection, by))
            return self._require(connection, loaded, name, by, wanted.role, now, to=Phrase("sign {checkpoint}", checkpoint=checkpoint))

        return self._act(
            name,
            lambda: commands.Sign(name.key, name.round, by, said[0], shown or ""),
            {"sign": checkpoint, "by": by, "meaning": meaning} | ({"shown": shown} if shown else {}),
            command_id,
            may_sign,
        )

    def reopen(self, checkpoint: str, by: str, reason: str, *, command_id: str | None = None) -> Result:
        """Take back a passed gate with a reason: the step and everything after it start a new round, earlier answers stay readable.

        Whoever answers the checkpoint may, and a project manager. Raises IllegalTransition unless its latest round has passed, NotAssigned.
        """
        name, why = CheckpointId.parse(checkpoint), _said(reason)
        role = [policy.MANAGER]

        def may_reopen(connection: Connection, loaded: Loaded, now: datetime) -> str:
            asked, on, here = loaded.plan.steps[name.step].step.checkpoint, _today(loaded, name.key, now), {"experiment": loaded.code}
            stands = policy.standing(connection, by, asked.role, site=name.site, on=on, plan=loaded.plan, **here) if asked else None
            if asked is None or stands is None or not stands.may_act:
                return policy.require_manager(connection, by, on=on, to=Phrase("reopen {checkpoint}", checkpoint=str(name)), **here)
            role[0] = asked.role
            return stands.of

        return self._act(
            name,
            lambda: commands.Reopen(name.key, name.round, by, role[0], why),
            {"reopen": checkpoint, "by": by, "reason": why},
            command_id,
            may_reopen,
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
                connection,
                by,
                experiment=loaded.code,
                on=_today(loaded, name.key, now),
                to=Phrase("retry {checkpoint}", checkpoint=checkpoint),
            ),
        )

    # ------------------------------------------------------------------ what people say without answering (sites.remarks)

    def decline(self, checkpoint: str, by: str, reason: str) -> int:
        """Note that someone will not answer or sign, and why, and tell the project managers; the remark's number. See `remarks.decline`."""
        return self._tell(checkpoint, partial(remarks.decline, by=by, reason=reason))

    def ask(self, checkpoint: str, by: str, text: str) -> int:
        """Put a question about a checkpoint to the project managers; the remark's number. See `remarks.ask`."""
        return self._tell(checkpoint, partial(remarks.ask, by=by, text=text))

    def answer(self, checkpoint: str, number: int, by: str, text: str) -> int:
        """Answer a question, once, and tell whoever asked. See `remarks.answer`."""
        return self._tell(checkpoint, partial(remarks.answer, number=number, by=by, text=text))

    def _tell(self, checkpoint: str, tell: Callable[..., remarks.Told]) -> int:
        """Write what someone said with the facts that tell it; no step changes."""
        name = CheckpointId.parse(checkpoint)
        with self.database.write() as connection:
            row = find(connection, name.experiment, lock=True)
            loaded = load(connection, row, name.key)
            number, facts = tell(connection, loaded, name, now=self._now(row))
            self._write(connection, loaded, Decision(facts, loaded.state))
        return number

    # ------------------------------------------------------------------ drafts

    def save_draft(self, checkpoint: str, by: str, answers: Mapping[str, Any], *, origin: str = "person") -> None:
        """Keep what someone typed; the latest replaces their earlier draft of that checkpoint. Nothing else changes.

        Raises UnknownThing and NotAssigned as `complete` does, IllegalTransition for a step or a round that asks nobody.
        """
        name = CheckpointId.parse(checkpoint)
        with self.database.write() as connection:
            loaded = load(connection, find(connection, name.experiment, site=name.site), name.key)
            self._may_answer(connection, loaded, name, by, self._now(loaded.row))
            self._keep_draft(connection, loaded, name, by, answers, origin)

    def save_draft_of_prefect(self, checkpoint: str, answers: Mapping[str, Any]) -> None:
        """Keep what somebody typed in Prefect's own pages: nobody's draft, offered to whoever may complete the checkpoint.

        Raises UnknownThing, IllegalTransition for a step or a round that asks nobody.
        """
        name = CheckpointId.parse(checkpoint)
        with self.database.write() as connection:
            loaded = load(connection, find(connection, name.experiment, site=name.site), name.key)
            self._keep_draft(connection, loaded, name, "", answers, "prefect")

    def _keep_draft(
        self, connection: Connection, loaded: Loaded, name: CheckpointId, by: str, answers: Mapping[str, Any], origin: str
    ) -> None:
        if loaded.plan.steps[name.step].step.checkpoint is None or name.round > loaded.state.step(name.key).round:
            raise IllegalTransition(Phrase("{name} asks for no answers; `insitu inbox` lists what does.", name=name))
        where = {"experiment_id": loaded.id, "site": name.site, "step": name.step, "round": name.round, "person": by}
        values = {"answers": _storable(answers), "origin": origin, "saved_at": self.clock.now()}
        connection.execute(upserted(self.database.dialect, _DRAFT, where | values, list(where)))

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
        """Keep a document under the SHA-256 of its content, which is returned; the same content is kept once."""
        key = hashlib.sha256(content).hexdigest()
        with self.database.write() as connection:
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

    # ------------------------------------------------------------------ how a command is carried out

    def _act(
        self,
        name: CheckpointId,
        command: commands.Command | Callable[[], commands.Command],
        described: Mapping[str, Any],
        command_id: str | None,
        allowed: Callable[[Connection, Loaded, datetime], str] | None,
        also: Callable[[Connection, datetime], None] | None = None,
    ) -> Result:
        """Carry out a command about one checkpoint: decide on a slice, and write if nobody was faster; else decide again in turn.

        `allowed` raises unless the person may, and gives whom they deputise for.
        """

        def weigh(connection: Connection, row: Mapping[str, Any]) -> Weighed:
            if earlier := first_result(connection, command_id, described):
                return Weighed(None, None, earlier)
            now = self._now(row)
            loaded = load(connection, row, name.key)
            of = allowed(connection, loaded, now) if allowed else ""
            asked = _in_place_of(of, command() if callable(command) else command)
            loaded, decision = self._decide(connection, loaded, asked, now)
            locale_of = partial(_locale_of, connection, getattr(asked, "by", ""))
            return Weighed(loaded, decision, _outcome(name, loaded.plan, decision, now, locale_of))

        weighed = self._foresee(name, weigh)
        if weighed is None or weighed.decision is not None:
            with self.database.write() as connection:
                if weighed is None or not self._written(connection, weighed, command_id, described):
                    weighed = weigh(connection, find(connection, name.experiment, lock=True))
                    self._written(connection, weighed, command_id, described)
                if also and weighed.decision is not None:
                    also(connection, self.clock.now())
        return weighed.result

    def _written(self, connection: Connection, weighed: Weighed, command_id: str | None, described: Mapping[str, Any]) -> bool:
        """Write what was weighed, unless another command on this experiment came between; nothing is written then."""
        if weighed.loaded is None or weighed.decision is None or not weighed.decision.facts:
            return True
        if not self._write(connection, weighed.loaded, weighed.decision):
            return False
        remember(connection, command_id, described, weighed.result, weighed.decision.facts[-1].at)
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
            if earlier := first_result(connection, command_id, described):
                return earlier
            now = self._now(row)
            loaded = load(connection, row)
            on, to = _today(loaded, StepKey(""), now), _managing(act, experiment)
            of = policy.require_manager(connection, command.by, experiment=experiment, on=on, to=to)
            decision = decide(loaded.plan, loaded.state, replace(command, of=of), now)
            self._write(connection, loaded, decision)
            result = {"code": experiment, "state": decision.state.status.value}
            remember(connection, command_id, described, result, now)
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
        timers.forget_moved(connection, loaded.id, decision.facts)
        timers.set_alarms(connection, loaded.id, alarms(loaded.plan, decision))
        owe(connection, loaded.row, messages(loaded.plan, decision), now)
        return True

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
        self._write(connection, loaded, decision)
        step = decision.state.step(key)
        if alarm["kind"] == "reconsider" and step.status.is_live and step.round == alarm["round"]:
            place, _ = place_of(decision.state, key.site)
            timers.set_alarms(connection, loaded.id, reconsider_alarm(loaded.plan, step, place, now))

    # ------------------------------------------------------------------ small parts

    def _now(self, row: Mapping[str, Any]) -> datetime:
        """The present, never before the experiment's last fact: a clock set back does not undo the order of things."""
        last: datetime = row["changed_at"]
        return max(self.clock.now(), last)

    def _may_answer(
        self, connection: Connection, loaded: Loaded, name: CheckpointId, by: str, now: datetime, *, qualified: bool = False
    ) -> str:
        """Whom they deputise for. A draft binds nobody, so only a completion asks for what the role requires."""
        checkpoint, to = loaded.plan.steps[name.step].step.checkpoint, Phrase("complete {checkpoint}", checkpoint=str(name))
        return self._require(connection, loaded, name, by, checkpoint.role, now, to=to, qualified=qualified) if checkpoint else ""

    def _require(
        self,
        connection: Connection,
        loaded: Loaded,
        name: CheckpointId,
        by: str,
        role: str,
        now: datetime,
        *,
        to: str,
        qualified: bool = True,
    ) -> str:
        on, plan = _today(loaded, name.key, now), loaded.plan if qualified else None
        return policy.require(connection, by, role, site=name.site, experiment=loaded.code, on=on, to=to, plan=plan)


def _in_place_of(of: str, command: commands.Command) -> commands.Command:
    """The command as a deputy gives it."""
    return command if not of or isinstance(command, (commands.RecordAction, commands.Remember)) else replace(command, of=of)


def _managing(act: str, experiment: str) -> Phrase:
    if act == "hold":
        return Phrase("put {experiment} on hold", experiment=experiment)
    return Phrase("release {experiment}", experiment=experiment) if act == "release" else Phrase("stop {experiment}", experiment=experiment)


def _said(reason: str) -> str:
    if not reason.strip():
        raise InvalidInput(Phrase("A reason is needed, so that others understand later why this was done. Give one with --reason."))
    return reason.strip()


def _storable(answers: Mapping[str, Any]) -> Any:
    """A draft as any database keeps it: what a refused form may hold (NaN, half a character, a null character) is left out."""
    text = json.dumps(dict(answers), ensure_ascii=False, default=str).encode(errors="ignore").replace(b"\\u0000", b"")
    return json.loads(text, parse_constant=lambda _: None, parse_int=lambda digits: int(digits) if len(digits) < 18 else float(digits))


def _today(loaded: Loaded, key: StepKey, now: datetime) -> Any:
    place, _ = place_of(loaded.state, key.site)
    return clocks.local_date(now, place)


def _locale_of(connection: Connection, person: str) -> str:
    return connection.execute(_LOCALE, {"id": person}).scalar() or "fr"


_MOVES = {FactKind.GATE_PASSED: "passed", FactKind.GATE_RETURNED: "returned", FactKind.GATE_STOPPED: "stopped"}


def _outcome(name: CheckpointId, plan: Plan, decision: Decision, now: datetime, locale_of: Callable[[], str]) -> Result:
    """What a command did to its checkpoint, as the doors report it."""
    moved = [_MOVES[fact.kind] for fact in decision.facts if fact.kind in _MOVES and (fact.step, fact.site) == name.key]
    step = decision.state.step(name.key)
    status = moved[-1] if moved else step.status.value
    # Only what is live: a report that comes late may find the step waiting for others, which this slice need not hold.
    waits = [] if moved or not step.status.is_live else needs(plan, decision.state, name.key, now)
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
    return moment.isoformat().replace("+00:00", "Z") if moment else None
