"""What to do about a run: the picture says what it should show, Prefect what it shows. Pure."""

from __future__ import annotations

from enum import StrEnum

from flows.client import Run
from flows.picture import Picture, Rest


class Call(StrEnum):
    """The one thing to ask of Prefect next about a run."""

    LEAVE = "leave"  # it shows what it should
    WATCH = "watch"  # a worker has it; look again soon
    CREATE = "create"  # there is no run
    SHOW = "show"  # set its state
    WAKE = "wake"  # schedule it, so that a worker does what is owed


class External(StrEnum):
    """What someone did in Prefect's own pages; none of it moves an experiment."""

    DELETED = "deleted"
    CANCELLED = "cancelled"
    SUSPENDED = "suspended"
    FAILED = "failed"
    CHANGED = "changed"


def next_call(wanted: Picture, run: Run | None) -> Call:
    """What to ask of Prefect so that the run comes to show the picture.

    A run that a worker has is never overwritten: it asks the ledger itself and rests under the right name; it is looked at again.
    """
    if run is None:
        return Call.CREATE
    if run.is_executing:
        return Call.WATCH
    if wanted.rest is Rest.WORKS:
        return Call.WAKE
    shown = (run.type, run.state, run.message)
    return Call.LEAVE if shown == (wanted.type, wanted.state, wanted.message) else Call.SHOW


def done_by_hand(wanted: Picture, run: Run | None, sent: tuple[str, str] | None) -> External | None:
    """What was done to the run outside the ledger, if anything; `sent` is the (type, name) last sent, None for a run never sent.

    A run that is executing or resting says nothing: `flows.rest` reports an early resume, and a name alone is drift, not an act.
    """
    if sent is None:
        return None
    if run is None:
        return External.DELETED
    if run.is_executing or (run.type, run.state) in (sent, (wanted.type, wanted.state)):
        return None
    if run.type == "PAUSED":
        return External.SUSPENDED if run.state in ("Suspended", "Paused") else None
    known = {"CANCELLED": External.CANCELLED, "CANCELLING": External.CANCELLED, "FAILED": External.FAILED, "CRASHED": External.FAILED}
    return known.get(run.type, External.CHANGED)
