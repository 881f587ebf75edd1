"""What is sent to Prefect, as its REST API takes it: states, a gate's event, artifacts, and the words about what was done by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from flows.client import Run
from flows.drift import External
from flows.picture import Asked, Gate, Picture, experiment_url

WOKEN = "Waking"  # a wake-up of ours; Prefect's Resume button gives another name (`flows.rest`)
RESCUED = "Rescued"
GATE_KEY = "insitu.gate"


def state(wanted: Picture) -> dict[str, Any]:
    """The state a run at rest or at its end should take; each pause has a fresh key, as Prefect wants."""
    details: dict[str, Any] = {"pause_reschedule": True, "pause_key": uuid4().hex} if wanted.type == "PAUSED" else {}
    details |= {"run_input_keyset": keyset(wanted.asked)} if wanted.asked else {}
    return {"type": wanted.type, "name": wanted.state, "message": wanted.message, "state_details": details}


def keyset(asked: Asked) -> dict[str, str]:
    """The names of a form's parts among a run's inputs: the same for the same checkpoint and form, in the letters Prefect allows."""
    base = f"insitu-{uuid5(UUID(int=0), asked.checkpoint + json.dumps(asked.schema, sort_keys=True)).hex}"
    return {part: f"{base}-{part}" for part in ("schema", "response", "description")}


def form(asked: Asked) -> dict[str, str]:
    """The inputs that make the Resume dialog show a checkpoint's fields, by key."""
    keys = keyset(asked)
    return {keys["schema"]: json.dumps(asked.schema, ensure_ascii=False), keys["description"]: asked.said}


def waking(wanted: Picture) -> dict[str, Any]:
    """The state that makes a worker take the run."""
    return {"type": "SCHEDULED", "name": WOKEN, "message": wanted.state}


def rescued() -> dict[str, Any]:
    """The state of a run whose worker is gone, for another to take it."""
    return {"type": "SCHEDULED", "name": RESCUED, "message": "Its worker is gone."}


def replaced() -> dict[str, Any]:
    """The state of a run that can no longer be woken; another takes its place."""
    return {"type": "CANCELLED", "name": "Replaced", "message": "Its work pool was deleted in Prefect; a new run takes its place."}


def told(external: External, code: str, wanted: Picture, run: Run | None) -> str:
    """What a project manager is told of it, and how to get what was wanted."""
    track = f"{code} at {wanted.site}" if wanted.site else code
    done = {
        External.DELETED: f"The run of {track} was deleted in Prefect; insitu made a new one.",
        External.CANCELLED: f"The run of {track} was cancelled in Prefect; insitu goes on with it. To end it, use `insitu stop {code}`.",
        External.SUSPENDED: f"The run of {track} was suspended in Prefect; insitu goes on with it. To pause it, use `insitu hold {code}`.",
        External.FAILED: f"The run of {track} failed in Prefect ({run.message if run else ''}); insitu starts it again.",
        External.CHANGED: f"The state of {track} was changed in Prefect to {run.state if run else ''}; insitu put it right.",
    }
    return done[external]


def gate_event(run: str, key: str, gate: Gate, start: datetime, end: datetime | None, *, since: datetime | None = None) -> dict[str, Any]:
    """The event that records a gate's task run in its present state; the same content has the same id."""
    task_run, at = uuid5(UUID(run), key), end or max(since or start, start)
    type_, name = (gate.type, gate.name) if end or not gate.end else ("RUNNING", gate.name)
    shown = {
        "name": gate.title,
        "task_key": GATE_KEY,
        "dynamic_key": key,
        "run_count": 1,
        "expected_start_time": start.isoformat(),
        "start_time": start.isoformat(),
    }
    if end:
        shown |= {"end_time": end.isoformat(), "total_run_time": (end - start).total_seconds()}
    return {
        "id": str(uuid5(task_run, f"{type_} {name} {at.isoformat()}")),
        "occurred": at.isoformat(),
        "event": f"prefect.task-run.{name}",
        "resource": {
            "prefect.resource.id": f"prefect.task-run.{task_run}",
            "prefect.resource.name": gate.title,
            "prefect.state-type": type_,
            "prefect.state-name": name,
            "prefect.orchestration": "client",
        },
        "related": [{"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}],
        "payload": {
            "intended": {"from": None, "to": type_},
            "initial_state": None,
            "validated_state": {"type": type_, "name": name, "message": gate.message, "state_details": {}, "data": None},
            "task_run": shown,
        },
    }


def artifact(code: str, run: str, kind: str, one: Mapping[str, Any], public_url: str) -> dict[str, Any]:
    """An artifact of the experiment's run; its key is the code and the kind, in the letters Prefect allows."""
    key = re.sub(r"[^a-z0-9]+", "-", f"{code}-{kind}".lower()).strip("-")
    data = json.dumps(one["data"], ensure_ascii=False) if one["type"] == "table" else one["data"]
    description = f"[{code}]({experiment_url(public_url, code)})"
    return {"key": key, "type": one["type"], "data": data, "description": description, "flow_run_id": run}


def digest(one: Mapping[str, Any]) -> str:
    """The same for the same content."""
    return str(uuid5(UUID(int=0), json.dumps(one, sort_keys=True, ensure_ascii=False)))
