"""The in-process worker: wakes runs in one warm process, in well under a second instead of the 5 s of a new process each time."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import anyio.abc
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.context import SettingsContext, SyncClientContext, get_settings_context
from prefect.exceptions import Abort, InfrastructureNotAvailable, InfrastructureNotFound, Pause, PrefectSignal
from prefect.flow_engine import run_flow
from prefect.flows import Flow
from prefect.settings import temporary_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from flows.client import lives
from flows.deployments import ENTRYPOINTS, EXPERIMENT, POOL, POOL_TYPE, SITE_TRACK
from flows.lock import chosen_lock
from flows.payloads import RESCUED
from flows.proxies import told_of_proxy

LIMIT = 4  # runs at once: actions render and compute, and share the process
POLL_S = 0.25
HEARTBEAT_S = 5
MAX_RETRIES = 8  # of a request to Prefect: about 10 s
MAX_RETRIES_OF_A_RUN = 60  # two minutes: a run in hand outlives a restart of Prefect, which takes 14 to 41 s
LONGEST_PAUSE_S = 2  # between two looks while Prefect is away: it is to be right again soon after it answers
LONG_LIFE_S = 60  # a worker that lived so long starts over without a pause
REFUSED = "Refused"
STUCK_AFTER = timedelta(seconds=20)  # longer than a worker needs between taking a run and starting it

log = logging.getLogger("insitu.worker")

Heard = Callable[[BaseException | None], None]


class NotOurs(Exception):
    """A run of something else than insitu's own flows, which this worker neither loads nor runs."""


class InsituResult(BaseWorkerResult):
    """How a run left the worker: status 0 whenever the engine itself has reported the run's state."""


class InsituWorker(BaseWorker[BaseJobConfiguration, BaseVariables, InsituResult]):
    """Runs flow runs as threads of its own process, at most `limit` at once."""

    type = POOL_TYPE
    _description = "Runs insitu's tracks in the worker's own process."

    def __init__(self, work_pool_name: str = POOL, **options: Any) -> None:
        super().__init__(work_pool_name, **(options | {"limit": options.get("limit") or LIMIT}))
        self.stuck_after = STUCK_AFTER
        self._in_flight: set[UUID] = set()
        self._flows: dict[UUID, Flow[..., Any]] = {}

    async def setup(self) -> None:
        await super().setup()
        patient(self.client._client)

    # ------------------------------------------------------------------ taking runs

    # A run that two workers fetched goes to the one that is first. The other is answered with a signal, a `BaseException` that Prefect's
    # own workers let through, and that would end this one: `Pause` when the run rests again by then. That another took it is no error.

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        try:
            return await super()._propose_pending_state(flow_run)
        except PrefectSignal as signal:
            log.debug("Flow run %s is another's: %s", flow_run.id, signal)
            return False

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        with suppress(PrefectSignal):
            await super()._propose_submitting_state(flow_run)

    async def _propose_crashed_state(self, flow_run: FlowRun, message: str, client: PrefectClient | None = None) -> None:
        with suppress(PrefectSignal):
            await super()._propose_crashed_state(flow_run, message, client)

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        # A run that rested a moment ago may be woken before its thread has ended; it is taken at a later poll. Submitting it now
        # would borrow its slot of the limiter twice, which raises and ends the worker.
        free = [entry for entry in flow_run_response if entry.flow_run.id not in self._in_flight]
        return await super()._submit_scheduled_flow_runs(free)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> InsituResult:
        """March the run in a thread; status 1 when the engine failed, so that the run is reported as crashed."""
        name = f"{socket.gethostname()}:{os.getpid()}:{flow_run.id}"
        self._in_flight.add(flow_run.id)
        if task_status:
            task_status.started(name)
        try:
            flow = await self._flow(flow_run)
            march = contextvars.Context().run  # not a copy: inside a live run's context it would become a subflow, which cannot rest
            settings = get_settings_context()
            await in_thread(march, _march, flow, flow_run, settings)
        except NotOurs as refusal:
            log.error("Flow run %s is refused: %s", flow_run.name, refusal)
            await self._refuse(flow_run, str(refusal))
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("Flow run %s crashed in this worker", flow_run.id)
            return InsituResult(identifier=name, status_code=1)
        finally:
            self._in_flight.discard(flow_run.id)
        return InsituResult(identifier=name, status_code=0)

    async def _flow(self, flow_run: FlowRun) -> Flow[..., Any]:
        """The one of insitu's own flows that the deployment stands for, looked up once a process. Raises NotOurs."""
        if flow_run.deployment_id is None:
            raise NotOurs("it has no deployment, and this worker runs insitu's deployments only.")
        if flow_run.deployment_id not in self._flows:
            deployment = await self.client.read_deployment(flow_run.deployment_id)
            self._flows[flow_run.deployment_id] = own_flow(deployment.entrypoint or "", deployment.name)
        return self._flows[flow_run.deployment_id]

    async def _refuse(self, flow_run: FlowRun, why: str) -> None:
        state = State(type=StateType.FAILED, name=REFUSED, message=f"insitu's worker refused it: {why} Nothing of it was loaded.")
        await self.client.set_flow_run_state(flow_run.id, state, force=True)

    async def kill_infrastructure(self, infrastructure_pid: str, configuration: BaseJobConfiguration, grace_seconds: int = 30) -> None:
        """Refuse: a thread cannot be killed, and its action ends by itself. Raises InfrastructureNotFound when it is not running here."""
        run = UUID(infrastructure_pid.rpartition(":")[2])
        if run not in self._in_flight:
            raise InfrastructureNotFound(f"Flow run {run} is not running in this worker.")
        raise InfrastructureNotAvailable(f"Flow run {run} runs inside the worker's own process; it stops after its present action.")

    # ------------------------------------------------------------------ watchdog

    async def sync_with_backend(self) -> None:
        """Heartbeat, and look after runs whose worker is gone."""
        await super().sync_with_backend()
        await self.rescue()

    async def rescue(self) -> int:
        """Schedule again the runs that a dead worker left `Pending`, `Submitting` or `Running`; returns how many.

        Doing it to a run that is alive after all is harmless: every effect of an action carries a key the database refuses twice.
        """
        stuck = [run for run in await self._executing() if await self._is_lost(run)]
        for run in stuck:
            log.warning("Flow run %s was left %s by a worker that is gone; it starts again", run.name, run.state_name)
            again = State(type=StateType.SCHEDULED, name=RESCUED, message="Its worker is gone.")
            await self.client.set_flow_run_state(run.id, again, force=True)
        return len(stuck)

    async def _executing(self) -> list[FlowRun]:
        from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter

        executing = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING"]}}})
        pool = WorkPoolFilter.model_validate({"name": {"any_": [self._work_pool_name]}})
        return await self.client.read_flow_runs(flow_run_filter=executing, work_pool_filter=pool, limit=200)

    async def _is_lost(self, run: FlowRun) -> bool:
        if run.id in self._in_flight or run.id in self._submitting_flow_run_ids:
            return False
        if run.state is None or datetime.now(UTC) - run.state.timestamp < self.stuck_after:
            return False
        worker = run.labels.get("prefect.worker.name")
        return worker == self.name or worker not in await self._online()

    async def _online(self) -> set[str]:
        """The workers that live, by their heartbeats: Prefect looks at them every 15 s only. Ours, just sent, tells its time."""
        workers = await self.client.read_workers_for_work_pool(self._work_pool_name)
        beats = {worker.name: (worker.last_heartbeat_time, worker.heartbeat_interval_seconds) for worker in workers}
        now = max((last for last, _ in beats.values() if last), default=datetime.now(UTC))
        return {name for name, (last, every_s) in beats.items() if last and lives(last, every_s, now)}

    # ------------------------------------------------------------------ serving

    async def start(self, run_once: bool = False, with_healthcheck: bool = False, printer: Callable[..., None] = print) -> None:
        """What `prefect worker start --type insitu` calls: Prefect's own loops, at our pace."""
        with temporary_settings({"worker.query_seconds": POLL_S}):
            await super().start(run_once, with_healthcheck, printer)

    async def serve(self, should_stop: Callable[[], bool], poke: asyncio.Event, heard: Heard) -> None:
        """Take runs until `should_stop`; a `poke` makes it look at once. Errors of Prefect are waited out, and `heard` is told."""
        synced_at, pause_s = 0.0, POLL_S
        loop = asyncio.get_running_loop()
        while not should_stop():
            try:
                if loop.time() - synced_at > HEARTBEAT_S:
                    await self.sync_with_backend()
                    synced_at = loop.time()
                await self.get_and_submit_flow_runs()
                pause_s = POLL_S
                heard(None)
            except Exception as error:  # noqa: BLE001 -- whatever Prefect answers, the worker lives and asks again
                heard(error)
                url = str(self.client.api_url)
                log.warning("Prefect did not answer the worker (%s); it asks again in %.0f s.%s", error, pause_s, told_of_proxy(url))
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            await _wait(poke, pause_s)


def own_flow(entrypoint: str, deployment: str) -> Flow[..., Any]:
    """The flow of insitu with this entrypoint. Raises NotOurs for any other.

    Whoever may write to Prefect names entrypoints, paths and pull steps in deployments: what is imported is chosen here and never there.
    """
    from flows.experiment import experiment
    from flows.site_track import site_track

    ours: dict[str, Flow[..., Any]] = {ENTRYPOINTS[EXPERIMENT]: experiment, ENTRYPOINTS[SITE_TRACK]: site_track}
    if entrypoint not in ours:
        raise NotOurs(f"the deployment {deployment!r} names {entrypoint!r}, and this worker runs {' and '.join(ours)} only.")
    return ours[entrypoint]


async def _wait(poke: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(poke.wait(), timeout_s)
    except TimeoutError:
        return
    poke.clear()


async def in_thread(work: Callable[..., None], *given: Any) -> None:
    """Wait for `work` done in a thread that does not outlive the program.

    Prefect's client asks a server that is gone again for minutes; a pool's threads would hold the program's end up for as long. Whatever
    is cut off by that is taken up at the next start, as after any crash.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def run() -> None:
        error: BaseException | None = None
        try:
            work(*given)
        except BaseException as caught:  # noqa: BLE001 -- it is raised where it is awaited
            error = caught
        with suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(end, error)

    threading.Thread(target=run, name="track", daemon=True).start()
    await done


def _march(flow: Flow[..., Any], flow_run: FlowRun, settings: SettingsContext) -> None:
    """Run the flow in this thread until it ends or rests."""
    # Heartbeats and the suspension observer each hold a segment back by up to a second when it ends, and segments are short.
    quick = {"flows.heartbeat_frequency": None, "client.max_retries": MAX_RETRIES_OF_A_RUN}
    unobserved = flow_run.model_copy(update={"deployment_id": None})  # the engine reads the run again and finds its deployment
    with SettingsContext(profile=settings.profile, settings=settings.settings), temporary_settings(quick), SyncClientContext() as context:
        patient(context.client._client)
        try:
            run_flow(flow, flow_run=unobserved, return_type="state")
        except (Pause, Abort):
            return


# ------------------------------------------------------------------ asking again


def patient(http: httpx.Client | httpx.AsyncClient) -> None:
    """Let Prefect's client repeat a request after 0.1, 0.2, 0.4, … at most 2 s; it would wait 2, 4, 8, … s, without an upper bound.

    A server on SQLite answers 503 under almost no load: one wake-up in eight took 2 to 6 s for it. One that comes back after a minute
    would be asked again another minute later. So a connection that fails is made an answer too: only an answer can say when to ask again.
    """
    if isinstance(http, httpx.AsyncClient):
        http.event_hooks["response"].append(_ask_again_soon_async)
        http._transport = _PatientAsync(http._transport)
        http._mounts = {where: one and _PatientAsync(one) for where, one in http._mounts.items()}
    else:
        http.event_hooks["response"].append(_ask_again_soon)
        http._transport = _Patient(http._transport)
        http._mounts = {where: one and _Patient(one) for where, one in http._mounts.items()}


class _Patient(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._inner.handle_request(request)
        except httpx.TransportError as error:
            return _away(error)

    def close(self) -> None:
        self._inner.close()


class _PatientAsync(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._inner.handle_async_request(request)
        except httpx.TransportError as error:
            return _away(error)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _away(error: httpx.TransportError) -> httpx.Response:
    return httpx.Response(httpx.codes.SERVICE_UNAVAILABLE, json={"exception_message": f"{type(error).__name__} {error}".strip()})


def _ask_again_soon(response: httpx.Response) -> None:
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        tries = response.request.extensions.setdefault("insitu.tries", [])
        tries.append(response.status_code)
        response.headers.setdefault("Retry-After", str(min(0.05 * 2 ** len(tries), 2)))


async def _ask_again_soon_async(response: httpx.Response) -> None:
    _ask_again_soon(response)


# ------------------------------------------------------------------ lives


class Worker:
    """An `InsituWorker` for a process that does other things too, in a thread of its own.

    `heard` is told of every look at Prefect: None after an answer, the error after none.
    """

    def __init__(self, api_url: str, *, limit: int = LIMIT, pool: str = POOL, heard: Heard = lambda _error: None) -> None:
        self._api_url, self._limit, self._pool, self._heard = api_url, limit, pool, heard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, args=(self._stop,), name="worker", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poke: asyncio.Event | None = None

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread.start()

    def stop(self, timeout_s: float = 15) -> None:
        """Take no more runs, let those in hand end, and return."""
        self._stop.set()
        self.poke()
        self._thread.join(timeout_s)

    def poke(self) -> None:
        """Look for scheduled runs now; from any thread."""
        loop, poke = self._loop, self._poke
        if loop and poke:
            with suppress(RuntimeError):  # the loop has ended: the next life looks at once
                loop.call_soon_threadsafe(poke.set)

    def run(self, stop: threading.Event) -> None:
        """Serve the work pool until `stop`, in this thread. A life that ends by itself, however it does, is followed by another."""
        pause_s = 1.0
        while not stop.is_set():
            began = time.monotonic()
            try:
                asyncio.run(self._live(stop.is_set))
            except BaseException as error:
                self._heard(error)
                log.exception("The worker starts over")
            pause_s = 1.0 if time.monotonic() - began > LONG_LIFE_S else min(pause_s * 2, 15)
            stop.wait(0 if stop.is_set() else pause_s)

    async def _live(self, should_stop: Callable[[], bool]) -> None:
        self._loop, self._poke = asyncio.get_running_loop(), asyncio.Event()
        # A name of its own for each life: a run labelled with another name, offline, was left by a worker that died.
        name = f"insitu {socket.gethostname()} {uuid4().hex[:8]}"
        known = {"api.url": self._api_url, "worker.prefetch_seconds": 0, "client.max_retries": MAX_RETRIES}
        if lock := chosen_lock():  # Prefect may have been imported before it was chosen
            known["api.auth_string"] = lock
        with temporary_settings(known):
            async with InsituWorker(self._pool, name=name, limit=self._limit, heartbeat_interval_seconds=HEARTBEAT_S) as worker:
                await worker.serve(should_stop, self._poke, self._heard)
