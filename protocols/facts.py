"""Facts: what has happened, in the past tense. The journal is made of them, and the state is nothing but their sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class FactKind(StrEnum):
    """Every kind of fact, with one meaning each."""

    EXPERIMENT_LAUNCHED = "ExperimentLaunched"  # a person started a run of a protocol at some sites
    STEP_OPENED = "StepOpened"  # its predecessors are through: its question is asked, its clock starts
    ACTION_DONE = "ActionDone"  # the machine finished one of the step's run actions
    ACTION_FAILED = "ActionFailed"  # an action failed for good: the step waits as an incident
    ACTION_RETRIED = "ActionRetried"  # a person asked for the failed action again
    CHECKPOINT_ASKED = "CheckpointAsked"  # the machine is done: people may answer
    CHECKPOINT_COMPLETED = "CheckpointCompleted"  # a person answered; earlier signatures are void
    ANSWERS_SIGNED = "AnswersSigned"  # a person signed the answers as they stood
    GATE_PASSED = "GatePassed"  # the answer to "may we go on?" is yes
    GATE_RETURNED = "GateReturned"  # the answer is "not yet, from an earlier step again"
    GATE_REOPENED = "GateReopened"  # a person took back a passed gate, to change its answers: its signatures are void
    GATE_STOPPED = "GateStopped"  # the answer is no, for this site or for the experiment
    STEP_SKIPPED = "StepSkipped"  # its `when` does not hold
    ROUND_OPENED = "RoundOpened"  # a return gave this step a new round
    STEP_RETURNED = "StepReturned"  # an open step's round ended because an earlier step starts again
    STEP_STOPPED = "StepStopped"  # an open step ended with its site or experiment
    SITE_STOPPED = "SiteStopped"  # this site's part has ended early
    EXPERIMENT_STOPPED = "ExperimentStopped"  # the experiment has ended early
    EXPERIMENT_CLOSED = "ExperimentClosed"  # every step is through
    HELD = "Held"  # clocks stand still, nothing may be completed
    RELEASED = "Released"  # clocks run again
    DEADLINE_MOVED = "DeadlineMoved"  # a hold or a release changed when a step is due
    DEADLINE_MISSED = "DeadlineMissed"  # a step is overdue
    REMINDER_DUE = "ReminderDue"  # a reminder's time has come
    ESCALATED = "Escalated"  # a superior is told that a step is overdue
    CHECKPOINT_DECLINED = "CheckpointDeclined"  # a person said that they will not answer, and why
    QUESTION_ASKED = "QuestionAsked"  # a person asked the project manager about a checkpoint
    QUESTION_ANSWERED = "QuestionAnswered"  # a project manager answered them
    GLASS_BROKEN = "GlassBroken"  # a person looked in an emergency at what is not theirs, and why
    INCIDENT_REPORTED = "IncidentReported"  # something outside the protocol needs a person's eye


# Facts that only tell: they change no state, and may be written after the end.
TELLING = frozenset(
    {
        FactKind.CHECKPOINT_DECLINED,
        FactKind.QUESTION_ASKED,
        FactKind.QUESTION_ANSWERED,
        FactKind.GLASS_BROKEN,
        FactKind.INCIDENT_REPORTED,
    }
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened. `site` is "" for the experiment itself, `by` is "" when the machine did it.

    `at` is aware UTC. `data` holds JSON values only: what replaying needs, and why it happened.
    """

    kind: FactKind
    at: datetime
    by: str = ""
    role: str = ""
    step: str = ""
    site: str = ""
    round: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
