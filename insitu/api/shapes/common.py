"""What the shapes of every noun share."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


class Body(BaseModel):
    """What a request may hold: keys nobody reads are refused, and a value of another kind is not bent into shape."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Shown(BaseModel):
    """What an answer holds at least. More keys may come with a later version."""

    model_config = ConfigDict(extra="allow")


def _day(value: Any) -> Any:
    if isinstance(value, str) and len(value) == len("2026-01-31"):
        return date.fromisoformat(value)
    if type(value) is date:
        return value
    raise ValueError("a date is written 2026-01-31")


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Moment = AwareDatetime

Name = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"\S")]
Answers = Annotated[dict[str, Any], Field(description="The answers by the ids of the form's fields.")]


class Complaint(Shown):
    """One thing that is wrong: where in what was sent, and a sentence. In a protocol, `line` counts from 1."""

    path: str
    message: str
    line: int | None = None


class Problem(Shown):
    """Why a request was refused (RFC 9457). `type` names the kind of problem for programs; `title` and `detail` are for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:insitu:problem:InvalidAnswers",
                    "title": "Some answers cannot be accepted",
                    "status": 422,
                    "detail": "Checkpoint 'TELEREHAB-HIP-1:ethics::1' refuses these answers. opinion: an answer is required.",
                    "errors": [{"path": "opinion", "message": "an answer is required"}],
                }
            ]
        }
    )

    type: str = Field(description="`urn:insitu:problem:` and the kind, which never changes.")
    title: str = Field(description="What happened, in a few words, in the caller's language.")
    status: int = Field(description="The HTTP status, again.")
    detail: str = Field(description="What happened, to which thing, and what to do next.")
    errors: list[Complaint] = Field(description="What is wrong, part by part; empty where the whole is refused.")


class Reason(Body):
    """A reason, kept in the journal."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The scanner is out of order until Thursday."}]})

    reason: Text


class Proof(Body):
    """Who signs proves anew who they are: with their password, and the code of their second factor where they have one."""

    password: str = Field(default="", max_length=1024, description="The signer's own password.")
    code: str = Field(default="", max_length=64, description="The present code of their authenticator, or a recovery code.")


class Numbered(Shown):
    """The number that something was recorded under."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 12}]})

    id: int
