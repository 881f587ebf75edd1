"""One experiment: its chain recomputed, and its facts played through the fold once more, to give every row that lists and gates read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from protocols.errors import InsituError
from protocols.facts import Fact, FactKind
from protocols.fold import apply
from protocols.lifecycle import ImpossibleFact
from protocols.phrase import Phrase
from protocols.plan import Plan
from protocols.state import SiteInfo, State, StepKey, StepState, StepStatus
from sites.database import table
from sites.journal import as_fact, compact, facts_of, misfit, readable
from sites.releases import plan_of
from sites.snapshot import experiment_values, pairs, step_row
from sites.tables import Experiment, ExperimentSite, PastRound, Remark, Step, Timer
from sites.tables import Tally as JoinTally
from sites.verification.contents import Named, missing, named_in
from sites.verification.findings import Finding, Tally

_EXPERIMENT, _SITE, _STEP, _PAST = table(Experiment), table(ExperimentSite), table(Step), table(PastRound)
_JOIN, _REMARK, _TIMER = table(JoinTally), table(Remark), table(Timer)
# What a forged fact, whose hashes were made to fit, may break in the fold.
_DOES_NOT_FIT = (ImpossibleFact, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
_TIMES = ("opened_at", "since", "due_at", "completed_at")
_SAID = {FactKind.QUESTION_ASKED: "question", FactKind.CHECKPOINT_DECLINED: "decline"}


@dataclass(slots=True)
class Told:
    """What a journal adds up to."""

    state: State = field(default_factory=State)
    ended: list[StepState] = field(default_factory=list)
    remarks: dict[int, dict[str, Any]] = field(default_factory=dict)
    documents: list[Named] = field(default_factory=list)
    launched: Fact | None = None
    last: datetime | None = None

    def hear(self, fact: Fact) -> None:
        """Change the state by a fact. Raises one of `_DOES_NOT_FIT`."""
        key = StepKey(fact.step, fact.site)
        if fact.kind is FactKind.EXPERIMENT_LAUNCHED:
            self.launched = fact
        elif fact.kind is FactKind.ROUND_OPENED:
            self.ended.append(self.state.step(key))
        elif fact.kind in _SAID:
            said = fact.data["text"] if "text" in fact.data else fact.data["reason"]
            about = {"step": fact.step, "site": fact.site, "round": fact.round, "kind": _SAID[fact.kind]}
            self.remarks[fact.data["remark"]] = about | {"by": fact.by, "at": fact.at, "text": said}
        elif fact.kind is FactKind.QUESTION_ANSWERED:
            answered = {"answer": fact.data["text"], "answered_by": fact.by, "answered_at": fact.at}
            self.remarks[fact.data["remark"]] |= answered
        self.documents += named_in(fact)
        apply(self.state, fact)
        self.last = fact.at


def check(connection: Connection, row: Mapping[str, Any], tally: Tally) -> Iterator[Finding]:
    """What does not fit in an experiment; `row` is its own. A chain that is broken says nothing of the rest."""
    code, told = row["code"], Told()
    tally.experiments += 1
    broken = None
    for finding in _chain(connection, row, told, tally):
        broken = finding
        yield finding
    if broken is None:
        try:
            yield from _rows(connection, row, told)
            yield from missing(connection, told.documents, code)
        except ValueError as error:
            yield Finding(Phrase("a row of it cannot be read ({error})", error=error), code)


def _chain(connection: Connection, row: Mapping[str, Any], told: Told, tally: Tally) -> Iterator[Finding]:
    code, head, expected = row["code"], "", 0
    for fact in readable(facts_of(connection, row["id"])):
        expected += 1
        tally.facts += 1
        if fact is None:
            yield Finding(Phrase("it cannot be read"), code, expected)
            return
        if why := misfit(code, fact, expected, head, row["protocol"]):
            yield Finding(why, code, fact["seq"])
            return
        head = fact["hash"]
        try:
            told.hear(as_fact(fact))
        except _DOES_NOT_FIT:
            yield Finding(Phrase("it cannot have happened after the facts before it"), code, expected, fact["step"], fact["site"])
            return
    if (expected, head) != (row["seq"], row["head"]):
        ends = Phrase("the journal ends at {end}, the experiment says {said}", end=expected, said=row["seq"])
        yield Finding(ends, code, expected + 1)


def _rows(connection: Connection, row: Mapping[str, Any], told: Told) -> Iterator[Finding]:
    plan = _plan(connection, row)
    yield from _experiment(row, told)
    yield from _sites(connection, row, told.state)
    if plan is not None:  # else `contents` names the protocol
        yield from _steps(connection, row, plan, told.state)
        yield from _past_rounds(connection, row, plan, told.ended)
        yield from _joins(connection, row, plan, told.state)
    yield from _remarks(connection, row, told.remarks)
    yield from _timers(connection, row, told.state)


def _plan(connection: Connection, row: Mapping[str, Any]) -> Plan | None:
    try:
        return plan_of(connection, row["protocol"])
    except (InsituError, ValueError):
        return None


def _experiment(row: Mapping[str, Any], told: Told) -> Iterator[Finding]:
    state, launched = told.state, told.launched
    expected = experiment_values(state) | {"launch": dict(state.launch), "changed_at": told.last}
    expected |= {"territory": state.place.territory, "timezone": state.place.timezone}
    if launched:
        expected |= {"launched_by": launched.by, "launched_at": launched.at, "title": launched.data.get("title", "")}
    protocol = f"{row['protocol_id']} {row['version']}"
    if launched and launched.data.get("protocol", protocol) != protocol:
        yield Finding(Phrase("the experiment names the protocol {protocol}, its launch another", protocol=protocol), row["code"])
    for name in _differing(row, expected):
        kept, facts = _plain(row[name]), _plain(expected[name])
        yield Finding(
            Phrase("the experiment has {name} {kept}, its facts give {told}", name=f"`{name}`", kept=kept, told=facts), row["code"]
        )
    if row["projected_seq"] > row["seq"]:
        shown = Phrase("Prefect was shown {shown} facts, the journal has {count}", shown=row["projected_seq"], count=row["seq"])
        yield Finding(shown, row["code"], row["seq"] + 1)


def _sites(connection: Connection, row: Mapping[str, Any], state: State) -> Iterator[Finding]:
    kept = {str(one["site"]): one for one in _all(connection, _SITE, row)}
    for site in sorted(kept.keys() | state.sites.keys()):
        if site not in kept:
            yield Finding(Phrase("site {site} is missing", site=site), row["code"], site=site)
        elif site not in state.sites:
            yield Finding(Phrase("site {site} takes no part in it by its facts", site=site), row["code"], site=site)
        else:
            expected = _site_row(state.sites[site])
            for name in _differing(kept[site], expected):
                values = {"name": f"`{name}`", "kept": _plain(kept[site][name]), "told": _plain(expected[name])}
                yield Finding(Phrase("the site has {name} {kept}, the facts give {told}", **values), row["code"], site=site)


def _site_row(site: SiteInfo) -> dict[str, Any]:
    place = {"name": site.name, "kind": site.kind, "territory": site.place.territory, "timezone": site.place.timezone}
    return place | {"state": site.state.value, "held_at": site.held_at, "suspensions": pairs(site.suspensions)}


def _steps(connection: Connection, row: Mapping[str, Any], plan: Plan, state: State) -> Iterator[Finding]:
    kept = {StepKey(one["step"], one["site"]): one for one in _all(connection, _STEP, row)}
    for key in sorted(kept.keys() | state.steps.keys()):
        if key not in kept:
            yield Finding(Phrase("its present state is missing"), row["code"], step=key.step, site=key.site)
        elif key not in state.steps:
            yield Finding(Phrase("it has a state, and no fact tells of it"), row["code"], step=key.step, site=key.site)
        else:
            expected = step_row(plan, state.steps[key])
            for name in _differing(kept[key], expected):
                why = _of_step(name, kept[key][name], expected[name])
                yield Finding(why, row["code"], step=key.step, site=key.site, round=expected["round"])


def _of_step(name: str, kept: Any, told: Any) -> Phrase:
    """In words, the column of a step that is not as its facts give it. Answers are named, not shown: they are not everybody's."""
    match name:
        case "status":
            return Phrase("its status is kept as {kept}, its facts give {told}", kept=_status(kept), told=_status(told))
        case "answers":
            return Phrase("its answers are not those that were completed")
        case "signatures":
            return Phrase("its signatures are not those that were given")
        case "due_at":
            return Phrase("its deadline is kept as {kept}, its facts give {told}", kept=_plain(kept), told=_plain(told))
        case "results":
            return Phrase("the results of its actions are not those that were recorded")
    return Phrase("its {name} is not what its facts give", name=f"`{name}`")


def _status(kept: str) -> str:
    """A status as the doors have words for it, or whatever stands there."""
    return StepStatus(kept) if kept in set(StepStatus) else kept


def _past_rounds(connection: Connection, row: Mapping[str, Any], plan: Plan, ended: list[StepState]) -> Iterator[Finding]:
    expected = {(step.key.site, step.key.step, step.round): step_row(plan, step) for step in ended}
    kept = {(one["site"], one["step"], one["round"]): one for one in _all(connection, _PAST, row)}
    for site, step, number in sorted(kept.keys() | expected.keys()):
        place = (site, step, number)
        if place not in kept:
            why = Phrase("its earlier round is missing")
        elif place not in expected:
            why = Phrase("its earlier round is told by no fact")
        elif _of_round(kept[place]["snapshot"]) != _of_round(expected[place]) or kept[place]["status"] != expected[place]["status"]:
            why = Phrase("its earlier round is not as its facts give it")
        else:
            continue
        yield Finding(why, row["code"], step=step, site=site, round=number)


def _of_round(columns: Any) -> Any:
    """A step's columns as text; a moment may have been written in another time zone."""
    if not isinstance(columns, Mapping):
        return columns
    times = {name: datetime.fromisoformat(columns[name]) for name in _TIMES if isinstance(columns.get(name), str)}
    return _plain(dict(columns) | times)


def _joins(connection: Connection, row: Mapping[str, Any], plan: Plan, state: State) -> Iterator[Finding]:
    kept = {str(one["step"]): one["through"] for one in _all(connection, _JOIN, row)}
    for step in sorted(kept.keys() | plan.joined):
        told = state.through.get(step, 0) if step in plan.joined else None
        if kept.get(step) != told:
            why = Phrase("it is counted as done at {kept} sites, its facts give {told}", kept=kept.get(step), told=told)
            yield Finding(why, row["code"], step=step)


def _remarks(connection: Connection, row: Mapping[str, Any], told: Mapping[int, Mapping[str, Any]]) -> Iterator[Finding]:
    kept = {int(one["id"]): one for one in _all(connection, _REMARK, row)}
    nothing = {"answer": "", "answered_by": "", "answered_at": None}
    for number in sorted(kept.keys() | told.keys()):
        found = kept.get(number)
        if found is None or number not in told:
            why = (
                Phrase("remark {number} is missing", number=number)
                if found is None
                else Phrase("no fact tells of remark {number}", number=number)
            )
        elif any(_differing(found, nothing | dict(told[number]))):
            why = Phrase("remark {number} is not what was said", number=number)
        else:
            continue
        place = found or told[number]
        yield Finding(why, row["code"], step=place["step"], site=place["site"], round=place["round"])


def _timers(connection: Connection, row: Mapping[str, Any], state: State) -> Iterator[Finding]:
    """A deadline that no timer watches would be missed by nobody."""
    if state.status.has_ended:
        return
    set_ = {(one["step"], one["site"], one["round"], one["fire_at"]) for one in _all(connection, _TIMER, row) if one["kind"] == "overdue"}
    for key, step in sorted(state.steps.items()):
        watched = step.due_at and (key.step, key.site, step.round, step.due_at.astimezone(UTC))
        if step.status.is_live and watched and not step.overdue and watched not in set_:
            why = Phrase("no timer watches its deadline, {due_at}", due_at=_plain(step.due_at))
            yield Finding(why, row["code"], step=key.step, site=key.site, round=step.round)


def _all(connection: Connection, kept: Any, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (dict(one) for one in connection.execute(select(kept).where(kept.c.experiment_id == row["id"])).mappings())


def _differing(kept: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """The names of the values that differ. As text, since to Python `true` is 1."""
    return (name for name, value in expected.items() if _plain(kept[name]) != _plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value if isinstance(value, str) else compact(json.loads(json.dumps(value, default=_plain)))
