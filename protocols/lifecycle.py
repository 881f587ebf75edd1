"""The life of a step, of a site's part and of an experiment: which fact may happen in which status, and the status it leads to.

The fold takes statuses from these tables and refuses a fact that does not fit; `docs/lifecycle.md` is written from them:
`python -m protocols.lifecycle > docs/lifecycle.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from protocols.facts import TELLING, FactKind
from protocols.state import ExperimentState, SiteState, StepStatus

Status = TypeVar("Status", bound=StrEnum)


class Change(NamedTuple, Generic[Status]):
    """In which statuses a fact may happen, and which may follow; `after` is empty when the status stays."""

    before: tuple[Status, ...]
    after: tuple[Status, ...] = ()


class ImpossibleFact(Exception):
    """A fact that does not fit the state: an error of ours or a broken journal, never a user's."""


_WAITING, _WORKING, _OPEN, _INCIDENT = StepStatus.WAITING, StepStatus.WORKING, StepStatus.OPEN, StepStatus.INCIDENT
_PASSED, _SKIPPED, _RETURNED, _STOPPED = StepStatus.PASSED, StepStatus.SKIPPED, StepStatus.RETURNED, StepStatus.STOPPED
_LIVE = (_WORKING, _OPEN, _INCIDENT)

STEP: Mapping[FactKind, Change[StepStatus]] = {
    FactKind.STEP_OPENED: Change((_WAITING,), (_OPEN, _WORKING)),
    FactKind.STEP_SKIPPED: Change((_WAITING,), (_SKIPPED,)),
    FactKind.ACTION_DONE: Change((_WORKING,)),
    FactKind.ACTION_FAILED: Change((_WORKING,), (_INCIDENT,)),
    FactKind.ACTION_RETRIED: Change((_INCIDENT,), (_WORKING,)),
    FactKind.CHECKPOINT_ASKED: Change((_WORKING,), (_OPEN,)),
    FactKind.CHECKPOINT_COMPLETED: Change((_OPEN,)),
    FactKind.ANSWERS_SIGNED: Change((_OPEN,)),
    FactKind.GATE_PASSED: Change((_OPEN,), (_PASSED,)),
    FactKind.GATE_RETURNED: Change((_OPEN,), (_RETURNED,)),
    FactKind.GATE_REOPENED: Change((_PASSED,)),
    FactKind.GATE_STOPPED: Change((_OPEN,), (_STOPPED,)),
    FactKind.STEP_RETURNED: Change(_LIVE, (_RETURNED,)),
    FactKind.STEP_STOPPED: Change(_LIVE, (_STOPPED,)),
    FactKind.ROUND_OPENED: Change((_PASSED, _SKIPPED, _RETURNED), (_WAITING,)),
    FactKind.DEADLINE_MOVED: Change(_LIVE),
    FactKind.DEADLINE_MISSED: Change(_LIVE),
    FactKind.REMINDER_DUE: Change(_LIVE),
    FactKind.ESCALATED: Change(_LIVE),
}

SITE: Mapping[FactKind, Change[SiteState]] = {
    FactKind.HELD: Change((SiteState.ACTIVE,), (SiteState.ON_HOLD,)),
    FactKind.RELEASED: Change((SiteState.ON_HOLD,), (SiteState.ACTIVE,)),
    FactKind.SITE_STOPPED: Change((SiteState.ACTIVE, SiteState.ON_HOLD), (SiteState.STOPPED,)),
}

EXPERIMENT: Mapping[FactKind, Change[ExperimentState]] = {
    FactKind.EXPERIMENT_LAUNCHED: Change((), (ExperimentState.RUNNING,)),
    FactKind.HELD: Change((ExperimentState.RUNNING,), (ExperimentState.ON_HOLD,)),
    FactKind.RELEASED: Change((ExperimentState.ON_HOLD,), (ExperimentState.RUNNING,)),
    FactKind.EXPERIMENT_STOPPED: Change((ExperimentState.RUNNING, ExperimentState.ON_HOLD), (ExperimentState.STOPPED,)),
    FactKind.EXPERIMENT_CLOSED: Change((ExperimentState.RUNNING,), (ExperimentState.CLOSED,)),
}


def next_status(changes: Mapping[FactKind, Change[Status]], kind: FactKind, status: Status, *, to: Status | None = None) -> Status:
    """The status after a fact; `to` chooses where several may follow. Raises ImpossibleFact when it does not fit."""
    change = changes.get(kind)
    if change is None or status not in change.before or (to and to not in change.after):
        raise ImpossibleFact(f"{kind} cannot happen to what is {status}{f' and lead to {to}' if to else ''}.")
    return to or (change.after[0] if change.after else status)


def document() -> str:
    """`docs/lifecycle.md`, in Markdown."""
    return "\n".join(
        [
            "# Life cycles",
            "",
            "<!-- Written by `python -m protocols.lifecycle`; a test compares. -->",
            "",
            "A status is never set: it is what the facts in the journal add up to. A fact that does not fit is refused.",
            "",
            "## A step, in one round",
            "",
            "*Passed* and *skipped* let the steps after it go on. A return ends the round of every step after its target and opens the",
            "next: the step waits again, with a new round number. *Stopped* is final.",
            "",
            *_section(STEP, StepStatus.WAITING),
            "## A site's part in an experiment",
            "",
            *_section(SITE, SiteState.ACTIVE),
            "## An experiment",
            "",
            "It closes by itself when every step is through at every site that has not stopped. Once it is stopped or closed nothing more",
            "happens in it; only facts that tell may still be written: "
            + ", ".join(f"`{kind}`" for kind in FactKind if kind in TELLING)
            + ".",
            "",
            *_section(EXPERIMENT, None),
        ]
    )


def _section(changes: Mapping[FactKind, Change[Status]], first: StrEnum | None) -> Iterator[str]:
    yield from ("| Fact | In status | Then |", "|---|---|---|")
    for kind, change in changes.items():
        yield f"| `{kind}` | {_listed(change.before) or 'not there yet'} | {_listed(change.after) or 'the same'} |"
    yield from ("", "```mermaid", "stateDiagram-v2")
    yield from [f"    [*] --> {first}"] if first else []
    for before, after, kinds in _arrows(changes):
        yield f"    {before} --> {after}: {', '.join(kinds)}"
    yield from ("```", "")


def _listed(statuses: Iterable[StrEnum]) -> str:
    return ", ".join(statuses)


def _arrows(changes: Mapping[FactKind, Change[Status]]) -> Iterator[tuple[str, str, list[str]]]:
    """Each pair of statuses with the facts that lead from the one to the other; those that change nothing are left to the table."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind, change in changes.items():
        for before in change.before or ("[*]",):
            for after in change.after:
                found.setdefault((str(before), str(after)), []).append(str(kind))
    return ((before, after, kinds) for (before, after), kinds in found.items())


if __name__ == "__main__":
    sys.stdout.write(document())
