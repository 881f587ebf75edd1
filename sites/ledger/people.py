"""What people ask of the ledger: launch, complete, sign, reopen, hold, release, stop, say, and keep a draft."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from protocols import commands
from protocols.engine import Decision, decide, next_signature
from protocols.errors import (
    CheckpointAlreadyCompleted,
    IllegalTransition,
    InsituError,
    InvalidAnswers,
    InvalidInput,
    NotQualified,
)
from protocols.forms import says_nothing
from protocols.phrase import Phrase
from protocols.state import StepKey
from sites import evidence, policy, remarks
from sites.checkpoints import CheckpointId
from sites.commands import Result, first_result, remember
from sites.database import queue_up, table, upserted
from sites.launching import launched
from sites.ledger.writer import Writer, locale_of, today
from sites.signing import Prove, meaning_to_keep, meanings_of
from sites.snapshot import Loaded, find, load
from sites.tables import Draft

_DRAFT = table(Draft)


class PeoplesCommands(Writer):
    """The commands of people. Each asks the policy within the transaction that writes."""

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
            evidence.require(connection, loaded, decision.facts)
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
        the same transaction, and undoes it all when it raises. A file that is named is there, theirs to name, and what its field accepts
        (`sites.evidence`). Raises InvalidAnswers, CheckpointAlreadyCompleted, IllegalTransition,
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
        self,
        checkpoint: str,
        by: str,
        *,
        prove: Prove,
        meaning: str | None = None,
        shown: str | None = None,
        command_id: str | None = None,
    ) -> Result:
        """Put the next signature on a checkpoint's answers: the same shape as `complete`.

        `prove` is called first, unless this very signature was put before under this id: then nothing is signed, and its result given.
        `meaning` is the text as shown to the signer, one of the protocol's, else the one in their language; `shown` the hash of the
        answers as shown: with it, answers changed since are not signed (IllegalTransition). Raises NotProven, InvalidInput for a text
        of the signer's own, and as `complete` does.
        """
        name = CheckpointId.parse(checkpoint)
        described = {"sign": checkpoint, "by": by, "meaning": meaning} | ({"shown": shown} if shown else {})
        if (earlier := self._earlier(command_id, described)) is not None:
            return earlier
        prove()  # before the transaction: other writers do not wait while a password is checked
        said = [""]

        def may_sign(connection: Connection, loaded: Loaded, now: datetime) -> str:
            wanted = next_signature(loaded.plan.steps[name.step], loaded.state.step(name.key))
            if wanted is None:
                return ""
            said[0] = meaning_to_keep(meanings_of(wanted.meaning), meaning, locale_of(connection, by))
            return self._require(connection, loaded, name, by, wanted.role, now, to=Phrase("sign {checkpoint}", checkpoint=checkpoint))

        return self._act(name, lambda: commands.Sign(name.key, name.round, by, said[0], shown or ""), described, command_id, may_sign)

    def reopen(self, checkpoint: str, by: str, reason: str, *, command_id: str | None = None) -> Result:
        """Take back a passed gate with a reason: the step and everything after it start a new round, earlier answers stay readable.

        Whoever answers the checkpoint may, and a project manager. Raises IllegalTransition unless its latest round has passed, NotAssigned.
        """
        name, why = CheckpointId.parse(checkpoint), _said(reason)
        role = [policy.MANAGER]

        def may_reopen(connection: Connection, loaded: Loaded, now: datetime) -> str:
            asked, on, here = loaded.plan.steps[name.step].step.checkpoint, today(loaded, name.key, now), {"experiment": loaded.code}
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
                on=today(loaded, name.key, now),
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
            on, to = today(loaded, StepKey(""), now), _managing(act, experiment)
            of = policy.require_manager(connection, command.by, experiment=experiment, on=on, to=to)
            decision = decide(loaded.plan, loaded.state, replace(command, of=of), now)
            self._write(connection, loaded, decision)
            result = {"code": experiment, "state": decision.state.status.value}
            remember(connection, command_id, described, result, now)
        return result

    # ------------------------------------------------------------------ drafts

    def save_draft(self, checkpoint: str, by: str, answers: Mapping[str, Any], *, origin: str = "person") -> None:
        """Keep what someone typed; the latest replaces their earlier draft of that checkpoint. Nothing else changes.

        A file that is not theirs to name (`sites.evidence`) is left out. Raises UnknownThing and NotAssigned as `complete` does,
        IllegalTransition for a step or a round that asks nobody.
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
        known = evidence.draft_of(connection, loaded, name.key, by, answers)
        values = {"answers": _storable(known), "origin": origin, "saved_at": self.clock.now()}
        connection.execute(upserted(self.database.dialect, _DRAFT, where | values, list(where)))


def _managing(act: str, experiment: str) -> Phrase:
    if act == "hold":
        return Phrase("put {experiment} on hold", experiment=experiment)
    return Phrase("release {experiment}", experiment=experiment) if act == "release" else Phrase("stop {experiment}", experiment=experiment)


def _said(reason: str) -> str:
    if says_nothing(reason):
        raise InvalidInput(Phrase("A reason is needed, so that others understand later why this was done. Give one with --reason."))
    return reason.strip()


def _storable(answers: Mapping[str, Any]) -> Any:
    """A draft as any database keeps it: what a refused form may hold (NaN, half a character, a null character) is left out."""
    text = json.dumps(dict(answers), ensure_ascii=False, default=str).encode(errors="ignore").replace(b"\\u0000", b"")
    return json.loads(text, parse_constant=lambda _: None, parse_int=lambda digits: int(digits) if len(digits) < 18 else float(digits))
