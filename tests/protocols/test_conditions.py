import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.conditions import InvalidCondition, Verdict, cel_value, compile_condition, run
from protocols.lint.expressions import read_expression
from protocols.trees import Node, read_tree

ANSWERS: dict[str, Any] = {
    "opinion": "favourable",
    "count": 3,
    "score": 71.5,
    "agreed": True,
    "day": cel_value(date(2026, 1, 31)),
    "unanswered": None,
    "rows": [{"who": "a", "points": 1}, {"who": "b", "points": None}],
}
CONTEXT: dict[str, Any] = {
    "answers": ANSWERS,
    "steps": {"ethics": {"status": "passed", "round": 2, "answers": None}, "site-visit": {"round": 1}},
    "sites_of": {"stay": [{"site": "CAEN", "answers": {"operated": 4}}, {"site": "LYON", "answers": {"operated": None}}]},
    "today": cel_value(date(2026, 2, 2)),
}


def verdict(source: str) -> Verdict:
    return compile_condition(source).evaluate(CONTEXT)


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("true", True),
        ("false", False),
        (" true ", True),
        ("answers.opinion == 'favourable'", True),
        ("answers.opinion in ['changes', 'refused']", False),
        ("answers.count >= 2.5 && answers.score > 70", True),  # an int and a double compare
        ("answers.unanswered == null", True),
        ("answers.unanswered == 'x'", False),  # null equals nothing else: it can be evaluated
        ("answers.agreed || answers.unanswered", True),  # what is missing does not matter
        ("answers.count > 5 && answers.unanswered", False),
        ("answers.day < today", True),
        ("today - answers.day == duration('48h')", True),
        ("steps['site-visit'].round == 1", True),
        ("sites_of.stay.exists(s, s.answers.operated > 3)", True),
    ],
)
def test_a_condition_says_whether_it_holds(source: str, holds: bool) -> None:
    assert verdict(source) == Verdict(holds)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("answers.unanswered >= 3", ["answers.unanswered"]),
        ("!answers.unanswered", ["answers.unanswered"]),
        ("answers.unanswered", ["answers.unanswered"]),
        ("answers.agreed && answers.unanswered", ["answers.unanswered"]),
        ("answers.never_asked == 1", ["answers.never_asked"]),
        ("answers['never_asked'] == 1", ["answers.never_asked"]),
        ("size(answers.unanswered) > 1", ["answers.unanswered"]),
        ("answers.unanswered.exists(r, r.points > 1)", ["answers.unanswered"]),
        ("answers.rows.all(r, r.points > 0)", ["answers.rows.1.points"]),
        ("answers.rows[5].points > 0", ["answers.rows.5.points"]),
        ("steps.ethics.answers.opinion == 'x'", ["steps.ethics.answers.opinion"]),
        ("steps.data.round == 1", ["steps.data.round"]),
        ("sites_of.stay.all(s, s.answers.operated > 0)", ["sites_of.stay.1.answers.operated"]),
        ("indicators.usability > 68.0", ["indicators.usability"]),
        ("answers.unanswered > 1 && launch.target > 1", ["answers.unanswered", "launch.target"]),
    ],
)
def test_a_condition_that_lacks_a_value_names_it_and_does_not_hold(source: str, missing: list[str]) -> None:
    assert verdict(source) == Verdict(False, tuple(missing))


@pytest.mark.parametrize(
    ("source", "says"),
    [("answers.count / 0 == 1", "division by zero"), ("answers.count", "3, not true"), ("answers.opinion > 3", "overload")],
)
def test_a_condition_that_fails_for_another_reason_says_which(source: str, says: str) -> None:
    found = verdict(source)
    assert (found.holds, found.missing) == (False, ())
    assert says in found.error


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("answers.a > 1 && steps.b.answers.c == 'steps.not_me'", ["answers.a", "steps.b.answers.c"]),
        ('answers["a-b"] // launch.commented_out', ["answers.a-b"]),
        ("sites_of.b.all(s, s.answers.q > 1.5e3)", ["sites_of.b", "sites_of.b.*.answers.q"]),
        ("steps.b.rows.all(s, s.t.filter(r, r.x > launch.y))", ["steps.b.rows", "steps.b.rows.*.t", "steps.b.rows.*.t.*.x", "launch.y"]),
        ("[1, 2].all(x, x > answers.a)", ["answers.a"]),
        ("size(answers.a) > 1 && today.getFullYear() > 2000", ["answers.a", "today"]),
        ("true", []),
    ],
)
def test_a_condition_knows_what_it_reads(source: str, references: list[str]) -> None:
    condition = compile_condition(source)
    assert list(condition.references) == references
    assert condition.names == {reference.partition(".")[0] for reference in references}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("answers.a >=", "something is missing at character 13"),
        ("a && (b", "missing ')'"),
        ("a @ b", "character 3"),
        ("true\n&& )", "line 2"),
        ("", "something is missing"),
        ("(" * 200 + ")" * 200, "nested too deeply"),
    ],
)
def test_a_source_that_is_not_cel_says_where_it_breaks(source: str, says: str) -> None:
    with pytest.raises(InvalidCondition) as refused:
        compile_condition(source)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 250


def test_the_same_source_is_compiled_once() -> None:
    assert compile_condition("answers.a == 1") is compile_condition("answers.a == 1")


def test_values_are_made_ready_for_cel() -> None:
    class Colour(StrEnum):
        RED = "red"

    naive = datetime(2026, 1, 31, 9)  # noqa: DTZ001 - the case under test
    ready = cel_value(
        {"day": date(2026, 1, 31), "at": naive, "sum": Decimal("1.5"), "colour": Colour.RED, "rows": ({"d": date(2026, 1, 1)},)}
    )
    assert ready["day"] == datetime(2026, 1, 31, tzinfo=UTC)
    assert ready["at"] == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert (ready["sum"], type(ready["colour"]), ready["rows"]) == (1.5, str, [{"d": datetime(2026, 1, 1, tzinfo=UTC)}])


def test_cel_is_imported_only_when_a_condition_needs_it() -> None:
    program = """
import json, sys
from protocols.conditions import compile_condition
import protocols.lint
light = compile_condition("true").evaluate({}).holds and not {"cel", "celpy", "lark"} & set(sys.modules)
compile_condition("answers.a == 1")
print(json.dumps([light, "cel" in sys.modules, "celpy" in sys.modules]))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [True, True, False]


@given(st.text(alphabet="answers.abc()[]{}&|!=<>+-*/%?:,'\"01 \\\n", max_size=40))
def test_any_text_is_compiled_or_refused_and_its_evaluation_never_raises(source: str) -> None:
    try:
        condition = compile_condition(source)
    except InvalidCondition:
        return
    assert condition.evaluate(CONTEXT).holds in {True, False}


@pytest.mark.parametrize(
    ("source", "divisor"),
    [
        ("answers.adverse / answers.included > 0.1", "answers.included"),
        ("answers.none / answers.included >= 0.8", "answers.included"),
        ("answers.adverse / double(answers.count) > 0.1", "double(answers.count)"),
        ("answers.adverse / (answers.included + answers.included) > 0.1", "answers.included + answers.included"),
        ("answers.adverse / answers['included'] < 0.1", "answers['included']"),
        ("answers.rows.exists(r, r.a / r.b > 1.0)", "r.b"),
        ("answers.count / answers.count == 1", "answers.count"),
        ("answers.count % answers.count == 1", "answers.count"),
        ("answers.included > 1.0 || answers.adverse / answers.included > 0.1", "answers.included"),
    ],
)
def test_a_division_by_zero_never_decides_and_names_its_divisor(source: str, divisor: str) -> None:
    values = {"adverse": 1.0, "none": 0.0, "included": 0.0, "count": 0, "rows": [{"a": 1.0, "b": 0.0}]}
    found = compile_condition(source).evaluate({"answers": values})
    assert (found.holds, found.missing) == (False, ())
    assert f"`{divisor}`" in found.error
    assert f"`{divisor}`" in found.because["fr"]


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("answers.none > 0.0 && 1.0 / answers.none > 0.1", False),
        ("answers.none == 0.0 || 1.0 / answers.none > 0.1", True),
        ("answers.none > 0.0 ? 1.0 / answers.none > 0.1 : true", True),
        ("answers.two / answers.two / answers.two == 0.5 && 7 / 2 == 3 && 7 % 2 == 1 && -answers.two * 2.0 == -4.0", True),
        ("1.0 / (1.0 / answers.two) == answers.two", True),
    ],
)
def test_a_division_that_is_guarded_or_sound_is_left_as_it_is(source: str, holds: bool) -> None:
    assert compile_condition(source).evaluate({"answers": {"none": 0.0, "two": 2.0}}) == Verdict(holds)


@pytest.mark.parametrize(
    "source", ["double(answers.note) > 3.0", "double(answers.note) != 3.0", "answers.large * answers.large > 1.0", "double('NaN') != 1.0"]
)
def test_what_is_no_finite_number_never_decides(source: str) -> None:
    for note in ("inf", "-Infinity", "NaN"):
        found = compile_condition(source).evaluate({"answers": {"note": note, "large": 1e299}})
        assert not found.holds
        assert "no finite number" in found.error


def nested(deep: int) -> str:
    """A condition over ten to the power of `deep` values."""
    source = "true"
    for number in range(deep):
        source = f"[1,2,3,4,5,6,7,8,9,10].all(x{number}, {source})"
    return source


@pytest.mark.parametrize("source", [nested(7), nested(12), "1+" * 900 + "1 > 2", "answers.rows.filter(r, r.a > 0).size() > 1"])
def test_a_condition_that_could_hold_the_process_is_not_evaluated_in_it(source: str) -> None:
    condition = compile_condition(source)
    assert condition.could_hold({"answers": {"rows": [{"a": number, "b": "x" * 50} for number in range(2_000)]}})


def test_a_condition_over_ordinary_lists_is_evaluated_where_it_is_asked() -> None:
    rows = [{"participant": f"p{number}", "score": float(number)} for number in range(200)]
    for source in (
        "answers.rows.all(r, r.score >= 0.0)",
        "answers.rows.filter(r, r.score > 100.0).size() > 1",
        "answers.rows[3].score > 1.0",
    ):
        assert not compile_condition(source).could_hold({"answers": {"rows": rows}})
        assert compile_condition(source).evaluate({"answers": {"rows": rows}}) == Verdict(True)


CONDITIONS = [
    "answers.a == 1 && (answers.b || !answers.c)",
    "answers['a-b'].all(x, x.y > 1.5 && x in [1, 2])",
    "-1 - -answers.a < 3 * 4 / 5 % 6",
    "a ? b : c ? d : e",
    "{'a': 1, 'b': [2]}['a'] == 1",
    "size(answers.t) > 0x1F && 'it\\'s' != \"b\"",
    "a.f(1, 2).g[0].h >= .5",
    "answers.a // why\n == 3u",
    'r\'a\\b\' == """c\'d"""',
    "has(a.b) || today - a.day > duration('48h')",
    "[1, 2][0] == 1.5e3 && a.b.c(x).d",
    "(((a)) + b) * c == d",
]


def shape(node: Node) -> tuple[Any, ...]:
    """A tree to compare. The one reader takes -1 for a number, the other for what is taken from nothing."""
    if node.op == "neg" and type(node.args[0].value) in (int, float):
        return ("literal", -node.args[0].value)
    return ("literal", node.value) if node.op == "literal" else (node.op, node.name, *map(shape, node.args))


@pytest.mark.parametrize("source", CONDITIONS)
def test_what_runs_a_condition_and_what_checks_it_read_one_tree(source: str) -> None:
    assert shape(read_tree(source)) == shape(read_expression(source))


PARTS = st.sampled_from(["answers.a", "1", "2.5", "'x'", "true", "today"])
OPERATORS = st.sampled_from(["&&", "||", "==", "<", "in", "+", "-", "*", "/", "%"])
SOURCES = st.recursive(
    PARTS,
    lambda inner: (
        st.tuples(inner, OPERATORS, inner).map(lambda parts: f"({' '.join(parts)})")
        | inner.map(lambda part: f"!{part}")
        | inner.map(lambda part: f"[{part}].all(v, {part} == v)")
    ),
    max_leaves=10,
)


@given(SOURCES)
def test_a_source_that_is_guarded_comes_to_what_it_came_to_wherever_that_is_finite(source: str) -> None:
    values = {"answers": {"a": 4.0}, "today": cel_value(date(2026, 2, 2))}
    assert shape(read_tree(source)) == shape(read_expression(source))
    try:
        plain = run(source, values)
    except Exception:  # noqa: BLE001 - whatever the evaluator says
        plain = None
    found = compile_condition(source).evaluate(values)
    assert found.holds is (plain is True) or "zero" in found.error or "finite" in found.error
