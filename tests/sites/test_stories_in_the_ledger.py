"""The golden stories of the protocols' tests once more, through the real ledger: the journal tells what the engine told.

Timers run by themselves here, so what they say is left out of the comparison, and each is seen to speak once. The ledger takes sites
by their code, a story in the order of its launch, so what one act brings about is compared in any order.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from qualified import qualify_town
from ruamel.yaml import YAML
from sqlalchemy import insert
from town import settle

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import InsituError
from protocols.fold import replay
from sites import inbox, releases, verification
from sites.clock import SetClock
from sites.database import Database, table
from sites.journal import as_fact, facts_of, verify
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked
from sites.snapshot import find, load
from sites.tables import Assignment

STORIES_FOLDER = Path(__file__).parents[1] / "protocols" / "stories"
STORIES = sorted(STORIES_FOLDER.glob("*.yaml"))
LIBRARY = Path(__file__).parents[2] / "protocols" / "library"
RELEASED = STORIES_FOLDER.parent / "released"
PARIS = ZoneInfo("Europe/Paris")
BY_TIMERS = {"ReminderDue", "DeadlineMissed", "Escalated"}
NOT_TOLD = {"ExperimentLaunched", "CheckpointAsked", "CheckpointCompleted", "AnswersSigned", "ActionDone"}


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


class Run:
    """An experiment played through the ledger, everyone acting through its public doors."""

    def __init__(self, database: Database, story: dict[str, Any], protocol: Path) -> None:
        self.database, self.story = database, story
        self.usual = read(STORIES_FOLDER / "usual" / f"{story['protocol']}.yaml")
        self.clock = SetClock(noon(story["start"]))
        self.ledger = Ledger(database, self.clock)
        releases.add(database, protocol.read_text(encoding="utf-8"), self.clock)
        with database.read() as connection:
            plan = releases.plan_of(connection, releases.find_release(connection, story["protocol"])["hash"])
        settle(database, tuple(plan.protocol.roles), {code: as_site(place) for code, place in story["sites"].items()})
        self.plan, self.failure = plan, None
        fields = as_json(self.usual["launch"] | story.get("launch", {}))
        self.code = self.ledger.launch(story["protocol"], list(story["sites"]), fields, "project_manager")["code"]
        if self.asks_for_records:
            qualify_town(self.ledger, self.code)
        self.let_the_machine_work()

    @property
    def asks_for_records(self) -> bool:
        return any(role.requires for role in self.plan.protocol.roles.values())

    def act(self, doing: dict[str, Any]) -> None:
        self.failure = doing.get("machine")
        site = doing.get("site", "")
        match doing:
            case {"complete": step}:
                self.complete(step, doing.get("sign", True), doing.get("with", {}))
            case {"sign": step}:
                self.let_sign(doing.get("by", ""))
                self.sign(step, doing.get("by", ""))
            case {"hold": reason}:
                self.ledger.hold(self.code, "project_manager", reason, site=site)
            case {"release": reason}:
                self.ledger.release(self.code, "project_manager", reason, site=site)
            case {"stop": reason}:
                self.ledger.stop(self.code, "project_manager", reason, site=site)
            case {"retry": step}:
                self.ledger.retry_action(self.name(step), "project_manager")
            case {"remember": _}:
                pass
        self.let_the_machine_work()

    def name(self, told: str) -> str:
        step, _, site = told.partition("@")
        rounds = [gate["round"] for gate in self.gates() if (gate["step"], gate["site"] or "") == (step, site)]
        return f"{self.code}:{step}:{site}:{rounds[0]}"

    def complete(self, told: str, sign: bool, changes: dict[str, Any]) -> None:
        step = told.partition("@")[0]
        role = self.plan.steps[step].step.checkpoint.role
        name = self.name(told)
        self.ledger.complete(name, as_json(self.usual[step] | changes), role)
        if sign:
            self.sign(told, "")

    def sign(self, told: str, by: str) -> None:
        name = self.name(told)
        while wanted := inbox.checkpoint(self.database, name, self.clock.now(), access=EVERYTHING)["next_signature"]:
            self.ledger.sign(name, by or wanted["role"], prove=unasked)

    def let_sign(self, person: str) -> None:
        """Give a person every role, so that only the engine's own rules can refuse a signature."""
        with self.database.write() as connection:
            rows = [{"person": person, "role": role, "site": "", "experiment": self.code} for role in self.plan.protocol.roles if person]
            connection.execute(insert(table(Assignment)).values(rows)) if rows else None
        if rows and self.asks_for_records:
            qualify_town(self.ledger, self.code, person)

    def let_the_machine_work(self) -> None:
        while owed := [one for site in ("", *self.story["sites"]) for one in inbox.owed_actions(self.database, self.code, site)]:
            for one in owed:
                self.ledger.record_action(one["checkpoint"], one["index"], {}, error=self.failure)

    def gates(self) -> list[dict[str, Any]]:
        return inbox.status(self.database, self.code, self.clock.now(), access=EVERYTHING)["gates"]

    def told(self) -> list[str]:
        facts = [fact for fact in inbox.journal(self.database, self.code, EVERYTHING) if fact["kind"] not in NOT_TOLD | BY_TIMERS]
        return [self._told(fact) for fact in facts]

    def _told(self, fact: dict[str, Any]) -> str:
        where = f" {fact['step']}" if fact["step"] else ""
        at = f"@{fact['site']}" if fact["step"] and fact["site"] else f" {fact['site']}" if fact["site"] else ""
        round_ = f" round {fact['round']}" if fact["kind"] == "RoundOpened" else ""
        to = f" to {fact['data']['to']}" if "to" in fact["data"] else ""
        due = f" due {self._due_day(fact)}" if fact["data"].get("due_at") else ""
        return f"{fact['kind']}{where}{at}{round_}{to}{due}"

    def _due_day(self, fact: dict[str, Any]) -> str:
        places = [Place(*as_site(place)[1:]) for place in self.story["sites"].values()]
        place = dict(zip(self.story["sites"], places, strict=True)).get(fact["site"], places[0])
        return clocks.local_date(datetime.fromisoformat(fact["data"]["due_at"]), place).isoformat()


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), PARIS).astimezone(UTC)


def as_site(place: str) -> tuple[str, str, str]:
    territory, _, timezone = place.partition(" ")
    return "public_hospital", territory, timezone or "Europe/Paris"


def as_json(answers: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in answers.items()}


def expected(doing: dict[str, Any]) -> list[str]:
    return [line for line in doing.get("then", []) if line.split()[0] not in BY_TIMERS]


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_ledger_plays_a_story_as_the_engine_does(path: Path, database: Database) -> None:
    story = read(path)
    play(path.stem, story, Run(database, story, LIBRARY / f"{story['protocol']}.yaml"))


def test_a_version_released_earlier_is_played_as_it_was(sqlite_database: Database) -> None:
    story = read(STORIES_FOLDER / "hip-late-opinion.yaml")
    run = Run(sqlite_database, story, RELEASED / "telerehab-hip-1.0.0.yaml")
    assert not run.asks_for_records
    play("telerehab-hip 1.0.0", story, run)


def play(name: str, story: dict[str, Any], run: Run) -> None:
    """Act the story, and compare what the ledger tells with what the story says."""
    database, told = run.database, run.told()
    assert sorted(told) == sorted(expected(story))
    for doing in story["acts"]:
        run.clock.set(noon(story["start"] + timedelta(days=doing["day"])))
        run.ledger.fire_timers(10_000)
        if "refused" in doing:
            with pytest.raises(InsituError, match=doing["refused"]):
                run.act(doing)
        else:
            run.act(doing)
        before, told = len(told), run.told()
        assert sorted(told[before:]) == sorted(expected(doing)), f"{name}, {doing}"
    board = inbox.status(database, run.code, run.clock.now(), access=EVERYTHING)
    assert board["state"] == story["ends"]
    assert_the_journal_gives_the_snapshot(database, run.code)
    assert verify(database)["ok"]
    spoken = Counter(
        (fact["kind"], fact["step"], fact["site"], fact["round"], fact["data"].get("occasion"), fact["data"].get("due_at"))
        for fact in inbox.journal(database, run.code, EVERYTHING)
        if fact["kind"] in BY_TIMERS
    )
    assert set(spoken.values()) <= {1}


def assert_the_journal_gives_the_snapshot(database: Database, code: str) -> None:
    with database.read() as connection:
        row = find(connection, code)
        kept = load(connection, row)
        told = replay(as_fact(fact) for fact in facts_of(connection, kept.id))
    assert told.steps == kept.state.steps
    assert (told.status, told.launch, told.place, told.sites) == (kept.state.status, kept.state.launch, kept.state.place, kept.state.sites)
    assert (told.pending, told.active, told.stopped) == (kept.state.pending, kept.state.active, kept.state.stopped)
    assert (told.held_at, told.suspensions) == (kept.state.held_at, kept.state.suspensions)
    assert {step: told.through.get(step, 0) for step in kept.plan.joined} == {
        step: kept.state.through.get(step, 0) for step in kept.plan.joined
    }
    assert verification.verify(database)["findings"] == []
