"""The manifest of signatures: who signed what, in which role, when, meaning what, and whether it still counts.

As 21 CFR 11.50 asks (printed name, date and time, meaning) and 11.70 (bound to what was signed: here by the hash of the answers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from protocols.facts import FactKind
from sites.database import Database
from sites.disclosure import journal
from sites.policy import View

VALID, VOID, EARLIER = "valid", "void", "earlier"
_SIGNED = (FactKind.ANSWERS_SIGNED.value,)
_ENDING = (FactKind.GATE_REOPENED.value, FactKind.GATE_RETURNED.value, FactKind.ROUND_OPENED.value)
_CHANGED = (FactKind.CHECKPOINT_COMPLETED.value,)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature. `at` is RFC 3339 UTC; `answers_hash` the SHA-256 of the answers signed.

    `validity` is `valid`; `void` once the answers were changed or the gate reopened; `earlier` once a new round of the step began for
    another reason: it stands for the answers of its round. `why` is then `changed`, `reopened` or `returned`, with who, when, the reason.
    """

    seq: int
    step: str
    site: str
    round: int
    by: str
    role: str
    at: str
    meaning: str
    answers_hash: str
    fact_hash: str
    validity: str = VALID
    why: str = ""
    ended_by: str = ""
    ended_at: str = ""
    reason: str = ""


def signatures(database: Database, code: str, access: View) -> list[Signed]:
    """Every signature that a reader sees, oldest first. Raises UnknownThing."""
    signed = journal(database, code, access, kinds=_SIGNED)
    if not signed:
        return []
    places = {(fact["step"], fact["site"], fact["round"]) for fact in signed}
    later = [*journal(database, code, access, kinds=_ENDING), *journal(database, code, access, kinds=_CHANGED, places=places)]
    return manifest(sorted([*signed, *later], key=lambda fact: int(fact["seq"])))


def manifest(facts: Iterable[Mapping[str, Any]]) -> list[Signed]:
    """The signatures among these facts, oldest fact first, with what the later ones made of them. Pure."""
    found: list[Signed] = []
    cause: Mapping[str, Any] = {}
    for fact in facts:
        match fact["kind"]:
            case FactKind.ANSWERS_SIGNED:
                found.append(_signed(fact))
            case FactKind.CHECKPOINT_COMPLETED:
                found = _end(found, fact, VOID, "changed", fact)
            case FactKind.GATE_REOPENED | FactKind.GATE_RETURNED:
                cause = fact
            case FactKind.ROUND_OPENED:
                # A round opens in the same decision as what made it open; a cause at a site not seen is not told.
                why = cause if cause.get("at") == fact["at"] else {"at": fact["at"]}
                reopened = why.get("kind") == FactKind.GATE_REOPENED
                ended = {**fact, "round": fact["round"] - 1}
                found = _end(found, ended, VOID if reopened else EARLIER, "reopened" if reopened else "returned", why)
    return found


def _signed(fact: Mapping[str, Any]) -> Signed:
    own = {name: fact[name] for name in ("seq", "step", "site", "round", "by", "role", "at")}
    return Signed(**own, meaning=fact["data"].get("meaning", ""), answers_hash=fact["data"]["answers_hash"], fact_hash=fact["hash"])


def _end(found: list[Signed], fact: Mapping[str, Any], validity: str, why: str, cause: Mapping[str, Any]) -> list[Signed]:
    """The signatures, those of the fact's round that still counted now ended."""
    ended = {
        "validity": validity,
        "why": why,
        "ended_by": cause.get("by", ""),
        "ended_at": cause["at"],
        "reason": cause.get("data", {}).get("reason", ""),
    }
    place = (fact["step"], fact["site"], fact["round"])
    return [replace(one, **ended) if one.validity == VALID and (one.step, one.site, one.round) == place else one for one in found]
