"""Whether insitu is well, for whoever watches over it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

from anyio import CapacityLimiter, move_on_after, to_thread
from fastapi import Request, Response
from pydantic import ConfigDict

from insitu.api.route import noun
from insitu.api.shapes.common import Shown
from insitu.entrance.doors import doors_of
from insitu.entrance.refusals import RETRY_AFTER_S
from insitu.entrance.visitor import Anyone
from sites.database import Condition, condition
from sites.trouble import Trouble

router = noun("health")

# A lane of its own: whoever watches hears within a second, also while every other thread waits for something that hangs.
LANE = CapacityLimiter(2)
WITHIN_S = 0.9


class Health(Shown):
    """Whether the ledger answers.

    `database` says whether it can be read, `ledger` what keeps it from being written: `locked` by another program, its disk `full`, it is
    `read-only`, `damaged` or `away`; `clock` whether this machine's clock jumped `ahead` or `behind` since insitu was started. It is
    `degraded` where it can be read and either is not `ok`.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ok", "database": True, "ledger": "ok", "clock": "ok", "version": "0.1.0"}]}
    )

    status: Literal["ok", "degraded", "unavailable"]
    database: bool
    ledger: Literal["ok", "locked", "full", "read-only", "damaged", "busy", "unprepared", "closed", "away"]
    clock: Literal["ok", "ahead", "behind"]
    version: str


@router.get(
    "/health",
    response_model=Health,
    responses={503: {"model": Health, "description": "The ledger does not answer."}},
    operation_id="getHealth",
)
async def health(request: Request, response: Response, _: Anyone) -> dict[str, Any]:
    """Say whether insitu is well

    Open to everybody; 503 when the ledger cannot be read.
    """
    found = Condition(False, Trouble.AWAY)
    with move_on_after(WITHIN_S):
        found = await to_thread.run_sync(condition, doors_of(request).database, limiter=LANE, abandon_on_cancel=True)
    if not found.can_read:
        response.status_code, response.headers["retry-after"] = 503, RETRY_AFTER_S
    watch = doors_of(request).watch
    clock = watch.state if watch else "ok"
    status = "ok" if (found, clock) == (Condition(True), "ok") else "degraded" if found.can_read else "unavailable"
    return {"status": status, "database": found.can_read, "ledger": found.trouble or "ok", "clock": clock, "version": version("insitu")}
