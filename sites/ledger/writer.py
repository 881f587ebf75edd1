"""How a command is carried out: decided on, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from protocols import clocks, commands
from protocols.context import place_of
from protocols.engine import Decision, decide
from protocols.notices import alarms, messages
from protocols.phrase import Phrase
from protocols.state import SliceTooSmall, StepKey
from sites import evidence, policy, timers
from sites.checkpoints import CheckpointId
from sites.clock import Clock, dated
from sites.commands import Result, first_result, remember
from sites.database import Database, table
from sites.journal import chained
from sites.ledger.outcome import outcome
from sites.outbox import owe
from sites.snapshot import Loaded, experiment_values, find, load, save
from sites.tables import Experiment, FactRow, Person

_EXPERIMENT, _FACT, _PERSON = table(Experiment), table(FactRow), table(Person)

# Built once: see sites.snapshot.
_LOCALE = select(_PERSON.c.locale).where(_PERSON.c.id == bindparam("id"))
_INSERT_FACT = insert(_FACT)
_ADVANCE = (
    update(_EXPERIMENT)
    .where(
        _EXPERIMENT.c.id == bindparam("of_experiment"),
        _EXPERIMENT.c.seq == bindparam("old_seq"),
        _EXPERIMENT.c.head == bindparam("old_head"),
    )
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("state", "active", "stopped", "pending", "held_at", "suspensions", "seq", "head", "changed_at")
        }
    )
)


@dataclass(frozen=True, slots=True)
class Weighed:
    """A command thought through: the decision to write, if any, and the result to report; `of` is whom the person deputised for then."""

    loaded: Loaded | None
    decision: Decision | None
    result: Result
    of: str = ""


class Writer:
    """Writes decisions to the experiments of one database, at the times its clock gives."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock

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
            asked = in_place_of(of, command() if callable(command) else command)
            loaded, decision = self._decide(connection, loaded, asked, now)
            evidence.require(connection, loaded, decision.facts)
            reads = partial(locale_of, connection, getattr(asked, "by", ""))
            return Weighed(loaded, decision, outcome(name, loaded.plan, decision, now, reads), of)

        def may_still(connection: Connection, weighed: Weighed) -> bool:
            """A role, a delegation or a training may have ended, a conflict have been declared, while the turn to write was awaited."""
            loaded = weighed.loaded
            return allowed is None or loaded is None or allowed(connection, loaded, self._now(loaded.row)) == weighed.of

        weighed = self._foresee(name, weigh)
        if weighed is None or weighed.decision is not None:
            with self.database.write() as connection:
                foreseen = weighed is not None and may_still(connection, weighed)
                if weighed is None or not (foreseen and self._written(connection, weighed, command_id, described)):
                    weighed = weigh(connection, find(connection, name.experiment, lock=True))
                    self._written(connection, weighed, command_id, described)
                if also and weighed.decision is not None:
                    also(connection, self.clock.now())
        return weighed.result

    def _earlier(self, command_id: str | None, described: Mapping[str, Any]) -> Result | None:
        """The result that this very command got before, if it was carried out."""
        if command_id is None:
            return None
        with self.database.read() as connection:
            return first_result(connection, command_id, described)

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

    def _decide(self, connection: Connection, loaded: Loaded, command: commands.Command, now: datetime) -> tuple[Loaded, Decision]:
        """Decide on the slice, or on the whole state when the slice proves too small."""
        try:
            return loaded, decide(loaded.plan, loaded.state, command, now)
        except SliceTooSmall:
            whole = load(connection, loaded.row)
            return whole, decide(whole.plan, whole.state, command, now)

    def _write(self, connection: Connection, loaded: Loaded, decision: Decision, due: datetime | None = None) -> bool:
        """Write everything a decision brings about; False, and nothing written, when the experiment has moved on since it was loaded.

        A decision without facts writes nothing. Its messages are owed from `due` on, without it from now on.
        """
        if not decision.facts:
            return True
        rows = chained(loaded.id, loaded.code, loaded.plan.hash, loaded.row["seq"], loaded.row["head"], decision.facts)
        now = decision.facts[-1].at
        values = experiment_values(decision.state) | {"seq": rows[-1]["seq"], "head": rows[-1]["hash"], "changed_at": now}
        new = {f"new_{name}": value for name, value in values.items()}
        if (
            connection.execute(
                _ADVANCE, new | {"of_experiment": loaded.id, "old_seq": loaded.row["seq"], "old_head": loaded.row["head"]}
            ).rowcount
            != 1
        ):
            return False
        save(connection, loaded, decision)
        connection.execute(_INSERT_FACT, rows)
        timers.forget_moved(connection, loaded.id, decision.facts)
        timers.set_alarms(connection, loaded.id, alarms(loaded.plan, decision))
        owe(connection, loaded.row, messages(loaded.plan, decision), due or now)
        return True

    def _now(self, row: Mapping[str, Any]) -> datetime:
        """The present, never a little before the experiment's last fact: a clock set back a little does not undo the order of things."""
        return dated(self.clock.now(), row["changed_at"])

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
        on, plan = today(loaded, name.key, now), loaded.plan if qualified else None
        return policy.require(connection, by, role, site=name.site, experiment=loaded.code, on=on, to=to, plan=plan)


def in_place_of(of: str, command: commands.Command) -> commands.Command:
    """The command as a deputy gives it."""
    return command if not of or isinstance(command, (commands.RecordAction, commands.Remember)) else replace(command, of=of)


def today(loaded: Loaded, key: StepKey, now: datetime) -> Any:
    place, _ = place_of(loaded.state, key.site)
    return clocks.local_date(now, place)


def locale_of(connection: Connection, person: str) -> str:
    return connection.execute(_LOCALE, {"id": person}).scalar() or "fr"
