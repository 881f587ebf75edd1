"""Whether insitu is well, for whoever watches over it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.doors import doors_of
from insitu.entrance.visitor import Anyone
from sites.database import is_alive

router = APIRouter(prefix="/api/v1", tags=["health"])


@router.get("/health")
def health(request: Request, response: Response, _: Anyone) -> dict[str, Any]:
    """Whether the ledger answers; 503 when it does not."""
    alive = is_alive(doors_of(request).database)
    response.status_code = 200 if alive else 503
    return {"status": "ok" if alive else "unavailable", "database": alive, "version": version("insitu")}
