"""Commands: what people, the machine and timers ask for, in the imperative. `of` is whom a deputy acts for, "" for one's own role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocols.state import StepKey


@dataclass(frozen=True, slots=True)
class Launch:
    """Start: `sites` as `{code, name, kind, territory, timezone}`; the first one's place is the experiment's own."""

    by: str
    sites: tuple[Mapping[str, str], ...]
    launch: Mapping[str, Any]
    title: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Complete:
    """Answer a checkpoint. `change` replaces answers that already await signatures, and voids these; `via` says what came by a link."""

    key: StepKey
    round: int
    answers: Mapping[str, Any]
    by: str
    change: bool = False
    via: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    """Put the next signature; `meaning` is the text as shown to the signer, `shown` the hash of the answers as shown, "" unsaid."""

    key: StepKey
    round: int
    by: str
    meaning: str
    shown: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Reopen:
    """A person takes back a gate that has passed, because its answers must change; `role` is the one they do it in."""

    key: StepKey
    round: int
    by: str
    role: str
    reason: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class RecordAction:
    """A run action has ended: with a result, or for good with an error."""

    key: StepKey
    round: int
    index: int
    result: Mapping[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RetryAction:
    """A person asks for a failed action again."""

    key: StepKey
    round: int
    by: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Stop the clocks of the experiment, or of one site."""

    by: str
    reason: str
    site: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Let the clocks run again."""

    by: str
    reason: str
    site: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the experiment, or one site's part in it, early and for good."""

    by: str
    reason: str
    site: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Remember:
    """A timer has fired: `kind` is reminder, overdue, escalation or reconsider; `occasion` counts within the kind."""

    key: StepKey
    round: int
    kind: str
    occasion: int = 0


Command = Launch | Complete | Sign | RecordAction | Reopen | RetryAction | Hold | Release | Stop | Remember
