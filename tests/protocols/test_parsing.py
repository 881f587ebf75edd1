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


# ------------------------------------------------------------------ large and hostile documents


@pytest.mark.parametrize("where", ["", "    "])
def test_thousands_of_unknown_keys_are_told_in_time_in_proportion(where: str) -> None:
    """One nearest spelling costs milliseconds, and each unknown key looked at every other: 34 s for 8,000."""
    keys = "".join(f"{where}unknown_{number}: 1\n" for number in range(4_000))
    text = HIP + keys if not where else HIP.replace("  - id: protocol_review\n", f"  - id: protocol_review\n{keys}", 1)
    assert text != HIP
    found = [problem for problem in problems(text) if problem.code == "unknown_key"]
    assert len(found) == 4_000
    assert found[-1].message.startswith("`unknown_3999` is not a known key")


def test_the_first_unknown_keys_are_advised_and_the_others_are_not() -> None:
    found = [problem.message for problem in problems(HIP + "".join(f"sumary{'y' * number}: 1\n" for number in range(80)))]
    advised = ["Did you mean" in message for message in found]
    assert any(advised)
    assert not advised[-1]
    assert "Known here" in found[-1]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000])
def test_a_document_nested_beyond_measure_is_refused_at_its_line(text: str) -> None:
    assert [(problem.code, problem.line) for problem in problems(text)] == [("too_deep", 1)]


def test_a_protocol_written_as_json_gives_no_key_twice() -> None:
    found = problems('{"insitu": 1,\n "id": "small",\n "id": "other"}')
    assert [(problem.code, problem.line) for problem in found] == [("duplicate_key", 3)]


# ------------------------------------------------------------------ what was written


@pytest.mark.parametrize(
    ("written", "quoted"),
    [("010780062", "'010780062'"), ("1_000", "'1_000'"), ("0x1F", "'0x1F'"), ("1.10", "'1.10'"), ("1e3", "'1e3'"), ("True", "'True'")],
)
def test_advice_quotes_what_was_written_and_not_what_was_read(written: str, quoted: str) -> None:
    found = problems(HIP.replace("name: ReHip\n", f"name: {written}\n"))
    assert [(problem.code, problem.path) for problem in found] == [("bad_value", "solution.name")]
    assert f"not `{written}`" in found[0].message
    assert quoted in found[0].message


def test_a_version_is_quoted_as_it_was_written() -> None:
    assert "not `1.10`" in problems(HIP.replace("version: 1.1.0", "version: 1.10"))[0].message


def test_an_option_that_is_a_number_is_explained_to_whoever_writes_a_scale() -> None:
    found = problems(HIP.replace("options: [low, medium, high]", "options: [0, 1, 02]"))
    assert [problem.path.rpartition(".")[2] for problem in found] == ["0", "1", "2"]
    assert "a text, or a map with a `value` and a `label`" in found[0].message
    assert "`type: integer` with `min` and `max`" in found[0].message
    assert found[2].message.endswith("not `02`. Put quotes around it: '02'.")


def test_no_message_shows_a_pattern() -> None:
    for wrong in ("id: A B", "version: x", "before: soon"):
        key = wrong.partition(":")[0]
        text = "\n".join(line if not line.lstrip().startswith(f"{key}:") else wrong for line in HIP.splitlines())
        text = text if text != HIP else HIP.replace("before: 15d", wrong)
        assert all("^" not in problem.message and "\\d" not in problem.message for problem in problems(text))


def test_no_advice_leads_to_a_key_that_is_no_longer_read() -> None:
    with pytest.raises(InvalidProtocol) as refused:
        parse("insitu: 1\nid: a\nversion: 1.0.0\ntitle: A\nincident: []\nroles: {}\nsteps: []\n")
    assert "`incident` is not a known key" in str(refused.value)
    assert "Did you mean" not in str(refused.value)
