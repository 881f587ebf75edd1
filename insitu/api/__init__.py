"""The REST API, `/api/v1`."""

from insitu.api import health

ROUTERS = (health.router,)
