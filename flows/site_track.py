"""A site's flow: one run for each site of an experiment."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from flows.march import march


@flow(name="site_track", persist_result=False, retries=0)
def site_track(code: str, site: str) -> State:
    """March a site's steps of an experiment."""
    return march(code, site)
