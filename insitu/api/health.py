"""Whether insitu is well, for whoever watches over it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

from fastapi import Request, Response
from pydantic import ConfigDict, Field

from insitu.api.route import noun
from insitu.api.shapes.common import Shown
from insitu.entrance.doors import doors_of
from insitu.entrance.visitor import Anyone
from sites.database import is_alive

router = noun("health")

EXAMPLE: dict[str, Any] = {"status": "ok", "database": True, "unnamed_proxy": False, "version": "0.1.0"}


class Health(Shown):
    """Whether the ledger answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    status: Literal["ok", "unavailable"]
    database: bool
    unnamed_proxy: bool = Field(description="Whether a proxy passed requests on that INSITU_TRUSTED_PROXIES does not name.")
    version: str


@router.get(
    "/health",
    response_model=Health,
    responses={503: {"model": Health, "description": "The ledger does not answer."}},
    operation_id="getHealth",
)
def health(request: Request, response: Response, _: Anyone) -> dict[str, Any]:
    """Say whether insitu is well

    Open to everybody; 503 when the ledger does not answer.
    """
    alive = is_alive(doors_of(request).database)
    response.status_code = 200 if alive else 503
    return {
        "status": "ok" if alive else "unavailable",
        "database": alive,
        "unnamed_proxy": bool(request.app.state.unnamed_proxies),
        "version": version("insitu"),
    }
