"""The experiment's flow: one run an experiment."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as present_run

from flows.deployments import LAUNCHED_BY_RUN
from flows.house import house
from flows.march import march, refused
from flows.outages import through_outages
from protocols.errors import InsituError


@flow(name="experiment", persist_result=False, retries=0)
def experiment(
    protocol: str,
    sites: list[str],
    launch: dict[str, Any],
    launched_by: str,
    title: str | None = None,
    code: str | None = None,
) -> State:
    """March an experiment's own steps; without `code` (Prefect's form) launch it first, once however often the run starts over.

    The run that launched becomes the experiment's track: the projector finds it by the command id.
    """
    if code is None:
        try:
            code = through_outages(partial(launch_once, protocol, sites, launch, launched_by, title))
        except InsituError as error:
            return refused(error)
    return march(code, "")


def launch_once(protocol: str, sites: list[str], launch: dict[str, Any], launched_by: str, title: str | None) -> str:
    """The code of the experiment that this flow run launches, the same one each time."""
    command = f"{LAUNCHED_BY_RUN}{present_run.get_id()}"
    return str(house().ledger.launch(protocol, sites, launch, launched_by, title=title or None, command_id=command)["code"])
