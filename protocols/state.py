"""The present state of an experiment.

A state may be *whole* or a *slice*: the ledger loads just the steps a command can touch, so that the cost of a command does not
grow with the experiment's history or sites. A decision that needs more raises `SliceTooSmall`, and is taken again on the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from protocols.clocks import Place, Suspension


class StepStatus(StrEnum):
    """Where a step stands in its current round."""

    WAITING = "waiting"  # its predecessors are not through
    WORKING = "working"  # the machine does its run actions
    OPEN = "open"  # people may answer, or its gate waits for something
    INCIDENT = "incident"  # an action failed for good
    PASSED = "passed"  # its gate opened
    SKIPPED = "skipped"  # its `when` did not hold
    RETURNED = "returned"  # its round ended because an earlier step starts again
    STOPPED = "stopped"  # it ended with its site or experiment

    @property
    def is_through(self) -> bool:
        """Whether successors may go on."""
        return self in (StepStatus.PASSED, StepStatus.SKIPPED)

    @property
    def is_live(self) -> bool:
        """Whether someone or something is working on it."""
        return self in (StepStatus.WORKING, StepStatus.OPEN, StepStatus.INCIDENT)


class ExperimentState(StrEnum):
    """Where an experiment stands as a whole."""

    RUNNING = "running"
    ON_HOLD = "on_hold"
    STOPPED = "stopped"
    CLOSED = "closed"

    @property
    def has_ended(self) -> bool:
        return self in (ExperimentState.STOPPED, ExperimentState.CLOSED)


class SiteState(StrEnum):
    """Where a site's part stands."""

    ACTIVE = "active"
    ON_HOLD = "on_hold"
    STOPPED = "stopped"


class StepKey(NamedTuple):
    """A step of an experiment; `site` is "" for an experiment step."""

    step: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature: who, in which role, when, the meaning as shown, and the SHA-256 of the answers signed."""

    by: str
    role: str
    at: datetime
    meaning: str
    answers_hash: str


@dataclass(frozen=True, slots=True)
class StepState:
    """A step in its current round.

    `since` says from when it waits for what it waits for now; `leads_to` where the present answers lead (`pass`, `return`, `stop`,
    or "" when the gate stays closed on them).
    """

    key: StepKey
    round: int = 1
    status: StepStatus = StepStatus.WAITING
    opened_at: datetime | None = None
    since: datetime | None = None
    due_at: datetime | None = None
    overdue: bool = False
    actions_done: int = 0
    results: tuple[Mapping[str, Any], ...] = ()
    leads_to: str = ""
    answers: Mapping[str, Any] | None = None
    completed_by: str = ""
    completed_at: datetime | None = None
    signatures: tuple[Signed, ...] = ()
    why: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class SiteInfo:
    """A site as the experiment knows it. `held_at` is set while it is on hold."""

    code: str
    name: str
    kind: str
    place: Place
    state: SiteState = SiteState.ACTIVE
    held_at: datetime | None = None
    suspensions: tuple[Suspension, ...] = ()


@dataclass(slots=True)
class State:
    """An experiment's state, whole or a slice. Deciding copies it; only `protocols.fold` changes it.

    `through` counts, for each site step, the active sites where it is passed or skipped; `active` and `stopped` count sites;
    `pending` counts the step instances not yet through: at zero the experiment closes. A slice knows the steps named in
    `known_steps` (None: all) at the sites it holds.
    """

    status: ExperimentState = ExperimentState.RUNNING
    launch: Mapping[str, Any] = field(default_factory=dict)
    place: Place = field(default_factory=Place)
    sites: dict[str, SiteInfo] = field(default_factory=dict)
    steps: dict[StepKey, StepState] = field(default_factory=dict)
    through: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    active: int = 0
    stopped: int = 0
    held_at: datetime | None = None
    suspensions: tuple[Suspension, ...] = ()
    known_steps: frozenset[str] | None = None
    all_sites: bool = True

    def copy(self) -> State:
        return replace(self, sites=dict(self.sites), steps=dict(self.steps), through=dict(self.through))

    def step(self, key: StepKey) -> StepState:
        """The step's state, `waiting` in round 1 when nothing has happened to it yet.

        Raises SliceTooSmall when this slice does not hold it.
        """
        if found := self.steps.get(key):
            return found
        if self.known_steps is not None and key.step not in self.known_steps:
            raise SliceTooSmall(key.step)
        if key.site and key.site not in self.sites:
            raise SliceTooSmall(key.site)
        return StepState(key)

    def every_site(self) -> dict[str, SiteInfo]:
        """All sites of the experiment. Raises SliceTooSmall when this slice holds only some."""
        if not self.all_sites:
            raise SliceTooSmall("sites")
        return self.sites

    def active_sites(self) -> list[str]:
        """The codes of the sites that still take part, on hold or not."""
        return [site.code for site in self.every_site().values() if site.state is not SiteState.STOPPED]

    def through_count(self, step: str) -> int:
        """At how many active sites a site step is through."""
        if step not in self.through and self.known_steps is not None and step not in self.known_steps:
            raise SliceTooSmall(step)
        return self.through.get(step, 0)

    def site_is_stopped(self, site: str) -> bool:
        return bool(site) and self.sites[site].state is SiteState.STOPPED

    def is_held(self, site: str) -> bool:
        """Whether clocks stand still for a step at this site ("" for the experiment's own)."""
        return self.status is ExperimentState.ON_HOLD or (bool(site) and self.sites[site].state is SiteState.ON_HOLD)

    def held_since(self, site: str) -> datetime | None:
        """Since when clocks stand still for a step at this site; None when they run."""
        since = [self.held_at if self.status is ExperimentState.ON_HOLD else None]
        since += [self.sites[site].held_at if site and self.sites[site].state is SiteState.ON_HOLD else None]
        return min((moment for moment in since if moment), default=None)


class SliceTooSmall(Exception):
    """A decision needs steps or sites that this slice does not hold; decide again on the whole state."""
