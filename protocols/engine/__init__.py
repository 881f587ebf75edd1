"""What may happen next: commands in, facts and the next state out.

`decide` is pure: the same plan, state, command and time always give the same decision. It never loops over history, and reads only
the steps around the one it is about; on a slice that proves too small it raises SliceTooSmall (see `protocols.state`).
"""

from __future__ import annotations

from datetime import datetime

from protocols.commands import Command
from protocols.engine.acts import CARRY_OUT, refuse_when_ended
from protocols.engine.march import Decision, March, answers_hash, because, due_at, next_signature, sites_needed, who_acted
from protocols.plan import Plan
from protocols.state import State

__all__ = ["Decision", "advance", "answers_hash", "because", "decide", "due_at", "next_signature", "sites_needed", "who_acted"]


def decide(plan: Plan, state: State, command: Command, now: datetime) -> Decision:
    """Say what a command brings about; the given state is left as it was.

    `now` is aware UTC. Raises a `Refused` when the present state forbids the command, InvalidAnswers when the form refuses the
    answers, SliceTooSmall when the slice does not hold what the decision needs.
    """
    march = March(plan, state.copy(), now, of=getattr(command, "of", ""))
    if state.status.has_ended:
        refuse_when_ended(state, command)
    else:
        CARRY_OUT[type(command)](march, command)
    march.settle()
    return Decision(tuple(march.facts), march.state, tuple(march.ended_rounds))


def advance(plan: Plan, state: State, command: Command, now: datetime) -> State:
    """The state after a command: `decide` without its facts."""
    return decide(plan, state, command, now).state
