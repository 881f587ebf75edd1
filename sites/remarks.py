"""Remarks: what people say about a checkpoint without answering it. They decline it, ask the project manager, and are answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from protocols import clocks
from protocols.context import place_of
from protocols.errors import IllegalTransition, InvalidInput, NotAssigned, UnknownThing
from protocols.facts import Fact, FactKind
from protocols.forms import MAX_TEXT, says_nothing
from protocols.needs import MANAGER, awaits
from protocols.phrase import Phrase
from sites import policy
from sites.checkpoints import CheckpointId
from sites.database import table
from sites.identity.access import in_place_of
from sites.snapshot import Loaded
from sites.tables import Remark

_REMARK = table(Remark)
_INSERT = insert(_REMARK)
_ABOUT = (
    select(_REMARK)
    .where(
        _REMARK.c.experiment_id == bindparam("experiment"),
        _REMARK.c.step == bindparam("step"),
        _REMARK.c.site == bindparam("site"),
    )
    .order_by(_REMARK.c.id)
)
_SAME = select(_REMARK.c.id).where(
    *(_REMARK.c[name] == bindparam(name) for name in ("experiment_id", "step", "site", "round", "kind", "by", "text")),
    _REMARK.c.answered_at.is_(None),
)
_SAID_BY = select(_REMARK.c.id).where(
    *(_REMARK.c[name] == bindparam(name) for name in ("experiment_id", "step", "site", "round", "kind", "by"))
)
_UNANSWERED = (
    update(_REMARK)
    .where(_REMARK.c.id == bindparam("number"), _REMARK.c.kind == "question", _REMARK.c.answered_at.is_(None))
    .values({name: bindparam(f"new_{name}") for name in ("answer", "answered_by", "answered_at")})
)

Told = tuple[int, tuple[Fact, ...]]  # the remark's number, and what the journal is told


def about(connection: Connection, experiment: int, name: CheckpointId) -> list[dict[str, Any]]:
    """All that was said about a step at its site, in every round, oldest first: the columns of `Remark`."""
    asked = {"experiment": experiment, "step": name.step, "site": name.site}
    return [dict(row) for row in connection.execute(_ABOUT, asked).mappings()]


def decline(connection: Connection, loaded: Loaded, name: CheckpointId, by: str, reason: str, now: datetime) -> Told:
    """Note that someone asked will not answer or sign, and why: a second time in the same round changes nothing.

    Whoever holds the role that is awaited may, with or without delegation, training or a conflict of interest: those are reasons to
    decline. The checkpoint stays open to others. Raises NotAssigned, IllegalTransition when nobody is asked, InvalidInput.
    """
    text, step = said(reason), loaded.state.step(name.key)
    needed, role = awaits(loaded.plan, step)
    if name.round != step.round or needed not in ("answers", "signature"):
        raise IllegalTransition(Phrase("{checkpoint} asks nobody now, so there is nothing to decline.", checkpoint=str(name)))
    place, _ = place_of(loaded.state, name.site)
    on = clocks.local_date(now, place)
    stands = policy.standing(connection, by, role, site=name.site, experiment=loaded.code, on=on)
    if not stands.holds:
        policy.require(
            connection, by, role, site=name.site, experiment=loaded.code, on=on, to=Phrase("decline {checkpoint}", checkpoint=str(name))
        )
    row = _row(loaded, name, "decline", by, text, now)
    if (earlier := connection.execute(_SAID_BY, row).scalar()) is not None:
        return int(earlier), ()
    number = _inserted(connection, row)
    return number, (_fact(FactKind.CHECKPOINT_DECLINED, name, now, by, role, remark=number, reason=text, **in_place_of(stands.of)),)


def ask(connection: Connection, loaded: Loaded, name: CheckpointId, by: str, text: str, now: datetime) -> Told:
    """Note a question to the project managers; the same one again, while it is unanswered, is one question.

    Whoever may read the step's answers may ask. Raises NotAssigned, InvalidInput.
    """
    question = said(text)
    access = policy.access_to(connection, policy.reader(connection, by, now), loaded.row)
    if access is None or not access.reads_answers(loaded.plan, name.step, name.site):
        raise NotAssigned(Phrase("{person} has no part in {checkpoint}, so they cannot ask about it.", person=by, checkpoint=str(name)))
    row = _row(loaded, name, "question", by, question, now)
    if (earlier := connection.execute(_SAME, row).scalar()) is not None:
        return int(earlier), ()
    number = _inserted(connection, row)
    return number, (_fact(FactKind.QUESTION_ASKED, name, now, by, "", remark=number, text=question),)


def answer(connection: Connection, loaded: Loaded, name: CheckpointId, number: int, by: str, text: str, now: datetime) -> Told:
    """Note a project manager's answer to a question, once. Raises NotAssigned, UnknownThing, IllegalTransition, InvalidInput."""
    words = said(text)
    place, _ = place_of(loaded.state, name.site)
    on = clocks.local_date(now, place)
    of = policy.require_manager(
        connection, by, experiment=loaded.code, on=on, to=Phrase("answer a question about {checkpoint}", checkpoint=str(name))
    )
    asked = next((one for one in about(connection, loaded.id, name) if (one["id"], one["kind"]) == (number, "question")), None)
    if asked is None:
        raise UnknownThing(Phrase("There is no question {number} about {checkpoint}.", number=number, checkpoint=str(name)))
    values = {"number": number, "new_answer": words, "new_answered_by": by, "new_answered_at": now}
    if connection.execute(_UNANSWERED, values).rowcount != 1:
        raise IllegalTransition(Phrase("Question {number} was answered already. Reload the page to read the answer.", number=number))
    data = {"remark": number, "asker": asked["by"], "text": words} | in_place_of(of)
    return number, (_fact(FactKind.QUESTION_ANSWERED, name, now, by, MANAGER, **data),)


def said(text: str) -> str:
    """What someone said, without blanks around it. Raises InvalidInput for nothing, too much, or what cannot be kept."""
    words = text.replace("\r\n", "\n").strip()
    if says_nothing(words):
        raise InvalidInput(Phrase("Write a few words, so that others understand."))
    if len(words) > MAX_TEXT:
        raise InvalidInput(Phrase("the text has {count} characters; at most {most} are kept", count=len(words), most=MAX_TEXT))
    if "\x00" in words or any("\ud800" <= character <= "\udfff" for character in words):
        raise InvalidInput(Phrase("The text holds a character that cannot be kept; type it again."))
    return words


def _row(loaded: Loaded, name: CheckpointId, kind: str, by: str, text: str, now: datetime) -> dict[str, Any]:
    where = {"experiment_id": loaded.id, "step": name.step, "site": name.site, "round": name.round}
    return where | {"kind": kind, "by": by, "at": now, "text": text, "answer": "", "answered_by": ""}


def _inserted(connection: Connection, row: Mapping[str, Any]) -> int:
    key = connection.execute(_INSERT, row).inserted_primary_key
    assert key is not None
    return int(key[0])


def _fact(kind: FactKind, name: CheckpointId, now: datetime, by: str, role: str, **data: Any) -> Fact:
    return Fact(kind, now, by=by, role=role, step=name.step, site=name.site, round=name.round, data=data)
