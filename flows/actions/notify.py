"""The `notify` action: a notice of the protocol's own, owed to the holders of some roles."""

from __future__ import annotations

from typing import Any

from flows.actions import ActionContext
from protocols.errors import InvalidInput
from sites.checkpoints import CheckpointId


def notify(context: ActionContext, *, notice: str, to: list[str]) -> dict[str, Any]:
    """Put the notice in the outbox for whoever holds the roles `to`; once for this step's round, however often it is done.

    A role of site scope, from a step of the experiment, is told at every active site. Raises InvalidInput for an unknown role.
    """
    if unknown := [role for role in to if role not in context.protocol.roles]:
        known = ", ".join(context.protocol.roles)
        raise InvalidInput(f"notify: the protocol has no role {', '.join(unknown)}; it has {known}.")
    checkpoint = CheckpointId(context.experiment, context.step, context.site, context.round)
    context.ledger.owe_notice(str(checkpoint), "notify", to, occasion=notice, details={"notice": notice})
    return {"notice": notice, "to": list(to)}
