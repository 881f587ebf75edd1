"""Whether insitu is well, for whoever watches over it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

from anyio import CapacityLimiter, move_on_after, to_thread
from fastapi import Request, Response
from pydantic import ConfigDict, Field

from insitu.api.route import noun
from insitu.api.shapes.common import Moment, Shown
from insitu.entrance.doors import Doors, doors_of
from insitu.entrance.refusals import RETRY_AFTER_S
from insitu.entrance.visitor import Anyone
from insitu.supervision import Condition, State
from protocols.errors import DatabaseUnavailable
from sites.arrears import BEHIND_AFTER, arrears
from sites.database import condition
from sites.trouble import Trouble

router = noun("health")

EXAMPLE: dict[str, Any] = {"status": "ok", "database": True, "ledger": "ok", "clock": "ok", "unnamed_proxy": False, "version": "0.1.0"}
# A lane of its own: whoever watches hears within a second, also while every other thread waits for something that hangs.
LANE = CapacityLimiter(2)
WITHIN_S = 0.9


class Part(Shown):
    """How one part is: `ok`, or why not. `since` is unknown (null) for what is worked out at each question."""

    state: Literal["ok", "starting", "away", "failing", "restarting", "behind", "absent"]
    since: Moment | None


class Health(Shown):
    """Whether everything that should be done is done; `unavailable` when the ledger cannot be read.

    `ledger` says what keeps it from being written: `locked` by another program, its disk `full`, it is `read-only`, `damaged` or `away`;
    `clock` whether this machine's clock jumped `ahead` or `behind` since insitu was started.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    status: Literal["ok", "starting", "degraded", "unavailable"]
    database: bool = Field(description="Whether the ledger can be read.")
    ledger: Literal["ok", "locked", "full", "read-only", "damaged", "busy", "unprepared", "closed", "away"]
    clock: Literal["ok", "ahead", "behind"]
    unnamed_proxy: bool = Field(description="Whether a proxy passed requests on that INSITU_TRUSTED_PROXIES does not name.")
    version: str
    parts: dict[str, Part] = Field(default_factory=dict)


@router.get(
    "/health",
    response_model=Health,
    responses={503: {"model": Health, "description": "The ledger does not answer."}},
    operation_id="getHealth",
)
async def health(request: Request, response: Response, _: Anyone) -> dict[str, Any]:
    """Say whether insitu is well

    Open to everybody. `parts` says how each is: `database`; `prefect`, `worker`, `projector` and `dispatcher` where this process runs
    or watches them; `workers` of a pool of Prefect's; and whether `deadlines`, `messages`, `actions` and Prefect's `picture` are behind.
    503 when the ledger cannot be read; whatever else is not well is `degraded` and answered with 200: the pages work.
    """
    doors = doors_of(request)
    trouble: Trouble | None = Trouble.AWAY
    parts = dict(doors.parts.all()) | {"database": Condition(State.AWAY)}
    with move_on_after(WITHIN_S):
        trouble, parts = await to_thread.run_sync(_look, doors, limiter=LANE, abandon_on_cancel=True)
    clock = doors.watch.state if doors.watch else "ok"
    status = overall(parts | {"clock": Condition(State.OK if clock == "ok" else State.FAILING)})
    if status == "unavailable":
        response.status_code, response.headers["retry-after"] = 503, RETRY_AFTER_S
    shown = {name: {"state": part.state.value, "since": part.since} for name, part in sorted(parts.items())}
    return {
        "status": status,
        "database": status != "unavailable",
        "ledger": trouble or "ok",
        "clock": clock,
        "unnamed_proxy": bool(request.app.state.unnamed_proxies),
        "version": version("insitu"),
        "parts": shown,
    }


def parts_of(doors: Doors) -> dict[str, Condition]:
    """How each part is now."""
    return _look(doors)[1]


def _look(doors: Doors) -> tuple[Trouble | None, dict[str, Condition]]:
    """What keeps the ledger from being written, and how each part is."""
    found, ledger = dict(doors.parts.all()), condition(doors.database)
    if not ledger.can_read:
        return ledger.trouble, found | {"database": Condition(State.AWAY)}
    try:
        owed = arrears(doors.database, doors.clock.now())
    except DatabaseUnavailable:
        return Trouble.AWAY, found | {"database": Condition(State.AWAY)}
    behind = {kind: Condition(State.BEHIND if kind in owed.behind else State.OK) for kind in BEHIND_AFTER}
    if not doors.settings.prefect_api_url:
        behind["picture"] = Condition(State.OK)  # there is no Prefect, as far as this process knows
    return ledger.trouble, found | {"database": Condition(State.FAILING if ledger.trouble else State.OK)} | behind


def overall(parts: Mapping[str, Condition]) -> str:
    """The one word for all of them."""
    if parts["database"].state is State.AWAY:
        return "unavailable"
    unwell = {part.state for part in parts.values()} - {State.OK}
    if not unwell:
        return "ok"
    return "starting" if unwell == {State.STARTING} else "degraded"
