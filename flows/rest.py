"""A run at rest: suspended under the gate's name, with no process alive while people decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateDetails, StateType
from prefect.exceptions import Pause, PrefectHTTPStatusError

from flows.payloads import form, keyset
from flows.picture import Asked, Picture
from protocols.strict_json import NotJson, read_json

RESUMED_IN_PREFECT = "Resuming"  # what Prefect names the state its Resume button gives


def rest(client: SyncPrefectClient, run: UUID, present: Picture) -> NoReturn:
    """Suspend the run as pictured, with the form it asks for, and leave its process. Raises Pause, which the engine and the worker know.

    When Prefect does not accept the state (someone cancelled the run meanwhile), the run still stops here and the projector
    puts its state right.
    """
    # A fresh key each time: Prefect lets a repeated pause key through.
    details = StateDetails(pause_reschedule=True, pause_key=uuid4().hex)
    if present.asked:
        offer(client, run, form(present.asked))  # before the state: without its form nobody could resume
        details.run_input_keyset = keyset(present.asked)
    state = State(type=StateType.PAUSED, name=present.state, message=present.message, state_details=details)
    answer = client.set_flow_run_state(run, state)
    raise Pause(state=answer.state or state)


def offer(client: SyncPrefectClient, run: UUID, inputs: Mapping[str, str]) -> None:
    """Put inputs beside a run; what is there already stays."""
    for key, value in inputs.items():
        try:
            client.create_flow_run_input(run, key, value)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != httpx.codes.CONFLICT:
                raise


def filled_in(client: SyncPrefectClient, run: UUID, asked: Asked) -> dict[str, Any] | None:
    """What someone filled in in the Resume dialog for this checkpoint; None for nothing."""
    try:
        given = read_json(client.read_flow_run_input(run, keyset(asked)["response"]))
    except NotJson:
        return None
    except PrefectHTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return None
    return given if isinstance(given, dict) else None


def forget_filled_in(client: SyncPrefectClient, run: UUID, asked: Asked) -> None:
    """Take what was filled in away, so that the dialog can be filled in again: Prefect refuses a second answer under one key."""
    client.delete_flow_run_input(run, keyset(asked)["response"])


def was_resumed_in_prefect(client: SyncPrefectClient, run: UUID) -> bool:
    """Whether the run's latest wake-up came from Prefect's Resume button and not from the projector."""
    scheduled = [state for state in client.read_flow_run_states(run) if state.type is StateType.SCHEDULED]
    return bool(scheduled) and max(scheduled, key=lambda state: state.timestamp).name == RESUMED_IN_PREFECT
