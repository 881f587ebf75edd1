"""The REST API, `/api/v1`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Response

from sites.database import Database, is_alive


def create_app(database: Database) -> FastAPI:
    """The application that serves one ledger. Its documentation is JSON only: the usual pages would load scripts from elsewhere."""
    app = FastAPI(title="insitu", version=version("insitu"), openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)

    @app.get("/api/v1/health")
    def health(response: Response) -> dict[str, Any]:
        """Whether the ledger answers; 503 when it does not."""
        alive = is_alive(database)
        response.status_code = 200 if alive else 503
        return {"status": "ok" if alive else "unavailable", "database": alive, "version": version("insitu")}

    return app
