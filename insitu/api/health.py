"""Whether insitu is well, for whoever watches over it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

from fastapi import Request, Response
from pydantic import ConfigDict, Field

from insitu.api.route import noun
from insitu.api.shapes.common import Moment, Shown
from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.visitor import Anyone
from insitu.supervision import Condition, State
from protocols.errors import DatabaseUnavailable
from sites.arrears import BEHIND_AFTER, arrears
from sites.database import is_alive

router = noun("health")

EXAMPLE: dict[str, Any] = {"status": "ok", "database": True, "unnamed_proxy": False, "version": "0.1.0"}


class Part(Shown):
    """How one part is: `ok`, or why not. `since` is unknown (null) for what is worked out at each question."""

    state: Literal["ok", "starting", "away", "failing", "restarting", "behind", "absent"]
    since: Moment | None


class Health(Shown):
    """Whether everything that should be done is done; `unavailable` when the ledger does not answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    status: Literal["ok", "starting", "degraded", "unavailable"]
    database: bool
    unnamed_proxy: bool = Field(description="Whether a proxy passed requests on that INSITU_TRUSTED_PROXIES does not name.")
    version: str
    parts: dict[str, Part] = Field(default_factory=dict)


@router.get(
    "/health",
    response_model=Health,
    responses={503: {"model": Health, "description": "The ledger does not answer."}},
    operation_id="getHealth",
)
def health(request: Request, response: Response, _: Anyone) -> dict[str, Any]:
    """Say whether insitu is well

    Open to everybody. `parts` says how each is: `database`; `prefect`, `worker`, `projector` and `dispatcher` where this process runs
    or watches them; `workers` of a pool of Prefect's; and whether `deadlines`, `messages`, `actions` and Prefect's `picture` are behind.
    503 when the ledger does not answer; whatever else is not well is `degraded` and answered with 200: the pages work.
    """
    parts = parts_of(doors_of(request))
    status = overall(parts)
    response.status_code = 503 if status == "unavailable" else 200
    shown = {name: {"state": part.state.value, "since": part.since} for name, part in sorted(parts.items())}
    return {
        "status": status,
        "database": status != "unavailable",
        "unnamed_proxy": bool(request.app.state.unnamed_proxies),
        "version": version("insitu"),
        "parts": shown,
    }


def parts_of(doors: Doors) -> dict[str, Condition]:
    """How each part is now."""
    found = dict(doors.parts.all())
    away = found | {"database": Condition(State.AWAY)}
    if not is_alive(doors.database):
        return away
    try:
        owed = arrears(doors.database, doors.clock.now())
    except DatabaseUnavailable:
        return away
    behind = {kind: Condition(State.BEHIND if kind in owed.behind else State.OK) for kind in BEHIND_AFTER}
    if not doors.settings.prefect_api_url:
        behind["picture"] = Condition(State.OK)  # there is no Prefect, as far as this process knows
    return found | {"database": Condition(State.OK)} | behind


def overall(parts: Mapping[str, Condition]) -> str:
    """The one word for all of them."""
    if parts["database"].state is not State.OK:
        return "unavailable"
    unwell = {part.state for part in parts.values()} - {State.OK}
    if not unwell:
        return "ok"
    return "starting" if unwell == {State.STARTING} else "degraded"
