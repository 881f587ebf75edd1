from importlib.resources import files

import pytest
from broken import SHAPES, Broken
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.documents import MAX_CHARACTERS
from protocols.errors import InvalidProtocol, Problem
from protocols.lint import lint
from protocols.model import canonical, content_hash
from protocols.parsing import from_json, parse

LIBRARY = files("protocols.library")
HIP = LIBRARY.joinpath("telerehab-hip.yaml").read_text("utf-8")


def problems(text: str) -> list[Problem]:
    with pytest.raises(InvalidProtocol) as refused:
        parse(text, "p.yaml")
    return refused.value.problems


def test_a_protocol_keeps_what_its_document_says() -> None:
    protocol = parse(HIP).protocol
    ethics = next(step for step in protocol.steps if step.id == "ethics")
    assert (protocol.id, len(protocol.steps)) == ("telerehab-hip", 11)
    assert ethics.gate.stop == "answers.opinion == 'unfavourable'"
    assert ethics.checkpoint is not None
    assert ethics.checkpoint.form[0].option_values == ("favourable", "changes_requested", "unfavourable")


def test_a_column_without_a_label_shows_its_id() -> None:
    scores = next(step for step in parse(HIP).protocol.steps if step.id == "follow_up").checkpoint.form[1]  # type: ignore[union-attr]
    assert [column.label for column in scores.columns] == ["participant", "score"]


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("steps.ethics.gate.pass", "      pass: answers.opinion == 'favourable'"),
        ("steps.1.gate.pass", "      pass: answers.opinion == 'favourable'"),
        ("steps.ethics.checkpoint.form.letter.max_mb", "        - {id: letter"),
        ("roles.sponsor", "  sponsor:"),
        ("steps.evaluation.gate.pass", "  - id: evaluation"),  # what is not written has the line of what it belongs to
        ("nowhere", "insitu: 1"),
    ],
)
def test_a_path_leads_to_its_line(path: str, begins: str) -> None:
    assert HIP.splitlines()[parse(HIP).line_of(path) - 1].startswith(begins)


@pytest.mark.parametrize("case", SHAPES, ids=lambda case: case.name)
def test_a_wrong_shape_is_named_at_its_line(case: Broken) -> None:
    text, line = case.texts(LIBRARY)
    found = problems(text)
    assert [(problem.line, problem.code) for problem in found] == [(line, case.code)]
    assert case.says in found[0].message
    assert "Input should" not in found[0].message


def test_all_problems_of_shape_are_told_at_once() -> None:
    broken = HIP.replace("calendar: legal}", "calendar: leagal}").replace("version: 1.1.0", "version: one").replace("pathway:", "patway:")
    assert [problem.code for problem in problems(broken)] == ["bad_value", "unknown_key", "unknown_word", "unknown_word"]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "empty", 1),
        ("# nothing\n", "empty", 1),
        ("- a\n- b\n", "not_a_map", 1),
        ("just words", "not_a_map", 1),
        ("a: 1\n---\nb: 2\n", "not_yaml", 2),
        ("a: 1\nb: \x07\n", "not_yaml", 2),
        ("a: 'open\n", "not_yaml", 2),
        ("a: b: c\n", "not_yaml", 1),
        ("a: 1\n? [x]\n: 2\n", "odd_key", 2),
        ("a: &a [x]\nb: [*a, *a, *a]\n", "not_yaml", 1),
        ("[" * 100, "too_deep", 1),
        ("x" * (MAX_CHARACTERS + 1), "too_large", 0),
        ("a: [" + "x," * 50_000 + "]", "not_yaml", 1),
    ],
)
def test_what_is_not_a_yaml_map_is_refused_with_its_line(text: str, code: str, line: int) -> None:
    assert [(problem.code, problem.line) for problem in problems(text)] == [(code, line)]


def test_no_and_dates_stay_the_words_that_were_written() -> None:
    text = HIP.replace("options: [low, medium, high]", "options: [no, on, 2026-01-31]")
    form = parse(text).protocol.steps[2].checkpoint.form  # type: ignore[union-attr]
    assert form[1].option_values == ("no", "on", "2026-01-31")


@pytest.mark.parametrize("name", ["telerehab-hip", "pre-admission-econsent"])
def test_the_canonical_form_reads_back_as_the_same_protocol(name: str) -> None:
    protocol = parse(LIBRARY.joinpath(f"{name}.yaml").read_text("utf-8")).protocol
    again = from_json(canonical(protocol))
    assert again == protocol
    assert content_hash(again) == content_hash(protocol)


@pytest.mark.parametrize("stored", ["", "{}", "[1]", '{"insitu": 2}', "\x00"])
def test_a_stored_form_that_is_no_protocol_is_refused_politely(stored: str) -> None:
    with pytest.raises(InvalidProtocol, match="stored protocol"):
        from_json(stored)


def reads_or_refuses(text: str) -> None:
    found: list[Problem] = []
    try:
        lint(parse(text))
    except InvalidProtocol as refused:
        found = refused.problems
        assert found, "refused without a reason"
    assert all(problem.message.endswith((".", "?", "`")) for problem in found)


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"%@`#?, \n\t0.~"))
def test_any_text_is_read_or_refused(text: str) -> None:
    reads_or_refuses(text)


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, len(HIP)), length=st.integers(0, 12), put=st.text(alphabet="ab:-[]{}&*!|'\"#?, \n\t0~", max_size=6))
def test_a_mutilated_protocol_is_read_or_refused(start: int, length: int, put: str) -> None:
    reads_or_refuses(HIP[:start] + put + HIP[start + length :])


WRONG = st.sampled_from(
    ["~", "[]", "{}", "5", "-1", "1.5", ".nan", "true", "''", "a b", "[1]", "{a: 1}", "9" * 400, "1e400", "2026-01-01", "'\\'", "[[[]]]"]
)


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 10_000), value=WRONG)
def test_a_value_of_the_wrong_kind_is_read_or_refused(which: int, value: str) -> None:
    lines = HIP.splitlines()
    places = [number for number, line in enumerate(lines) if ": " in line]
    number = places[which % len(places)]
    lines[number] = f"{lines[number].partition(': ')[0]}: {value}"
    reads_or_refuses("\n".join(lines))
