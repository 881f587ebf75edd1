"""One-time links to a checkpoint: sent by mail to someone who may complete it, good for one completion within three days."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select

from protocols import clocks
from protocols.context import place_of
from protocols.errors import IllegalTransition, NotAssigned
from protocols.needs import MANAGER, awaits
from protocols.phrase import Phrase
from sites import policy
from sites.checkpoints import CheckpointId
from sites.clock import Clock
from sites.database import Database, table
from sites.identity.links import create_link, revoke_link
from sites.letters import owe_letter
from sites.policy.administering import require_seen_person
from sites.snapshot import Loaded, find, load
from sites.tables import Link, Person

LASTS = timedelta(hours=72)

_LINK, _PERSON = table(Link), table(Person)
_IN_FORCE = (
    select(_LINK.c.id, _LINK.c.person, _PERSON.c.name, _LINK.c.created_by, _LINK.c.created_at, _LINK.c.expires_at)
    .join(_PERSON, _PERSON.c.id == _LINK.c.person)
    .where(
        _LINK.c.purpose == "checkpoint",
        _LINK.c.target == bindparam("target"),
        _LINK.c.used_at.is_(None),
        _LINK.c.revoked_at.is_(None),
        _LINK.c.expires_at > bindparam("now"),
    )
    .order_by(_LINK.c.created_at)
)


def send_link(database: Database, clock: Clock, checkpoint: str, person: str, *, by: str) -> None:
    """Owe a person a letter with a link to one checkpoint, which lasts 72 hours; their earlier link to it is taken back.

    A project manager may send it to anyone who may complete the checkpoint now, anyone else to themself. Raises NotAssigned and its like,
    IllegalTransition when the checkpoint asks for no answers.
    """
    name = CheckpointId.parse(checkpoint)
    with database.write() as connection:
        now = clock.now()
        loaded = load(connection, find(connection, name.experiment, site=name.site), name.key)
        needed, role = awaits(loaded.plan, loaded.state.step(name.key))
        if needed != "answers" or name.round != loaded.state.step(name.key).round:
            raise IllegalTransition(Phrase("{checkpoint} asks for no answers now, so there is nothing to send.", checkpoint=str(name)))
        place, _ = place_of(loaded.state, name.site)
        on, to = clocks.local_date(now, place), Phrase("complete {checkpoint}", checkpoint=str(name))
        of = _require_sending(connection, loaded, person, by, on, now)
        policy.require(connection, person, role, site=name.site, experiment=loaded.code, on=on, to=to, plan=loaded.plan)
        for one in links_to(connection, name, now):
            if one["person"] == person:
                revoke_link(connection, one["id"], now, by=by, of=of)
        nonce = create_link(connection, "checkpoint", person, now, by=by, of=of, target=str(name), lasts=LASTS)
        owe_letter(connection, f"checkpoint_link.{nonce}", "checkpoint_link", person, now, link=nonce, checkpoint=str(name))


def _require_sending(connection: Connection, loaded: Loaded, person: str, by: str, on: date, now: datetime) -> str:
    """Let someone send a link: whom they do it for as a deputy. Nothing tells of a person whom a manager does not see."""
    if by == person:
        return ""
    stands = policy.standing(connection, by, MANAGER, experiment=loaded.code, on=on)
    if not stands.may_act:
        raise NotAssigned(Phrase("Only a project manager sends such a link to someone else. You may send it to yourself."))
    require_seen_person(connection, policy.reader(connection, by, now), person)
    return stands.of


def links_to(connection: Connection, name: CheckpointId, now: datetime) -> list[dict[str, Any]]:
    """The links to a checkpoint that still work, oldest first: `id, person, name, created_by, created_at, expires_at`."""
    return [dict(row) for row in connection.execute(_IN_FORCE, {"target": str(name), "now": now}).mappings()]


def take_back(database: Database, clock: Clock, checkpoint: str, nonce: str, *, by: str) -> bool:
    """Take a link back; False when it no longer worked. Raises NotAssigned unless it is one's own or one manages the experiment."""
    name = CheckpointId.parse(checkpoint)
    with database.write() as connection:
        now = clock.now()
        found = next((one for one in links_to(connection, name, now) if one["id"] == nonce), None)
        if found is None:
            return False
        loaded = load(connection, find(connection, name.experiment, site=name.site), name.key)
        place, _ = place_of(loaded.state, name.site)
        on, to = clocks.local_date(now, place), Phrase("take back a link to {checkpoint}", checkpoint=str(name))
        own = found["person"] == by
        of = "" if own else policy.require_manager(connection, by, experiment=loaded.code, on=on, to=to)
        return revoke_link(connection, nonce, now, by=by, of=of)
