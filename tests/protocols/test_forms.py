"""What a form accepts, and what it says to the answers it refuses."""

from datetime import date
from typing import Any

import pytest

from protocols.forms import check_answers
from protocols.model import FormField

TODAY = date(2026, 11, 22)


def field(**parts: Any) -> FormField:
    return FormField.model_validate({"id": "it", "label": "It"} | parts)


def checked(form: FormField, value: Any) -> tuple[dict[str, Any], dict[str, str]]:
    return check_answers([form], {"it": value}, TODAY)


@pytest.mark.parametrize(
    ("parts", "value", "said"),
    [
        ({"type": "text"}, 3, "expected text"),
        ({"type": "text"}, "a\x00b", "null character"),
        ({"type": "long_text"}, "x" * 10_001, "at most 10000"),
        ({"type": "number", "min": 0, "unit": "EUR"}, -1, "at least 0 EUR"),
        ({"type": "number"}, True, "expected a number"),
        ({"type": "number"}, float("nan"), "expected a number"),
        ({"type": "integer", "max": 3}, 4, "at most 3"),
        ({"type": "integer"}, 2.5, "expected a whole number"),
        ({"type": "integer"}, 2**60, "too large"),
        ({"type": "boolean"}, "yes", "expected true or false"),
        ({"type": "date", "max": "today"}, "2026-11-23", "must not be after 2026-11-22"),
        ({"type": "date"}, "22/11/2026", "expected a date such as 2026-11-22"),
        ({"type": "datetime"}, "2026-11-22T09:00", "needs its zone"),
        ({"type": "datetime", "max": "today"}, "2026-11-23T00:00:00+01:00", "must not be after today"),
        ({"type": "datetime", "min": "2026-11-22T09:00"}, "2026-11-22T08:59:00+01:00", "must not be before 2026-11-22T09:00"),
        ({"type": "datetime", "min": "2026-11-22"}, "2026-11-21T23:59:00+01:00", "must not be before 2026-11-22"),
        ({"type": "choice", "options": ["a", "b"]}, "c", "expected one of a, b"),
        ({"type": "choices", "options": ["a", "b"]}, ["a", "z"], "expected one of a, b"),
        ({"type": "file", "accept": ["pdf"]}, {"name": "x.exe", "hash": "0"}, "expected a file of type pdf"),
        ({"type": "table", "columns": [{"id": "n", "type": "integer"}]}, "no", "expected a list of rows"),
    ],
)
def test_a_bad_answer_is_refused_with_what_was_expected(parts: dict[str, Any], value: Any, said: str) -> None:
    kept, errors = checked(field(**parts), value)
    assert kept == {}
    assert said in errors["it"]


@pytest.mark.parametrize("accept", [["PDF"], [".pdf"], [".Pdf", "png"], [" pdf "]])
def test_the_endings_a_field_accepts_are_read_as_they_are_meant(accept: list[str]) -> None:
    one = field(type="file", accept=accept)
    assert checked(one, {"name": "opinion.PDF", "hash": "0"})[1] == {}
    assert one.kinds[0] == "pdf"
    assert list(one.accept) == accept
    for name in ("opinion.exe", "pdf", "opinion"):
        assert "expected a file of type pdf" in checked(one, {"name": name, "hash": "0"})[1]["it"]


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ({"type": "datetime", "max": "today"}, "2026-11-22T23:59:00+01:00"),
        ({"type": "datetime", "min": "2026-11-22T09:00"}, "2026-11-22T09:00:00+11:00"),
        ({"type": "datetime", "min": "2026-11-22T09:00:00+00:00"}, "2026-11-22T10:00:00+01:00"),
        ({"type": "integer", "min": 0}, 0),
        ({"type": "text"}, "  مرحبا 🏥 <b>"),
    ],
)
def test_a_good_answer_is_kept_as_it_was_given(parts: dict[str, Any], value: Any) -> None:
    assert checked(field(**parts), value) == ({"it": value}, {})


def test_a_table_names_the_cell_that_is_wrong() -> None:
    table = field(type="table", columns=[{"id": "score", "type": "number", "max": 100, "required": True}])
    assert set(checked(table, [{"score": 1}, {"score": 101}, {}])[1]) == {"it.1.score", "it.2.score"}


def test_a_blank_answer_is_absent_unless_it_is_required() -> None:
    assert checked(field(type="text"), "  ") == ({}, {})
    assert checked(field(type="text", required=True), "  ")[1] == {"it": "an answer is required"}


def test_an_unknown_field_is_refused_with_those_there_are() -> None:
    assert "it has it" in check_answers([field(type="text")], {"other": 1}, TODAY)[1]["other"]


def test_a_hidden_field_is_neither_required_nor_kept() -> None:
    form = [
        FormField.model_validate({"id": "asked", "type": "boolean", "label": "Asked"}),
        field(type="text", required=True, show_if="answers.asked"),
    ]
    assert check_answers(form, {"asked": False, "it": "typed before"}, TODAY) == ({"asked": False}, {})
    assert check_answers(form, {"asked": True}, TODAY)[1] == {"it": "an answer is required"}


@pytest.mark.parametrize("blank", ["\u200b", " \u200b\u2060\ufeff", "\u00ad", "\u3000", "\u3164", "\u2800\ufe0f"])
def test_a_text_of_characters_without_a_width_is_no_answer(blank: str) -> None:
    assert check_answers([field(type="text", required=True)], {"it": blank}, TODAY)[1] == {"it": "an answer is required"}


@pytest.mark.parametrize(
    ("given", "is_today"),
    [
        ("2026-03-01T22:59:00+00:00", True),  # 09:59 of the second in Nouméa
        ("2026-03-02T23:00:00+00:00", False),  # 10:00 of the third
        ("2026-03-01T12:59:00+00:00", False),  # 23:59 of the first
        ("2026-03-02T09:59:00+11:00", True),
    ],
)
def test_a_day_is_judged_where_the_form_is_filled_in(given: str, is_today: bool) -> None:
    form = [field(type="datetime", min="today", max="today")]
    errors = check_answers(form, {"it": given}, date(2026, 3, 2), timezone="Pacific/Noumea")[1]
    assert (errors == {}) is is_today
