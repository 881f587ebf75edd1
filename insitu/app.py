"""The application behind `insitu up` and `insitu serve`: pages and API on one ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from insitu import api, web
from insitu.entrance import refusals
from insitu.entrance.doors import Doors
from insitu.entrance.guard import Guard
from insitu.entrance.heads import Heads
from insitu.entrance.sender import Proxies, Unnamed
from insitu.entrance.served import Served


def create_app(doors: Doors) -> FastAPI:
    """Pages at `/`, the API at `/api/v1` with its document at `/api/v1/openapi.json`; nothing in them comes from another host."""
    app = FastAPI(
        title="insitu",
        version=version("insitu"),
        openapi_url=None,  # ours: the API's alone, without the pages (insitu.api)
        docs_url=None,
        redoc_url=None,
        lifespan=_few_threads,
    )
    app.state.doors, app.state.served = doors, Served()
    app.state.unnamed_proxies = Unnamed()
    # The last is the outermost.
    app.add_middleware(Guard)
    app.add_middleware(Heads)
    app.add_middleware(Proxies, trusted=doors.settings.trusted_proxies, unnamed=app.state.unnamed_proxies)
    refusals.add_to(app)
    for router in (*api.ROUTERS, *web.ROUTERS):
        app.include_router(router)
    app.mount("/static", Kept(packages=[("insitu.web", "static")]), name="static")
    return app


# Pages are work of the processor, in Python: with the usual 40 at once, threads take it from each other all the time, and a page
# costs two and a half times what it costs alone (docs/performance.md). More than two, as one may wait for its turn to write.
THREADS = 4


@asynccontextmanager
async def _few_threads(_app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield


class Kept(StaticFiles):
    """Static files, whose addresses carry a mark of their content and may be kept for a year."""

    async def get_response(self, path: str, scope: dict[str, object]) -> Response:  # type: ignore[override]
        answer = await super().get_response(path, scope)
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer
