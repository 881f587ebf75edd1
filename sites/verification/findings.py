"""What verifying finds, in words for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from protocols.phrase import Phrase

# What reading a row raises that insitu did not write: SQLite keeps bytes, words and numbers in any column.
UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
SHOWN = 200  # a ledger that was replaced whole would list every row


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit: `experiment` is its code, "" for what belongs to the installation; `seq` the number of the fact."""

    why: Phrase
    experiment: str = ""
    seq: int | None = None
    step: str = ""
    site: str = ""
    round: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it: `experiment, seq, why`, and of `step, site, round` those there are."""
        where = {"step": self.step, "site": self.site, "round": self.round}
        return {"experiment": self.experiment, "seq": self.seq, "why": self.why} | {name: at for name, at in where.items() if at}


@dataclass(slots=True)
class Tally:
    """How much was looked at, and what was found, the first `SHOWN` of it."""

    experiments: int = 0
    facts: int = 0
    documents: int = 0
    protocols: int = 0
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    count: int = 0

    def take(self, found: Iterator[Finding], code: str = "") -> None:
        """Keep what is found. A row that insitu never wrote may break a look: that is a finding too, and the next look goes on."""
        try:
            for finding in found:
                self._keep(finding)
        except UNREADABLE as error:
            self._keep(Finding(Phrase("a row of it cannot be read ({error})", error=error), code))

    def _keep(self, finding: Finding) -> None:
        self.count += 1
        if len(self.findings) < SHOWN:
            self.findings.append(finding)

    def said(self) -> dict[str, Any]:
        """`ok, experiments, facts, first_bad`, the other counts (`entries` of the access journal), `findings` and how many there are."""
        counted = {name: getattr(self, name) for name in ("experiments", "facts", "documents", "protocols", "entries")}
        found = [finding.as_dict() for finding in self.findings]
        return {"ok": not found, "first_bad": found[0] if found else None, "findings": found, "count": self.count} | counted
