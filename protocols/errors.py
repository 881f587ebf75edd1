"""The errors a user can meet, each saying what happened, to which thing, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from protocols.phrase import Phrase


class InsituError(Exception):
    """Something insitu refuses or cannot do; its message is fit for a user's eyes."""

    exit_status = 1


class InvalidInput(InsituError):
    """What was given cannot be used: a file, an option or an answer."""

    exit_status = 2


class Refused(InsituError):
    """A rule forbids it: the gate is closed, the person is not assigned, someone was first."""

    exit_status = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a document: where, a stable code, and a sentence.

    `line` counts from 1; 0 means the whole file. `path` points into the document (`steps.ethics.gate.pass`).
    A warning is worth reading, and stops nothing.
    """

    line: int
    code: str
    message: str
    path: str = ""
    file: str = ""
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file else f"line {self.line}"
        warning = "warning: " if self.level == "warning" else ""
        return f"{where}: {warning}{self.message} [{self.code}]"


class InvalidProtocol(InvalidInput):
    """The protocol document cannot be loaded; `problems` says where and why."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class InvalidImport(InvalidInput):
    """A file of sites, people or assignments has bad rows; nothing of it was written."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class InvalidAnswers(InvalidInput):
    """Answers that the form refuses, field by field; what was typed is kept as a draft.

    `errors` maps a field's path (`included`, `sus_scores.2.score`) to its message.
    """

    def __init__(self, checkpoint: str, errors: dict[str, str]) -> None:
        self.checkpoint, self.errors = checkpoint, errors
        super().__init__(
            Phrase(
                "Checkpoint {checkpoint!r} refuses these answers. {errors}. Nothing was completed; correct them and complete again.",
                checkpoint=checkpoint,
                errors=errors,
            )
        )


class UnknownThing(InvalidInput):
    """A protocol, experiment, checkpoint, site or person that insitu does not know."""


class IllegalTransition(Refused):
    """The thing's present state does not allow this command."""


class CheckpointAlreadyCompleted(Refused):
    """Someone was first; the loser's answers are kept as a draft."""


class NotAssigned(Refused):
    """The person does not hold the role this act asks for, at this site, today."""


class InConflict(Refused):
    """The person has declared a conflict of interest in the experiment."""


class NotQualified(Refused):
    """The role asks for a delegation or a training that is not in force for this person, at this site, that day."""


class NotProven(Refused):
    """The person has not proved who they are: nothing was signed or changed."""


class TooOften(Refused):
    """A door was tried too often from one network address."""


class CommandReused(Refused):
    """A command id was used before for another command."""


class DatabaseUnavailable(InsituError):
    """The database is full, read-only, locked or away; nothing was written."""


class DeliveryFailed(InsituError):
    """A message could not be delivered; `permanent` says whether trying again is useless."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        self.permanent = permanent
        super().__init__(message)


def details(error: InsituError) -> list[dict[str, Any]]:
    """The error's parts as `[{"path", "message"}]`, for forms, JSON and problem documents."""
    if isinstance(error, InvalidAnswers):
        return [{"path": path, "message": message} for path, message in error.errors.items()]
    if isinstance(error, (InvalidProtocol, InvalidImport)):
        return [{"path": problem.path, "line": problem.line, "message": problem.message} for problem in error.problems]
    return []


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, or None when none comes near."""
    spelled = {name.lower().replace("-", "_"): name for name in known}
    found = get_close_matches(word.lower().replace("-", "_"), spelled, n=1, cutoff=0.6)
    return spelled[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The sentence that helps after an unknown word: the nearest spelling, else what is known when that is short."""
    return Adviser(1).did_you_mean(word, known)


class Adviser:
    """Helps after so many unknown words and no more: whoever has thousands of them has another problem than their spelling.

    Looking for one nearest spelling takes up to some milliseconds.
    """

    def __init__(self, at_most: int) -> None:
        self._left = at_most

    def nearest(self, word: str, known: Iterable[str]) -> str | None:
        self._left -= 1
        return nearest(word, known) if self._left >= 0 else None

    def did_you_mean(self, word: str, known: Iterable[str]) -> str:
        names = sorted(known)
        if (near := self.nearest(word, names)) is not None:
            return Phrase(" Did you mean `{near}`?", near=near)
        return Phrase(" Known here: {names}.", names=", ".join(names)) if 0 < len(names) <= 16 else ""
