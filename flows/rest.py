"""A run at rest: suspended under the gate's name, with no process alive while people decide."""

from __future__ import annotations

from typing import NoReturn
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateDetails, StateType
from prefect.exceptions import Pause

RESUMED_IN_PREFECT = "Resuming"  # what Prefect names the state its Resume button gives


def rest(client: SyncPrefectClient, run: UUID, name: str, message: str) -> NoReturn:
    """Suspend the run under `name` and leave its process. Raises Pause, which the engine and the worker know.

    When Prefect does not accept the state (someone cancelled the run meanwhile), the run still stops here and the projector
    puts its state right.
    """
    # A fresh key each time: Prefect lets a repeated pause key through.
    details = StateDetails(pause_reschedule=True, pause_key=uuid4().hex)
    state = State(type=StateType.PAUSED, name=name, message=message, state_details=details)
    answer = client.set_flow_run_state(run, state)
    raise Pause(state=answer.state or state)


def was_resumed_in_prefect(client: SyncPrefectClient, run: UUID) -> bool:
    """Whether the run's latest wake-up came from Prefect's Resume button and not from the projector."""
    scheduled = [state for state in client.read_flow_run_states(run) if state.type is StateType.SCHEDULED]
    return bool(scheduled) and max(scheduled, key=lambda state: state.timestamp).name == RESUMED_IN_PREFECT
