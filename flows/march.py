"""The march of a track: do what the ledger says is owed, then rest or end. A flow never loops over past gates."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType, TaskRun
from prefect.runtime import flow_run as present_run

from flows.actions import ActionContext, action
from flows.house import House, house
from flows.outages import through_outages
from flows.picture import NAME_LENGTH, WORKING, Picture, Rest, picture
from flows.rest import filled_in, forget_filled_in, rest, was_resumed_in_prefect
from flows.view import view_of
from protocols.errors import InsituError, InvalidInput, Refused
from protocols.model import in_locale
from sites import inbox
from sites.checkpoints import CheckpointId
from sites.trouble import passes

Owed = Mapping[str, Any]


def march(code: str, site: str) -> State:
    """Do every action owed on a track, then end the run in the state returned, or rest (raises Pause). Doing it twice does no harm."""
    return through_outages(partial(_march, code, site))


def _march(code: str, site: str) -> State:
    place, run = house(), UUID(present_run.get_id())
    with get_client(sync_client=True) as client:
        done = _do_what_is_owed(place, client, run, code, site)
        present = _picture(place, code, site)
        early = not done and present.rest is Rest.RESTS and was_resumed_in_prefect(client, run)
        if early and not _keep_as_draft(place, client, run, present):
            _report_early_resume(place, code, site, present)
        if present.rest is not Rest.ENDED:
            rest(client, run, present)
    return State(type=StateType(present.type), name=present.state, message=present.message)


def _picture(place: House, code: str, site: str) -> Picture:
    return picture(view_of(place.database, code), site, place.settings.locale, place.settings.public_url)


def _do_what_is_owed(place: House, client: SyncPrefectClient, run: UUID, code: str, site: str) -> int:
    """How many actions were done. One that is owed again although done here is left to the next wake-up, not to an endless loop."""
    done: set[tuple[str, int]] = set()
    while owed := [one for one in inbox.owed_actions(place.database, code, site) if (one["checkpoint"], one["index"]) not in done]:
        for one in owed:
            title = in_locale(one["title"], place.settings.locale)
            client.set_flow_run_state(run, State(type=StateType.RUNNING, name=WORKING.format(what=title)[:NAME_LENGTH]))
            _do(place, one, title)
            done.add((one["checkpoint"], one["index"]))
    return len(done)


def _do(place: House, owed: Owed, title: str) -> None:
    """Do one action as a Prefect task and record how it went: its result, or its error once it has failed for good."""
    attempt = perform.with_options(
        task_run_name=f"{owed['do']}: {title}".replace("{", "(").replace("}", ")"),
        retries=len(place.retry_delays_s),
        retry_delay_seconds=list(place.retry_delays_s),
    )
    # A resumed run counts its tasks from 0 again: without a key of its own, this task run would overwrite an earlier one.
    attempt.task_key = f"insitu.action:{owed['checkpoint']}:{owed['index']}"
    state = attempt(owed["checkpoint"], owed["do"], dict(owed["with"] or {}), return_state=True)
    outcome = state.result(raise_on_failure=False)
    if passes(outcome):  # the action did not fail: it is begun again once the ledger answers
        raise outcome
    error = None if state.is_completed() else f"{type(outcome).__name__}: {outcome}"
    _record(place, owed, None if error else outcome, error)


def _record(place: House, owed: Owed, result: Any, error: str | None) -> None:
    try:
        place.ledger.record_action(owed["checkpoint"], owed["index"], result, error=error)
    except Refused:  # its step ended, or went on hold, while the action ran: nothing is owed any more
        return


def _may_pass(_task: Any, _run: TaskRun, state: State) -> bool:
    """Whether trying again soon can help: wrong input and broken rules stay wrong, and the march itself waits for a ledger that is away."""
    outcome = state.result(raise_on_failure=False)
    return not (isinstance(outcome, (InvalidInput, Refused)) or passes(outcome))


@task(persist_result=False, cache_policy=NO_CACHE, retry_condition_fn=_may_pass)
def perform(checkpoint: str, do: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Do one run action of a step; its result is what the ledger records. May run again after a crash: actions carry keys."""
    return action(do)(_context(house(), CheckpointId.parse(checkpoint)), **arguments)


def _context(place: House, at: CheckpointId) -> ActionContext:
    return ActionContext(
        experiment=at.experiment,
        step=at.step,
        site=at.site,
        round=at.round,
        ledger=place.ledger,
        database=place.database,
        settings=place.settings,
        protocol=inbox.protocol_of(place.database, at.experiment),
        locale=place.settings.locale,
    )


def _keep_as_draft(place: House, client: SyncPrefectClient, run: UUID, present: Picture) -> bool:
    """Keep what was filled in in the Resume dialog as a draft; whether there was any. Nobody knows who did: it opens nothing."""
    given = filled_in(client, run, present.asked) if present.asked else None
    if given is None or present.asked is None:
        return False
    with suppress(Refused):  # its round may have ended meanwhile: nobody would read it
        place.ledger.save_draft_of_prefect(present.asked.checkpoint, given)
    forget_filled_in(client, run, present.asked)
    return True


def _report_early_resume(place: House, code: str, site: str, present: Picture) -> None:
    where = f"the run of {code} at {site}" if site else f"the run of {code}"
    message = (
        f"Someone resumed {where} in Prefect. Its gate is still closed, so it rests again ({present.state}). "
        "Answer the checkpoint in insitu."
    )
    place.ledger.report_incident(code, f"prefect:resumed:{site}", "external", message, site=site)


def refused(error: InsituError) -> State:
    """The state of a run that could not begin for a reason its launcher can mend: the sentence, no traceback."""
    return State(type=StateType.FAILED, name="Refused", message=str(error))
