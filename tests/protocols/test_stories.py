"""Whole experiments, told day by day: each story says who does what, and everything the engine brings about.

A story plays a library protocol with its `usual` answers (`stories/usual/`), changed where the story says so. Whoever holds a role
bears its name. Run actions succeed and signatures are given at once, unless the story says otherwise. A day is counted from `start`,
at noon in Paris, and `then` lists every movement, with the day each opened step is due.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from protocols import clocks
from protocols.commands import Command, Complete, Hold, Launch, RecordAction, Release, Remember, RetryAction, Sign, Stop
from protocols.context import place_of
from protocols.engine import decide, next_signature
from protocols.errors import InsituError
from protocols.facts import Fact, FactKind
from protocols.fold import replay
from protocols.model import content_hash, in_locale
from protocols.parsing import parse
from protocols.plan import Plan
from protocols.state import ExperimentState, State, StepKey, StepState, StepStatus

HERE = Path(__file__).parent / "stories"
LIBRARY = Path(__file__).parents[2] / "protocols" / "library"
STORIES = sorted(HERE.glob("*.yaml"))
PARIS = ZoneInfo("Europe/Paris")
NOT_TOLD = {
    FactKind.EXPERIMENT_LAUNCHED,
    FactKind.CHECKPOINT_ASKED,
    FactKind.CHECKPOINT_COMPLETED,
    FactKind.ANSWERS_SIGNED,
    FactKind.ACTION_DONE,
}


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def plan_of(protocol: str) -> Plan:
    parsed = parse((LIBRARY / f"{protocol}.yaml").read_text(encoding="utf-8"), protocol)
    return Plan(parsed.protocol, content_hash(parsed.protocol))


PLANS = {path.stem: plan_of(path.stem) for path in sorted(LIBRARY.glob("*.yaml"))}
USUAL = {name: read(HERE / "usual" / f"{name}.yaml") for name in PLANS}


def as_json(answers: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in answers.items()}


def key_of(text: str) -> StepKey:
    return StepKey(*text.split("@"))


@dataclass
class Stage:
    """An experiment being played, with its facts so far."""

    plan: Plan
    usual: dict[str, Any]
    now: datetime
    state: State
    facts: list[Fact]
    failure: str | None = None

    def do(self, command: Command) -> None:
        decision = decide(self.plan, self.state, command, self.now)
        self.state = decision.state
        self.facts.extend(decision.facts)

    def launch(self, sites: dict[str, str], **fields: Any) -> None:
        places = tuple(
            {"code": code, "name": code, "kind": "public_hospital", "territory": territory, "timezone": timezone or "Europe/Paris"}
            for code, place in sites.items()
            for territory, _, timezone in [place.partition(" ")]
        )
        self.do(Launch("project_manager", places, as_json(self.usual["launch"] | fields)))
        self.let_the_machine_work()

    def complete(self, key: StepKey, sign: bool = True, **answers: Any) -> None:
        """Complete a step by its role; its other roles sign."""
        checkpoint = self.plan.steps[key.step].step.checkpoint
        assert checkpoint is not None, f"{key.step} asks nobody"
        given = as_json(self.usual[key.step] | answers)
        self.do(Complete(key, self.step(key).round, given, checkpoint.role))
        if sign:
            self.sign(key)
        self.let_the_machine_work()

    def sign(self, key: StepKey, by: str = "") -> None:
        while wanted := next_signature(self.plan.steps[key.step], self.step(key)):
            self.do(Sign(key, self.step(key).round, by or wanted.role, in_locale(wanted.meaning, "fr")))

    def let_the_machine_work(self) -> None:
        while working := [step for step in self.live() if step.status is StepStatus.WORKING]:
            for step in working:
                self.do(RecordAction(step.key, step.round, step.actions_done, {}, self.failure))

    def step(self, key: StepKey) -> StepState:
        return self.state.step(key)

    def live(self) -> list[StepState]:
        return [step for _, step in sorted(self.state.steps.items()) if step.status.is_live]

    def told_since(self, count: int) -> list[str]:
        return [self.told(fact) for fact in self.facts[count:] if fact.kind not in NOT_TOLD]

    def told(self, fact: Fact) -> str:
        where = f" {fact.step}" if fact.step else ""
        at = f"@{fact.site}" if fact.step and fact.site else f" {fact.site}" if fact.site else ""
        round_ = f" round {fact.round}" if fact.kind is FactKind.ROUND_OPENED else ""
        due = f" due {self.due_day(fact)}" if fact.data.get("due_at") else ""
        to = f" to {fact.data['to']}" if "to" in fact.data else ""
        return f"{fact.kind}{where}{at}{round_}{to}{due}"

    def due_day(self, fact: Fact) -> str:
        place, _ = place_of(self.state, fact.site)
        return clocks.local_date(datetime.fromisoformat(fact.data["due_at"]), place).isoformat()


def stage(protocol: str, start: date) -> Stage:
    return Stage(PLANS[protocol], USUAL[protocol], noon(start), State(), [])


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), PARIS).astimezone(UTC)


def act(on: Stage, doing: dict[str, Any]) -> None:
    """Do one act of a story: `complete`, `sign`, `hold`, `release`, `stop`, `remember` or `retry`; `machine` says how actions fail."""
    on.failure = doing.get("machine")
    match doing:
        case {"complete": step}:
            on.complete(key_of(step), doing.get("sign", True), **doing.get("with", {}))
        case {"sign": step}:
            on.sign(key_of(step), doing.get("by", ""))
            on.let_the_machine_work()
        case {"hold": reason}:
            on.do(Hold("project_manager", reason, doing.get("site", "")))
        case {"release": reason}:
            on.do(Release("project_manager", reason, doing.get("site", "")))
            on.let_the_machine_work()
        case {"stop": reason}:
            on.do(Stop("project_manager", reason, doing.get("site", "")))
        case {"retry": step}:
            on.do(RetryAction(key_of(step), on.step(key_of(step)).round, "project_manager"))
            on.let_the_machine_work()
        case {"remember": kind, "about": step}:
            on.do(Remember(key_of(step), on.step(key_of(step)).round, kind))
        case _:
            raise AssertionError(f"A story cannot say {doing}")


def play(story: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[str], Stage]]:
    """Each act with what it brought about, and the stage after it."""
    on = stage(story["protocol"], story["start"])
    on.launch(story["sites"], **story.get("launch", {}))
    yield {"launch": True, "then": story["then"]}, on.told_since(0), on
    for doing in story["acts"]:
        on.now = noon(story["start"] + timedelta(days=doing["day"]))
        before = len(on.facts)
        if "refused" in doing:
            with pytest.raises(InsituError) as refused:
                act(on, doing)
            assert doing["refused"] in str(refused.value)
        else:
            act(on, doing)
        yield doing, on.told_since(before), on


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_goes_as_told(path: Path) -> None:
    story = read(path)
    acts = list(play(story))
    for doing, told, _ in acts:
        assert told == doing.get("then", []), f"{path.stem}, {doing}"
    *_, (_, _, on) = acts
    assert str(on.state.status) == story["ends"]


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_facts_of_a_story_alone_give_back_its_state(path: Path) -> None:
    *_, (_, _, on) = play(read(path))
    assert replay(on.facts) == on.state


def test_every_library_protocol_has_a_story_that_reaches_closure() -> None:
    closed = {story["protocol"] for story in map(read, STORIES) if story["ends"] == "closed"}
    assert closed == set(PLANS)


@pytest.mark.parametrize("protocol", PLANS)
@given(choices=st.data())
@settings(max_examples=10, deadline=None)
def test_usual_answers_close_a_library_protocol_in_any_order(protocol: str, choices: st.DataObject) -> None:
    on = stage(protocol, date(2026, 1, 5))
    on.launch({"A": "FR", "B": "FR-57", "C": "FR"})
    while on.state.status is ExperimentState.RUNNING:
        on.now += timedelta(hours=1)
        on.complete(choices.draw(st.sampled_from([step.key for step in on.live()])))
    assert on.state.status is ExperimentState.CLOSED
    assert not on.live()
