"""Protocols new and released before: what later rules ask of either, and conditions that could hold the process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
from sqlalchemy import insert

from protocols.errors import InvalidAnswers, InvalidProtocol
from protocols.model import canonical, content_hash
from protocols.parsing import parse
from sites import apart, inbox, releases
from sites.database import Database, table
from sites.journal import verify
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.tables import Release

MONDAY = datetime(2026, 3, 2, 8, tzinfo=UTC)

HEAD = """
insitu: 1
id: asked
version: 1.0.0
title: {fr: Demande, en: Asked}
roles:
  project_manager: {scope: experiment, title: {fr: Chef de projet, en: Project manager}}
  methodologist: {scope: experiment, title: {fr: Méthodologiste, en: Methodologist}}
steps:
  - id: review
    title: {fr: Relecture, en: Review}
    phase: preparation
    checkpoint:
      role: methodologist
      form:
        - {id: sound, type: boolean, required: true, label: {fr: Valable, en: Sound}}
        - {id: events, type: choices, options: [death, fall, burn], label: {fr: Événements, en: Events}}
        - {id: adverse, type: number, label: {fr: Touchés, en: Affected}}
        - {id: included, type: number, label: {fr: Inclus, en: Included}}
        - id: rows
          type: table
          label: {fr: Lignes, en: Rows}
          columns: [{id: who, type: text, label: {fr: Qui, en: Who}}, {id: points, type: integer, label: {fr: Points, en: Points}}]
    gate:
"""
TAIL = """
  - id: closure
    title: {fr: Clôture, en: Closure}
    phase: closure
    after: [review]
    checkpoint:
      role: project_manager
      form: [{id: decision, type: text, label: {fr: Décision, en: Decision}}]
"""
LOOPS = "answers.rows.all(a, answers.rows.all(b, answers.rows.all(c, answers.rows.all(d, a.points + b.points >= c.points - d.points))))"


def asked(**gate: str) -> str:
    return HEAD + "".join(f"      {outcome}: {condition!r}\n" for outcome, condition in gate.items()) + TAIL


def as_before(database: Database, text: str) -> str:
    """Keep a protocol as an earlier insitu released it; its hash."""
    protocol = parse(text).protocol
    row = {"hash": content_hash(protocol), "id": protocol.id, "version": protocol.version, "content": canonical(protocol)}
    with database.write() as connection:
        connection.execute(insert(table(Release)), row | {"source": text, "added_at": MONDAY})
    return row["hash"]


@pytest.fixture
def ask(ledger: Ledger, registry: None) -> Callable[[dict[str, str], dict[str, Any]], dict[str, Any]]:
    """Launch a protocol with this gate, answer it, and show its checkpoint."""

    def answered(gate: dict[str, str], answers: dict[str, Any]) -> dict[str, Any]:
        as_before(ledger.database, asked(**gate))
        code = ledger.launch("asked", ["CAEN"], {}, "project_manager")["code"]
        ledger.complete(f"{code}:review::1", {"sound": True} | answers, "methodologist")
        found = inbox.status(ledger.database, code, ledger.clock.now(), locale="en", access=EVERYTHING)
        return next(one for one in found["gates"] if one["step"] == "review")

    return answered


# ------------------------------------------------------------------ blank lists


@pytest.mark.parametrize(
    "condition",
    [
        "!('death' in answers.events)",
        "size(answers.events) == 0",
        "answers.events.size() == 0 && answers.rows.size() == 0",
        "answers.rows.all(r, r.points > 3)",
        "!answers.rows.exists(r, r.points > 3)",
        "answers.events == null",  # whoever asks for null has null
        "answers.events == null || size(answers.events) == 0",
        "answers.events == []",
    ],
)
def test_nothing_happened_can_pass(ask: Callable[..., dict[str, Any]], condition: str) -> None:
    assert ask({"pass": condition}, {})["status"] == "passed"


@pytest.mark.parametrize("condition", ["'death' in answers.events", "answers.events != null", "answers.rows.exists(r, r.points > 3)"])
def test_a_blank_list_holds_nothing(ask: Callable[..., dict[str, Any]], condition: str) -> None:
    found = ask({"pass": condition}, {})
    assert found["status"] == "open"
    assert "no value" not in str(found["waiting_for"])


def test_of_a_step_that_nobody_answered_nothing_is_known(ledger: Ledger, registry: None) -> None:
    text = asked(**{"pass": "answers.sound"}).replace("    gate:\n", '    when: "false"\n    gate:\n')
    text = text.replace("after: [review]", "after: [review]\n    gate: {pass: size(steps.review.answers.events) == 0}")
    as_before(ledger.database, text)
    code = ledger.launch("asked", ["CAEN"], {}, "project_manager")["code"]
    ledger.complete(f"{code}:closure::1", {"decision": "x"}, "project_manager")
    found = inbox.status(ledger.database, code, ledger.clock.now(), locale="en", access=EVERYTHING)["gates"]
    assert "no value: steps.review.answers.events" in str(found)


# ------------------------------------------------------------------ what never decides


def test_a_division_by_zero_stops_nothing_and_the_gate_names_the_divisor(ask: Callable[..., dict[str, Any]]) -> None:
    gate = {"stop": "answers.adverse / answers.included > 0.1", "pass": "answers.adverse / answers.included >= 0.8"}
    found = ask(gate, {"adverse": 1, "included": 0})
    assert found["status"] == "open"
    assert "division by zero: `answers.included` is zero" in str(found["waiting_for"])


@pytest.mark.parametrize("outcome", ["pass", "stop"])
def test_a_condition_that_takes_too_long_keeps_the_gate_closed_with_a_reason(ask: Callable[..., dict[str, Any]], outcome: str) -> None:
    rows = [{"who": f"p{number}", "points": 1} for number in range(300)]
    found = ask({"pass": "answers.sound"} | {outcome: LOOPS}, {"rows": rows})
    assert found["status"] == "open"
    assert "take too long" in str(found["waiting_for"])


def test_a_condition_over_many_rows_is_evaluated_apart_and_comes_to_the_same(ask: Callable[..., dict[str, Any]]) -> None:
    rows = [{"who": f"p{number}", "points": number} for number in range(600)]
    assert ask({"pass": "answers.rows.filter(r, r.points > 590).size() == 9"}, {"rows": rows})["status"] == "passed"


def test_what_is_evaluated_apart_says_why_it_fails() -> None:
    assert apart.evaluate("answers.a > 1 && today > today - duration('1h')", {"answers": {"a": 2}, "today": MONDAY}) is True
    with pytest.raises(ValueError, match="insitu: zero"):
        apart.evaluate("[0].map(v, {'': v}['insitu: zero: x'])[0] == 1", {})
    with pytest.raises(ValueError, match="not true or false"):
        apart.evaluate("1 + 1", {})


def test_a_field_or_a_step_whose_condition_takes_too_long_is_asked_all_the_same(ledger: Ledger, registry: None) -> None:
    """What is hidden is not kept, and what is skipped is never asked: neither may follow from what nobody could read."""
    long = "true"
    for number in range(9):
        long = f"[1,2,3,4,5,6,7,8,9,10].all(x{number}, {long})"
    text = asked(**{"pass": "answers.sound"}).replace(
        "type: number, label: {fr: Inclus", f"type: number, show_if: '{long}', label: {{fr: Inclus"
    )
    text = text.replace("after: [review]", f"after: [review]\n    when: '{long}'")
    as_before(ledger.database, text)
    code = ledger.launch("asked", ["CAEN"], {}, "project_manager")["code"]
    ledger.complete(f"{code}:review::1", {"sound": True, "included": 3}, "methodologist")
    found = inbox.checkpoint(
        ledger.database, f"{code}:review::1", ledger.clock.now(), person="methodologist", locale="en", access=EVERYTHING
    )
    assert found["answers"]["included"] == 3
    gates = inbox.status(ledger.database, code, ledger.clock.now(), locale="en", access=EVERYTHING)["gates"]
    assert {gate["step"]: gate["status"] for gate in gates} == {"review": "passed", "closure": "open"}


# ------------------------------------------------------------------ new and released


def test_a_new_release_bounds_its_tables_and_one_from_before_does_not(ledger: Ledger, registry: None) -> None:
    text = asked(**{"pass": "answers.sound"})
    before = content_hash(parse(text).protocol)
    added = releases.add(ledger.database, text, ledger.clock)
    assert added["hash"] != before
    assert releases.add(ledger.database, text, ledger.clock) == added
    code = ledger.launch("asked", ["CAEN"], {}, "project_manager")["code"]
    rows = [{"who": "p", "points": 1}] * 201
    with pytest.raises(InvalidAnswers, match="at most 200"):
        ledger.complete(f"{code}:review::1", {"sound": True, "rows": rows}, "methodologist")
    older = text.replace("version: 1.0.0", "version: 0.9.0")
    assert as_before(ledger.database, older) == releases.add(ledger.database, older, ledger.clock)["hash"]
    code = ledger.launch("asked", ["CAEN"], {}, "project_manager", version="0.9.0")["code"]
    assert ledger.complete(f"{code}:review::1", {"sound": True, "rows": rows}, "methodologist")["gate"] == "passed"
    assert verify(ledger.database)["ok"]


def test_what_later_rules_refuse_is_refused_anew_and_stays_where_it_was_released(ledger: Ledger, registry: None) -> None:
    text = asked(**{"pass": LOOPS}) + "evaluation: {anything: at all}\n"
    with pytest.raises(InvalidProtocol) as refused:
        releases.add(ledger.database, text, ledger.clock)
    assert {problem.code for problem in refused.value.problems} == {"costly", "without_effect"}
    assert as_before(ledger.database, text) == releases.add(ledger.database, text, ledger.clock)["hash"]
    found = releases.problems(text, database=ledger.database)
    assert {(problem.code, problem.level) for problem in found} == {("costly", "warning"), ("without_effect", "warning")}


def test_the_library_keeps_its_hashes_by_whatever_door_it_is_added(ledger: Ledger, registry: None) -> None:
    for entry in (files("protocols") / "library").iterdir():
        if entry.name.endswith(".yaml"):
            text = entry.read_text("utf-8")
            assert releases.add(ledger.database, text, ledger.clock)["hash"] == content_hash(parse(text).protocol)
    assert releases.add_library(ledger.database, ledger.clock)


def test_a_launch_without_a_version_takes_no_pre_release(ledger: Ledger, registry: None) -> None:
    text = asked(**{"pass": "answers.sound"})
    releases.add(ledger.database, text.replace("1.0.0", "0.1.0-rc.1"), ledger.clock)
    launched = ledger.launch("asked", ["CAEN"], {}, "project_manager")
    assert launched["version"] == "0.1.0-rc.1"  # there is nothing else
    for version in ("1.0.0", "1.1.0-rc.1", "0.9.0"):
        releases.add(ledger.database, text.replace("1.0.0", version), ledger.clock)
    assert ledger.launch("asked", ["CAEN"], {}, "project_manager")["version"] == "1.0.0"
    assert ledger.launch("asked", ["CAEN"], {}, "project_manager", version="1.1.0-rc.1")["version"] == "1.1.0-rc.1"
