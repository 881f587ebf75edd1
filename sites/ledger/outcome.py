"""What a command did to its checkpoint, as the doors report it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from protocols.engine import Decision
from protocols.facts import FactKind
from protocols.needs import needs
from protocols.plan import Plan
from sites.board import iso
from sites.checkpoints import CheckpointId
from sites.commands import Result

_MOVES = {FactKind.GATE_PASSED: "passed", FactKind.GATE_RETURNED: "returned", FactKind.GATE_STOPPED: "stopped"}


def outcome(name: CheckpointId, plan: Plan, decision: Decision, now: datetime, locale_of: Callable[[], str]) -> Result:
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
        "waiting_for": [{"what": need.what(locale), "role": need.role, "since": iso(need.since)} for need in waits],
    } | ({"gate": moved[-1]} if moved else {})
