"""Experiments as the API shows them, and what starts, pauses and ends them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from insitu.api.shapes.common import Body, Moment, Name, Shown, Text

State = Literal["running", "on_hold", "stopped", "closed"]
Status = Literal["waiting", "open", "working", "incident", "passed", "skipped", "returned", "stopped"]
Phase = Literal["preparation", "before", "during", "after", "closure"]
SiteState = Literal["active", "on_hold", "stopped"]

NEED: dict[str, JsonValue] = {"what": "Answers awaited", "role": "methodologist", "since": "2026-03-02T09:00:00Z"}
GATE: dict[str, JsonValue] = {
    "step": "protocol_review",
    "title": "Protocol review",
    "phase": "preparation",
    "site": None,
    "round": 1,
    "status": "open",
    "opened_at": "2026-03-02T09:00:00Z",
    "due_at": "2026-03-12T22:59:59Z",
    "due_on": "2026-03-12",
    "late": False,
    "waiting_for": [NEED],
    "vacant": [],
}
HEAD: dict[str, JsonValue] = {
    "code": "TELEREHAB-HIP-1",
    "title": "Home rehabilitation after a hip replacement",
    "protocol": "telerehab-hip",
    "version": "1.0.0",
    "state": "running",
    "launched_at": "2026-03-02T09:00:00Z",
}


class Launch(Body):
    """What starts an experiment. The first site's territory and time zone are the experiment's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "protocol": "telerehab-hip",
                    "sites": ["CAEN", "METZ"],
                    "launch": {"planned_start": "2026-05-01", "target_participants": 120},
                }
            ]
        }
    )

    protocol: Name = Field(description="The protocol's id.")
    version: Name | None = Field(default=None, description="Its version; the latest without one.")
    title: str | None = Field(default=None, max_length=200, description="What this experiment is called; its protocol's title without one.")
    sites: list[Name] = Field(min_length=1, max_length=1000, description="The codes of the sites that take part.")
    launch: dict[str, Any] = Field(default={}, description="The launch form's answers, by the ids of its fields.")


class Launched(Shown):
    """An experiment just launched."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "TELEREHAB-HIP-1", "protocol": "telerehab-hip", "version": "1.0.0", "state": "running"}]}
    )

    code: str
    protocol: str
    version: str
    state: State


class Managed(Body):
    """What is done to an experiment or to one site's part in it, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"site": "METZ", "reason": "The ward is closed for works until June."}]})

    site: Name | None = Field(default=None, description="This site's part only; the whole experiment without one.")
    reason: Text = Field(description="Kept in the journal.")


class Standing(Shown):
    """An experiment's state after a command."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "TELEREHAB-HIP-1", "state": "on_hold"}]})

    code: str
    state: State


class Need(Shown):
    """One thing a closed gate waits for, of whom, and since when."""

    what: str
    role: str = Field(description="Empty where it is nobody's to do.")
    since: Moment | None


class Gate(Shown):
    """One step of the experiment, or of one site, in its latest round."""

    step: str
    title: str
    phase: Phase
    site: str | None = Field(description="None for a step of the experiment itself.")
    round: int
    status: Status
    opened_at: Moment | None
    due_at: Moment | None = Field(description="The last instant at which it is not late.")
    due_on: str | None = Field(description="The day people read where it stands.")
    late: bool
    waiting_for: list[Need]


class BoardGate(Gate):
    """A gate on the board."""

    model_config = ConfigDict(json_schema_extra={"examples": [GATE]})

    vacant: list[str] = Field(description="The roles it waits for that nobody holds there today.")


class TakesPart(Shown):
    """A site's part in an experiment."""

    code: str
    name: str
    state: SiteState


class Incident(Shown):
    """Something that needs a project manager's eye."""

    kind: str
    message: str
    step: str
    site: str
    at: Moment | None


class Board(Shown):
    """An experiment with its gates, in the protocol's order, as far as the reader sees them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                HEAD
                | {
                    "phase": "preparation",
                    "progress": 0.0,
                    "sites": [{"code": "CAEN", "name": "CHU Caen Normandie", "state": "active"}],
                    "gates": [GATE],
                    "incidents": [],
                }
            ]
        }
    )

    code: str
    title: str
    protocol: str
    version: str
    state: State
    launched_at: Moment | None
    phase: Phase
    progress: float = Field(description="Which part of the gates shown is through, 0 to 1.")
    sites: list[TakesPart]
    gates: list[BoardGate]
    incidents: list[Incident]


class Stuck(Shown):
    """A gate that keeps an experiment waiting, and on whom."""

    role: str
    step: str
    site: str | None
    since: Moment | None


class Summary(Shown):
    """An experiment as a list shows it; everything is counted over what the reader sees."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                HEAD
                | {
                    "phase": "preparation",
                    "progress": 0.0,
                    "active": 2,
                    "stopped": 0,
                    "open": 1,
                    "late": 0,
                    "stuck_since": None,
                    "stuck_on": [],
                    "next_due_at": "2026-03-12T22:59:59Z",
                    "next_due_on": "2026-03-12",
                }
            ]
        }
    )

    code: str
    title: str
    protocol: str
    version: str
    state: State
    phase: Phase
    progress: float
    active: int = Field(description="How many sites go on.")
    stopped: int = Field(description="How many sites have left.")
    open: int = Field(description="How many steps are live.")
    late: int = Field(description="How many of them are late.")
    stuck_since: Moment | None
    stuck_on: list[Stuck]
    next_due_at: Moment | None
    next_due_on: str | None


class Fact(Shown):
    """One thing that happened. To a reader of some sites, facts are numbered among those they see."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seq": 2,
                    "kind": "StepOpened",
                    "at": "2026-03-02T09:00:00Z",
                    "by": "",
                    "role": "",
                    "step": "protocol_review",
                    "site": "",
                    "round": 1,
                    "data": {"due_at": "2026-03-12T22:59:59+00:00"},
                    "hash": "0f343b0931126a20f133d67c2b018a3b4b1ee7a1d3c8b8b2b2a0a5c6e0a6a3f1",
                }
            ]
        }
    )

    seq: int
    kind: str
    at: Moment
    by: str = Field(description="The person; empty for the machine, and for a reader who sees no names.")
    role: str
    step: str
    site: str
    round: int
    data: dict[str, Any]
    hash: str = Field(description="SHA-256 over the fact and the hash of the one before.")


class Deadline(Shown):
    """A deadline of live steps; those of several sites that end together are one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "experiment": "TELEREHAB-HIP-1",
                    "title": "Home rehabilitation after a hip replacement",
                    "step": "protocol_review",
                    "step_title": "Protocol review",
                    "role": "methodologist",
                    "site": "",
                    "sites": 0,
                    "due_at": "2026-03-12T22:59:59Z",
                    "due_on": "2026-03-12",
                }
            ]
        }
    )

    experiment: str
    title: str
    step: str
    step_title: str
    role: str = Field(description="Whom it waits for; empty for the machine.")
    site: str = Field(description="Empty for several sites, and for the experiment's own.")
    sites: int = Field(description="How many sites; 0 for the experiment's own.")
    due_at: Moment
    due_on: str = Field(description="The day people read where it stands.")
