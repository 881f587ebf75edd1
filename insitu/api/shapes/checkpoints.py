"""Checkpoints as the API shows them, and what people do to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from insitu.api.shapes.common import Answers, Body, Moment, Proof, Shown, Text
from insitu.api.shapes.experiments import NEED, Gate, Need, Status

ID = "TELEREHAB-HIP-1:protocol_review::1"
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Item(Shown):
    """A checkpoint that waits for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID,
                    "experiment": "TELEREHAB-HIP-1",
                    "experiment_title": "Home rehabilitation after a hip replacement",
                    "step": "protocol_review",
                    "title": "Protocol review",
                    "site": None,
                    "round": 1,
                    "role": "methodologist",
                    "due_at": "2026-03-12T22:59:59Z",
                    "due_on": "2026-03-12",
                    "late": False,
                    "needs": "answers",
                    "blocked": False,
                }
            ]
        }
    )

    id: str
    experiment: str
    experiment_title: str
    step: str
    title: str
    site: str | None
    round: int
    role: str
    due_at: Moment | None
    due_on: str | None
    late: bool
    needs: Literal["answers", "signature", "incident"] = Field(description="What it waits for; an incident waits for a project manager.")
    blocked: bool = Field(description="The experiment or the site is on hold.")


class Signature(Shown):
    """Who signed, in which role, when, and what it means."""

    by: str
    role: str
    at: Moment | None
    meaning: str


class NextSignature(Shown):
    """The signature that is asked for next."""

    role: str
    meaning: str


class Draft(Shown):
    """What was typed and not accepted."""

    answers: dict[str, Any]
    origin: str = Field(description="`person`, or `prefect` for what was filled in on Prefect's pages.")
    saved_at: Moment | None


class Round(Shown):
    """An earlier round, kept readable."""

    round: int
    status: str
    answers: dict[str, Any] | None
    completed_by: str
    completed_at: Moment | None
    signatures: list[Signature]


class Checkpoint(Gate):
    """A checkpoint in full: its form, its answers, its signatures, its earlier rounds, and this person's draft."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID,
                    "experiment": "TELEREHAB-HIP-1",
                    "step": "protocol_review",
                    "title": "Protocol review",
                    "phase": "preparation",
                    "site": None,
                    "round": 1,
                    "status": "open",
                    "opened_at": "2026-03-02T09:00:00Z",
                    "due_at": None,
                    "due_on": None,
                    "late": False,
                    "waiting_for": [NEED],
                    "help": "Read the synopsis.",
                    "role": "methodologist",
                    "form": [{"id": "synopsis_version", "type": "text", "label": "Version of the synopsis", "required": True}],
                    "answers": None,
                    "completed_by": "",
                    "completed_at": None,
                    "signatures": [],
                    "next_signature": None,
                    "earlier_rounds": [],
                    "draft": None,
                }
            ]
        }
    )

    id: str
    experiment: str
    help: str
    role: str
    form: list[dict[str, Any]] = Field(description="The fields, as the protocol describes them, in the reader's language.")
    answers: dict[str, Any] | None
    completed_by: str
    completed_at: Moment | None
    signatures: list[Signature]
    next_signature: NextSignature | None
    earlier_rounds: list[Round]
    draft: Draft | None


class Completion(Body):
    """Answers to a checkpoint's form."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"answers": {"synopsis_version": "1.2", "sample_size_justified": True}}]})

    answers: Answers
    change: bool = Field(default=False, description="Replace answers that wait for signatures; these become void.")


class DraftAnswers(Body):
    """What to keep as this person's draft. It need not be complete or right."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"answers": {"synopsis_version": "1.2"}}]})

    answers: Answers


class Saved(Shown):
    """When the draft was kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"saved_at": "2026-03-02T09:12:00Z"}]})

    saved_at: Moment


class Signing(Proof):
    """A signature, with the proof of who signs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"shown": HASH, "password": "the words that only I know", "code": "123456"}]})

    meaning: Text | None = Field(
        default=None,
        description="The `meaning` of the checkpoint's `next_signature`, in any of its languages; any other text is refused (422). It need "
        "not be sent: the protocol's words in the signer's language are kept.",
    )
    shown: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="The `answers_hash` of the checkpoint as the signer saw it: answers changed since are not signed (409).",
    )


class Outcome(Shown):
    """What a command did: the checkpoint's status, `gate` if its gate moved, and what it still waits for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID,
                    "experiment": "TELEREHAB-HIP-1",
                    "step": "protocol_review",
                    "site": None,
                    "round": 1,
                    "status": "passed",
                    "gate": "passed",
                    "waiting_for": [],
                }
            ]
        }
    )

    id: str
    experiment: str
    step: str
    site: str | None
    round: int
    status: Status
    gate: Literal["passed", "returned", "stopped"] | None = None
    waiting_for: list[Need]


class Remarked(Shown):
    """A remark that was noted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": ID, "remark": 4}]})

    id: str = Field(description="The checkpoint's.")
    remark: int = Field(description="The remark's own number.")


class Question(Body):
    """A question to the project manager, or the answer to one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Which version of the leaflet counts?"}]})

    text: Text
