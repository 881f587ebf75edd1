from importlib.resources import files

import pytest
from broken import SENSES, Broken

from protocols.errors import InvalidProtocol
from protocols.lint import Known, lint, load
from protocols.parsing import parse

LIBRARY = files("protocols.library")
WARNINGS = {
    "unused_role",
    "integer_division",
    "never_returns",
    "never_stops",
    "long_deadline",
    "missing_translation",
    "has_is_always_true",
    "nobody_to_remind",
}
OPENING = """
insitu: 1
id: small
version: 1.0.0
title: Small
solution: {name: S}
roles:
  manager: {scope: experiment, title: M}
  nurse: {scope: site, title: N}
steps:
"""


def text_of(name: str) -> str:
    return LIBRARY.joinpath(f"{name}.yaml").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(path.name.removesuffix(".yaml") for path in LIBRARY.iterdir() if path.name.endswith(".yaml")))
def test_the_library_has_no_problem(name: str) -> None:
    assert lint(parse(text_of(name), name)) == []


@pytest.mark.parametrize("case", SENSES, ids=lambda case: case.name)
def test_a_wrong_sense_is_named_at_its_line(case: Broken) -> None:
    text, line = case.texts(LIBRARY)
    problems = lint(parse(text, "p.yaml"))
    found = [problem for problem in problems if problem.code == case.code]
    assert line in [problem.line for problem in found], [str(problem) for problem in problems]
    at_line = next(problem for problem in found if problem.line == line)
    assert case.says in at_line.message
    assert at_line.level == ("warning" if case.code in WARNINGS else "error")


def test_loading_refuses_errors_and_lets_warnings_pass() -> None:
    text = text_of("telerehab-hip")
    assert load(text.replace("title: {fr: Convention, en: Site agreement}", "title: {fr: Convention}")).id == "telerehab-hip"
    with pytest.raises(InvalidProtocol, match=r"hip\.yaml:123: .*insurance_checked.*\[unknown_field\]"):
        load(text.replace("answers.insurance_checked", "answers.insurance_chequed"), "hip.yaml")


def test_names_outside_the_protocol_are_checked_when_they_are_given() -> None:
    parsed = parse(text_of("telerehab-hip"))
    known = Known(templates=["ethics-dossier", "site-pack"], notices=["experiment-close"])
    assert [problem.code for problem in lint(parsed, known)] == ["unknown_template", "unknown_notice"]
    assert {problem.code for problem in lint(parsed, Known(actions=["render", "notify"]))} == {"unknown_action"}


def test_every_circle_is_named() -> None:
    steps = "".join(f"  - {{id: {step}, title: T, phase: during, after: [{after}]}}\n" for step, after in ["ab", "ba", "cd", "dc"])
    circles = [problem.message for problem in lint(parse(OPENING + steps)) if problem.code == "circle"]
    assert len(circles) == 2


GATE = """  - id: visit
    title: V
    phase: during
    scope: {scope}
    checkpoint:
      role: {role}
      form:
        - {{id: yes_no, type: boolean, required: true}}
        - {{id: maybe, type: boolean}}
        - {{id: colour, type: choice, required: true, options: [red, green, dark-blue]}}
        - {{id: seen, type: choices, options: [sky, sea]}}
        - {{id: count, type: integer}}
        - {{id: score, type: number}}
        - {{id: note, type: text}}
        - {{id: day, type: date}}
        - {{id: rows, type: table, columns: [{{id: who, type: text}}, {{id: points, type: integer}}]}}
    gate: {{pass: "{condition}"}}
  - {{id: site-visit, title: V, phase: during, scope: site, after: [visit], checkpoint: {{role: nurse, form: [{{id: ok, type: boolean}}]}}}}
  - {{id: end, title: E, phase: closure, after: [site-visit], checkpoint: {{role: manager}}}}
"""


def codes(condition: str, scope: str = "experiment") -> list[str]:
    role = "nurse" if scope == "site" else "manager"
    text = OPENING + GATE.format(condition=condition.replace('"', '\\"'), scope=scope, role=role)
    return [problem.code for problem in lint(parse(text)) if problem.code not in {"unused_role", "unreachable_step"}]


@pytest.mark.parametrize(
    "condition",
    [
        "answers.yes_no && (answers.maybe || !answers.yes_no)",
        "answers.colour in ['red', 'dark-blue']",
        "answers['colour'] == 'green'",
        "'sky' in answers.seen && size(answers.seen) == 1",
        "answers.score >= 1 && answers.count > 1.5",  # an int and a double compare
        "double(answers.count) / 2.0 > answers.score",
        "answers.note == null || answers.note.startsWith('x') || answers.note.matches('^.{4,}$')",
        "answers.rows.all(r, r.points > 1 && r.who != '')",
        "answers.rows.filter(r, r.points > 1).size() >= 1",
        "answers.rows.map(r, r.points)[0] == 1 && answers.rows[0].who == 'a'",
        "answers.rows.exists(r, answers.rows.exists_one(q, q.points > r.points))",
        "today - answers.day > duration('48h') && today.getFullYear() > 2000",
        "answers.day < timestamp('2026-01-31T00:00:00Z')",
        "(answers.yes_no ? answers.count : 3) > 2",
        "{'red': 1}[answers.colour] == 1",
        "sites.active - sites.stopped >= 1",
        "steps.visit.round > 1 || answers.count % 2 == 0",
        "steps.visit.status == 'open' || answers.yes_no",
    ],
)
def test_a_sound_condition_earns_no_problem(condition: str) -> None:
    assert codes(condition) == []


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("answers.colour == 'blue'", "unknown_option"),
        ("'sand' in answers.seen", "unknown_option"),
        ("answers.seen == 'sky'", "unlike_types"),
        ("answers.seen.contains('sky')", "unlike_types"),
        ("answers.count in ['1']", "unlike_types"),
        ("answers.count + answers.score > 1.0", "unlike_types"),
        ("answers.note > 3", "unlike_types"),
        ("answers.note.size() > 3", "size_of_text"),
        ("size(answers.note) > 3", "size_of_text"),
        ("size('Hôpital') == 7", "size_of_text"),
        ("participants.complete >= 40", "without_effect"),
        ("indicators.usability > 68.0", "without_effect"),
        ("answers.score / answers.score > 0.1", "unguarded_division"),
        ("double(answers.count) / double(answers.count) > 0.1", "unguarded_division"),
        ("answers.count % 0 == 1", "unguarded_division"),
        ("answers.rows.all(r, answers.rows.all(q, answers.rows.all(p, p.points > q.points)))", "costly"),
        ("answers.note.matches(answers.note)", "costly"),
        ("answers.rows.map(r, answers.rows).size() > 0", "costly"),
        ("answers.note.size > 3", "unlike_types"),
        ("answers.rows.points > 3", "unlike_types"),
        ("answers.rows.all(r, r.point > 1)", "unknown_field"),
        ("answers.rows.all(r, r.points)", "not_boolean"),
        ("answers.count.exists(r, r > 1)", "unlike_types"),
        ("answers.rows.exists(r.points > 1)", "wrong_arguments"),
        ("r.points > 1", "unknown_name"),
        ("answers.maybe > answers.yes_no", "unordered"),
        ("answers.day == '2026-01-31'", "unlike_types"),
        ("answers.day < timestamp('2026-01-31')", "wrong_arguments"),
        ("today - answers.day > duration('2d')", "wrong_arguments"),
        ("has(answers.note)", "has_is_always_true"),
        ("has(answers)", "not_cel"),
        ("now() > answers.day", "unknown_function"),
        ("max(answers.count, 1) > 1", "unknown_function"),
        ("answers.note.upper() == 'X'", "unknown_function"),
        ("!answers.count", "not_boolean"),
        ("-answers.note == 'x'", "unlike_types"),
        ("answers.yes_no ? 1 : 2", "not_boolean"),
        ("steps.visit.state == 'open'", "unknown_part"),
        ("steps.visit.status == 'opened'", "unknown_option"),
        ("sites_of.end.size() > 0", "wrong_scope"),
        ("steps.end.status == 'passed'", "not_yet_known"),
        ("sites_of['site-visit'].all(s, s.answers.ok)", "not_yet_known"),
        ("site.kind == 'hospital'", "wrong_scope"),
        ("answers.yes_no && !answers.yes_no", "never_passes"),
        ("answers.colour == 'red' && answers.colour == 'green'", "never_passes"),
        ("answers.colour == null", "never_passes"),  # a required answer is never null
        ("!(answers.maybe == null || answers.maybe || !answers.maybe)", "never_passes"),
        ("1 > 2 && answers.note == 'x'", "never_passes"),
        ("answers.yes_no ? false : answers.yes_no", "never_passes"),
    ],
)
def test_an_unsound_condition_earns_its_problem(condition: str, code: str) -> None:
    assert codes(condition) == [code]


@pytest.mark.parametrize("condition", ["!has(answers.note)", "!has(answers.note) && answers.yes_no", "has(answers.note) ? false : true"])
def test_what_only_an_absent_field_could_pass_never_passes(condition: str) -> None:
    assert codes(condition) == ["has_is_always_true", "never_passes"]


@pytest.mark.parametrize(
    "condition",
    [
        "answers.score > 0.0 && 1.0 / answers.score > 0.1",
        "answers.score != 0.0 && answers.yes_no && 1.0 / answers.score > 0.1",
        "answers.score == 0.0 || 1.0 / answers.score > 0.1",
        "answers.score + 1.0 > 0.0 && 1.0 / (answers.score + 1.0) > 0.1",
        "answers.count > 0 && 1.0 / double(answers.count) > 0.1",
        "answers.score / 2.0 > 0.1",
        "double(sites.active) / double(sites.count) > 0.5",
    ],
)
def test_a_divisor_that_something_guards_earns_no_warning(condition: str) -> None:
    assert codes(condition) == []


def test_a_field_that_is_never_zero_guards_itself() -> None:
    text = OPENING + GATE.format(condition="1.0 / answers.score > 0.5", scope="experiment", role="manager")
    assert [problem.code for problem in lint(parse(text)) if "division" in problem.code] == ["unguarded_division"]
    bounded = text.replace("{id: score, type: number}", "{id: score, type: number, min: 0.5}")
    assert [problem.code for problem in lint(parse(bounded)) if "division" in problem.code] == []


DEEP = "answers.rows.all(r, answers.rows.all(q, q.points >= r.points && answers.rows.exists(p, p.points > q.points)))"


def test_a_condition_that_could_hold_the_house_is_refused_in_a_new_document_with_what_it_takes() -> None:
    text = OPENING + GATE.format(condition=DEEP, scope="experiment", role="manager")
    found = next(problem for problem in lint(parse(text)) if problem.code == "costly")
    assert found.level == "error"
    assert " s on the largest lists" in found.message
    assert "`max`" in found.message
    bounded = text.replace("type: table, columns", "type: table, max: 12, columns")
    assert [problem.code for problem in lint(parse(bounded)) if problem.level == "error"] == []


def test_what_was_released_before_a_rule_is_only_warned_of() -> None:
    text = OPENING + GATE.format(condition=f"{DEEP} && answers.note.size() > 3", scope="experiment", role="manager")
    text = text.replace("answers.note.size() > 3", "true").replace('pass: "', 'stop: answers.note.size() > 3, pass: "')
    text += "participants: {identified_by: code}\nevaluation: {a: 1}\n"
    new, old = lint(parse(text)), lint(parse(text), released=True)
    later = {"costly", "size_of_text", "without_effect"}
    assert {problem.code for problem in new if problem.level == "error"} == later
    assert {problem.code for problem in old if problem.level == "error"} == set()
    assert {problem.code for problem in old} >= later
    assert load(text, released=True).id == "small"
    with pytest.raises(InvalidProtocol):
        load(text)


def test_a_released_table_without_a_bound_keeps_its_thousands_of_rows() -> None:
    text = OPENING + GATE.format(condition="answers.rows.filter(r, r.points > 1).size() > 2", scope="experiment", role="manager")
    assert "costly" not in {problem.code for problem in lint(parse(text))}
    assert [problem.level for problem in lint(parse(text), released=True) if problem.code == "costly"] == ["warning"]


@pytest.mark.parametrize("key", ["participants", "incidents", "evaluation"])
def test_a_block_that_nothing_reads_is_an_error_that_names_what_replaces_it(key: str) -> None:
    text = OPENING + GATE.format(condition="true", scope="experiment", role="manager") + f"{key}: {{complete: nonsense}}\n"
    found = next(problem for problem in lint(parse(text)) if problem.code == "without_effect")
    assert (found.level, found.line) == ("error", text.count("\n"))
    assert "Format 2" in found.message


def test_a_protocol_may_leave_out_what_it_tests() -> None:
    text = OPENING.replace("solution: {name: S}\n", "") + GATE.format(condition="true", scope="experiment", role="manager")
    assert load(text).solution is None


@pytest.mark.parametrize(
    ("bound", "refused"), [("max: 12", False), ("max: 0", True), ("max: 2.5", True), ("max: 6000", True), ("max: many", True)]
)
def test_the_rows_of_a_table_are_bounded_by_a_whole_number(bound: str, refused: bool) -> None:
    text = OPENING + GATE.format(condition="true", scope="experiment", role="manager")
    found = [problem.code for problem in lint(parse(text.replace("type: table, columns", f"type: table, {bound}, columns")))]
    assert ("bad_bound" in found) is refused


def test_lists_that_nobody_could_read_are_refused_before_they_are_checked() -> None:
    steps = "".join(f"  - {{id: s{number}, title: S, phase: during}}\n" for number in range(501))
    assert [problem.code for problem in lint(parse(OPENING + steps))] == ["too_many"]


def test_a_site_step_reads_its_site_but_not_the_list_of_sites() -> None:
    assert codes("site.territory.startsWith('FR')", scope="site") == []
    assert codes("sites_of.visit.size() > 0", scope="site") == ["wrong_scope"]


def test_a_step_whose_name_has_a_dash_is_explained() -> None:
    end = "  - {id: end, title: E, phase: closure, scope: site, after: [site-visit], gate: {pass: 'steps.site-visit.answers.ok'}}\n"
    text = OPENING + GATE.format(condition="true", scope="site", role="nurse").rpartition("  - {id: end")[0] + end
    assert any("steps['site-visit']" in problem.message for problem in lint(parse(text)))


@pytest.mark.parametrize("condition", ["!" * 900 + "answers.yes_no", "(" * 300 + "answers.yes_no" + ")" * 300, "[" * 80 + "]" * 80])
def test_a_monstrous_condition_is_refused_politely(condition: str) -> None:
    assert set(codes(condition)) <= {"not_cel", "not_boolean", "never_passes"}
