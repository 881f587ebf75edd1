"""Random walks through the real ledger: what it keeps is what the engine decided, and what its journal adds up to."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from sqlalchemy import insert
from test_stories_in_the_ledger import assert_the_journal_gives_the_snapshot
from walks import Move, Walk, walks

from protocols.commands import Complete, Hold, Launch, RecordAction, Release, Remember, Reopen, RetryAction, Sign, Stop
from protocols.model import canonical
from protocols.state import State, StepKey
from sites import inbox
from sites import tables as kept
from sites.clock import SetClock
from sites.database import Database, table
from sites.journal import verify
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked

PEOPLE = ("m", "p", "signer 0", "signer 1")
CHOSEN = Random(7).sample(walks(800), 10)  # the shortest and the longest alike


def settle(database: Database, walk: Walk) -> None:
    """Release the walk's protocol as it is, put its sites in, and let everybody do everything."""
    protocol, launched = walk.plan.protocol, walk.moves[0]
    assert isinstance(launched.command, Launch)
    released = {"hash": walk.plan.hash, "id": protocol.id, "version": protocol.version, "content": canonical(protocol), "source": ""}
    roles = [*protocol.roles, "project_manager"]
    with database.write() as connection:
        connection.execute(insert(table(kept.Release)).values(released | {"added_at": launched.now}))
        connection.execute(insert(table(kept.Site)), [dict(site) for site in launched.command.sites])
        people = [{"id": who, "name": who, "email": f"{who[-1]}@example.org", "locale": "en", "channels": []} for who in PEOPLE]
        connection.execute(insert(table(kept.Person)), people)
        connection.execute(insert(table(kept.Assignment)), [{"person": who, "role": role} for who in PEOPLE for role in roles])


def carry_out(ledger: Ledger, code: str, move: Move) -> Any:
    def name(key: StepKey, number: int) -> str:
        return f"{code}:{key.step}:{key.site}:{number}"

    match move.command:
        case Complete(key, number, answers, by, change):
            return ledger.complete(name(key, number), answers, by, change=change)
        case Sign(key, number, by, meaning):
            return ledger.sign(name(key, number), by, meaning=meaning, prove=unasked)
        case RecordAction(key, number, index, result, error):
            return ledger.record_action(name(key, number), index, result, error=error)
        case RetryAction(key, number, by):
            return ledger.retry_action(name(key, number), by)
        case Reopen(key, number, by, _, reason):
            return ledger.reopen(name(key, number), by, reason)
        case Hold(by, reason, site):
            return ledger.hold(code, by, reason, site=site)
        case Release(by, reason, site):
            return ledger.release(code, by, reason, site=site)
        case Stop(by, reason, site):
            return ledger.stop(code, by, reason, site=site)
        case Remember():
            return None  # the ledger's own timers do it
    raise AssertionError(move.command)


def seen(state: State) -> dict[StepKey, Any]:
    return {
        key: (step.status, step.round, step.answers, step.due_at, len(step.signatures), step.actions_done, step.why)
        for key, step in state.steps.items()
    }


@pytest.mark.parametrize("walk", CHOSEN, ids=lambda walk: f"{len(walk.moves)} moves")
def test_the_ledger_keeps_what_the_engine_decides(database: Database, walk: Walk) -> None:
    settle(database, walk)
    launched = walk.moves[0].command
    assert isinstance(launched, Launch)
    clock = SetClock(walk.moves[0].now)
    ledger = Ledger(database, clock)
    code = ledger.launch("p", [site["code"] for site in launched.sites], launched.launch, "m")["code"]
    for move in walk.moves[1:]:
        clock.set(move.now)
        ledger.fire_timers()
        carry_out(ledger, code, move)
        with database.read() as connection:
            state = load_state(connection, code)
        assert seen(state) == seen(move.decision.state), move.command
        assert state.status is move.decision.state.status
        assert (state.pending, state.active) == (move.decision.state.pending, move.decision.state.active)
    assert_the_journal_gives_the_snapshot(database, code)
    assert verify(database)["ok"]
    assert inbox.status(database, code, clock.now(), access=EVERYTHING)["state"] == walk.end.decision.state.status


def load_state(connection: Any, code: str) -> State:
    from sites.snapshot import find, load

    return load(connection, find(connection, code)).state
