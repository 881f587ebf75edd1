"""Prefect's REST API as the projector needs it, over plain HTTP: nothing here imports Prefect, which takes seconds."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any

import httpx

from flows.lock import VARIABLE, authorization, chosen_lock
from flows.proxies import is_on_this_machine, told_of_proxy
from protocols.errors import InsituError
from sites.settings import without_password

PAGE = 200  # Prefect's largest page
ATTEMPTS = 7
HEARTBEAT_S = 30  # of a worker that does not say
LOOK_S = 3  # how long a look whether the server answers may take

log = logging.getLogger("insitu.prefect")


class PrefectUnavailable(InsituError):
    """Prefect does not answer; whatever was asked can be asked again."""


class PrefectRefused(InsituError):
    """Prefect understood and said no; asking again would give the same answer. `status` is its HTTP status, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Run:
    """A flow run as Prefect has it now. `state_since` is aware UTC; `deployment` is "" once someone deleted the deployment.

    `pool` is the work pool it waits in, and `worker` the name of the worker that took it last, "" before any did.
    """

    id: str
    type: str
    state: str
    message: str
    state_id: str
    state_since: datetime
    deployment: str
    pool: str = ""
    worker: str = ""

    @property
    def is_executing(self) -> bool:
        """Whether a worker has it or will take it."""
        return self.type in ("SCHEDULED", "PENDING", "RUNNING")

    @property
    def is_stranded(self) -> bool:
        """Whether it waits in no work pool, its own having been deleted: no worker can take it."""
        return not self.pool and self.type in ("SCHEDULED", "PAUSED")


class Prefect:
    """One Prefect server by the address of its API, such as `http://127.0.0.1:4200/api`; `lock` opens it, else what the environment names.

    Every request is safe to repeat. A 5xx is normal (SQLite locked) and a new connection is opened after it. Raises
    PrefectUnavailable when a request keeps failing, PrefectRefused on 4xx; what does not exist is None.
    """

    def __init__(self, api_url: str, pause_s: float = 0.025, lock: str = "") -> None:
        self.api_url = api_url.rstrip("/")
        self._lock = lock or chosen_lock()
        self._pause_s, self._ahead = pause_s, timedelta()
        self._http = self._connect()

    def _connect(self) -> httpx.Client:
        key = os.environ.get("PREFECT_API_KEY")
        bearer = f"Bearer {key}" if key else ""
        allowed = authorization(self._lock) if self._lock else bearer  # as Prefect's own client prefers
        return httpx.Client(
            base_url=f"{self.api_url}/",
            headers={"Authorization": allowed} if allowed else None,
            timeout=httpx.Timeout(30, connect=3),
            trust_env=not is_on_this_machine(self.api_url),  # another machine as Prefect's own client calls it: as the environment says
        )

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, content: Any = None) -> Any:
        """The answer's JSON, {} when it is empty; None for what is not there (404)."""
        said = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self._pause_s * 2**attempt)
                self._http.close()
                self._http = self._connect()
            try:
                response = self._http.request(method, path, json=content)
            except httpx.TransportError as error:
                said = f"{type(error).__name__} {error}".strip()
                continue
            if response.status_code < 500:
                self._ahead = ahead if (ahead := _ahead(response)) is not None else self._ahead
                return self._read(response)
            said = f"{response.status_code} {response.text[:200]}"
            log.debug("%s %s: %s", method, path, said)
        proxy = told_of_proxy(self.api_url)
        raise PrefectUnavailable(
            f"Prefect at {without_password(self.api_url)} does not answer ({said}). Checkpoints and alerts go on without it.{proxy}"
        )

    def _read(self, response: httpx.Response) -> Any:
        if response.status_code == 404:
            return None
        if response.is_success:
            return response.json() if response.content else {}
        asked = f"{response.request.method} {response.request.url.path}"
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise PrefectRefused(
                f"Prefect at {self.api_url} asks for a password that it was not given. Set {VARIABLE} to the one its server was started "
                f"with (PREFECT_SERVER_API_AUTH_STRING); for the server of an `insitu up`, `insitu prefect password` prints it there.",
                response.status_code,
            )
        raise PrefectRefused(f"Prefect refused {asked}: {response.status_code} {response.text[:500]}", response.status_code)

    # ------------------------------------------------------------------ flow runs

    def runs(self, ids: Sequence[str]) -> dict[str, Run]:
        """The runs that exist, by id."""
        found: dict[str, Run] = {}
        for start in range(0, len(ids), PAGE):
            wanted = {"id": {"any_": list(ids[start : start + PAGE])}}
            rows = self.request("POST", "flow_runs/filter", {"flow_runs": wanted, "limit": PAGE})
            found |= {row["id"]: _run(row) for row in rows}
        return found

    def create_run(self, deployment: str, wanted: Mapping[str, Any]) -> Run:
        """The run of a deployment with `wanted["idempotency_key"]`, created if it is not there."""
        row = self.request("POST", f"deployments/{deployment}/create_flow_run", {"enforce_parameter_schema": False, **wanted})
        if row is None:
            raise PrefectUnavailable(f"Prefect has no deployment {deployment} any more; it will be registered again.")
        return _run(row)

    def set_state(self, run: str, state: Mapping[str, Any], *, force: bool = False) -> bool:
        """Propose a state; whether it was accepted. False too when the run is gone."""
        answer = self.request("POST", f"flow_runs/{run}/set_state", {"state": dict(state), "force": force})
        return answer is not None and answer["status"] == "ACCEPT"

    def offer(self, run: str, inputs: Mapping[str, str]) -> None:
        """Put inputs beside a run, such as the form of its Resume dialog; what is there already stays."""
        for key, value in inputs.items():
            try:
                self.request("POST", f"flow_runs/{run}/input", {"key": key, "value": value})
            except PrefectRefused as refused:
                if refused.status != httpx.codes.CONFLICT:
                    raise

    def update_run(self, run: str, **changes: Any) -> None:
        self.request("PATCH", f"flow_runs/{run}", changes)

    # ------------------------------------------------------------------ gates and artifacts

    def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Send events; the server records task runs from theirs a moment later. An id sent before is not recorded twice."""
        for start in range(0, len(events), PAGE):
            self.request("POST", "events", list(events[start : start + PAGE]))

    def task_runs(self, runs: Sequence[str], task_key: str) -> dict[str, set[tuple[str, str, str]]]:
        """By run: the (dynamic key, state type, state name) of its task runs with this task key."""
        found: dict[str, set[tuple[str, str, str]]] = {run: set() for run in runs}
        for start in range(0, len(runs), PAGE):
            for row in self._task_run_rows(runs[start : start + PAGE]):
                if row["task_key"] == task_key:
                    found[row["flow_run_id"]].add((row["dynamic_key"], row["state_type"], row["state_name"]))
        return found

    def _task_run_rows(self, runs: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        for offset in count(0, PAGE):
            wanted = {"flow_runs": {"id": {"any_": list(runs)}}, "limit": PAGE, "offset": offset, "sort": "ID_DESC"}
            rows = self.request("POST", "task_runs/filter", wanted)
            yield from rows
            if len(rows) < PAGE:
                return

    def save_artifact(self, known: str, wanted: Mapping[str, Any]) -> str:
        """Update the artifact `known`, or create it when it is "" or gone; returns its id."""
        changes = {name: wanted[name] for name in ("data", "description")}
        if known and self.request("PATCH", f"artifacts/{known}", changes) is not None:
            return known
        return str(self.request("POST", "artifacts/", dict(wanted))["id"])

    # ------------------------------------------------------------------ the server

    def is_up(self) -> bool:
        """Whether the server answers now, without waiting for it."""
        try:
            return self._http.get("health", timeout=LOOK_S).is_success
        except httpx.TransportError:
            return False

    def workers_online(self, pool: str) -> set[str] | None:
        """The names of the pool's workers that live; None when there is no such pool.

        By their heartbeats: the status that Prefect gives is looked at every 15 s only, and for a stock worker lags by two minutes.
        """
        rows = self.request("POST", f"work_pools/{pool}/workers/filter", {"limit": PAGE})  # the latest heartbeats first
        if rows is None:
            return None
        now, beats = self.now(), {row["name"]: (row["last_heartbeat_time"], row["heartbeat_interval_seconds"]) for row in rows}
        return {name for name, (last, every_s) in beats.items() if last and lives(datetime.fromisoformat(last), every_s, now)}

    def now(self) -> datetime:
        """The server's own time, aware UTC, as of its latest answers: what it dates states and heartbeats by."""
        return datetime.now(UTC) + self._ahead


def lives(last_heartbeat: datetime, every_s: float | None, now: datetime) -> bool:
    """Whether a worker that is heard of `every_s` seconds still lives: it may miss one heartbeat, and be late with the next."""
    return now - last_heartbeat <= timedelta(seconds=(every_s or HEARTBEAT_S) * 2.5)


def _ahead(response: httpx.Response) -> timedelta | None:
    """How far the server's clock is ahead of ours; None without a date. Less than two seconds is the date's own coarseness."""
    try:
        ahead = parsedate_to_datetime(response.headers.get("date", "")) - datetime.now(UTC)
    except (TypeError, ValueError):
        return None
    return ahead if abs(ahead) > timedelta(seconds=2) else timedelta()


def _run(row: Mapping[str, Any]) -> Run:
    state = row["state"] or {}
    return Run(
        id=row["id"],
        type=row["state_type"] or "",
        state=row["state_name"] or "",
        message=state.get("message") or "",
        state_id=row["state_id"] or "",
        state_since=datetime.fromisoformat(state.get("timestamp") or row["created"]),
        deployment=row["deployment_id"] or "",
        pool=row.get("work_pool_name") or "",
        worker=str((row.get("labels") or {}).get("prefect.worker.name") or ""),
    )
