"""A protocol's form on a page: what is shown of answers comes back as the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from starlette.datastructures import FormData, UploadFile

from insitu.entrance.language import language
from insitu.entrance.page import environment
from insitu.web.answers import told
from insitu.web.fields import Setting, hidden, shown, summary
from insitu.web.form import answers_of, filled
from protocols.forms import check_answers
from protocols.model import FormField
from protocols.numbers import number_of

TODAY = date(2026, 3, 2)
PARIS = ZoneInfo("Europe/Paris")


def fields(*parts: dict[str, Any]) -> tuple[FormField, ...]:
    return tuple(FormField.model_validate(one) for one in parts)


EVERY = fields(
    {"id": "words", "type": "text"},
    {"id": "story", "type": "long_text"},
    {"id": "weight", "type": "number", "min": -1e9, "max": 1e9, "unit": "kg"},
    {"id": "count", "type": "integer"},
    {"id": "sound", "type": "boolean"},
    {"id": "day", "type": "date"},
    {"id": "moment", "type": "datetime"},
    {"id": "one", "type": "choice", "options": ["a", "b & c", "<d>"]},
    {"id": "of_many", "type": "choice", "options": [f"option {number}" for number in range(9)]},
    {"id": "some", "type": "choices", "options": ["x", "y", "z"]},
    {"id": "letter", "type": "file", "accept": ["pdf"], "max_mb": 10},
    {"id": "who", "type": "person", "role": "nurse"},
    {
        "id": "scores",
        "type": "table",
        "columns": [
            {"id": "name", "type": "text"},
            {"id": "score", "type": "number"},
            {"id": "seen", "type": "boolean"},
            {"id": "marks", "type": "choices", "options": ["p", "q"]},
            {"id": "proof", "type": "file"},
        ],
    },
)


class Browser(HTMLParser):
    """The controls a browser would send of a form, as the HTML standard says; the rows that JavaScript copies are not among them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.sent: list[tuple[str, str | UploadFile]] = []
        self._select: str | None = None
        self._area: str | None = None
        self._text = ""
        self._copied = 0
        self.feed(page)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in pairs}
        self._copied += tag == "template"
        if self._copied:
            return
        if tag == "textarea":
            self._area, self._text = given["name"], ""
        elif tag == "select":
            self._select = given["name"]
            self.sent.append((self._select, ""))
        elif tag == "option" and "selected" in given and self._select:
            self.sent[-1] = (self._select, given["value"])
        elif tag == "input" and given["type"] != "file" and (given["type"] not in ("checkbox", "radio") or "checked" in given):
            self.sent.append((given["name"], given.get("value", "")))

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        self._copied -= tag == "template"
        if tag == "textarea" and self._area:
            self.sent.append((self._area, self._text.removeprefix("\n").replace("\n", "\r\n")))
            self._area = None
        elif tag == "select":
            self._select = None


def html(form: tuple[FormField, ...], answers: Mapping[str, Any], errors: Mapping[str, str] | None = None, locale: str = "fr") -> str:
    said = language(locale)
    setting = Setting(said, TODAY, persons={"nurse": [("n.one", "Nora One"), ("n.two", "Nils Two")]})
    page = environment().from_string('{% import "parts/form.html" as forms with context %}{{ forms.fields(shown, hidden) }}')
    given = {"_": said, "n_": said.count, "language": said}
    return page.render(given | {"shown": shown(form, answers, setting, errors), "hidden": hidden(form, answers, setting)})


def come_back(form: tuple[FormField, ...], answers: Mapping[str, Any], locale: str = "fr") -> dict[str, Any]:
    return filled(form, FormData(Browser(html(form, answers, locale=locale)).sent), before=answers).answers


# Any text a form keeps, but for the line ends that every browser makes alike.
TEXTS = some.text(some.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), min_size=1, max_size=60)
LINES = some.text(some.characters(exclude_characters="\x00\r\n", exclude_categories=["Cs"]), min_size=1, max_size=60)
FILES = some.fixed_dictionaries({"name": LINES, "hash": some.text("0123456789abcdef", min_size=64, max_size=64), "size": some.just(7)})
NUMBERS = some.floats(-1e9, 1e9, allow_nan=False) | some.integers(-(10**9), 10**9)
MOMENTS = some.integers(0, 5_000_000).map(lambda minute: (datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)).astimezone(PARIS))
ROWS = some.fixed_dictionaries(
    {"name": LINES},
    optional={
        "score": NUMBERS,
        "seen": some.booleans(),
        "marks": some.lists(some.sampled_from("pq"), min_size=1, unique=True).map(sorted),
        "proof": FILES,
    },
)
ANSWERS = some.fixed_dictionaries(
    {},
    optional={
        "words": LINES,
        "story": TEXTS,
        "weight": NUMBERS,
        "count": some.integers(-(2**53), 2**53),
        "sound": some.booleans(),
        "day": some.dates(date(1900, 1, 1), date(2100, 1, 1)).map(date.isoformat),
        "moment": MOMENTS.filter(lambda moment: not moment.fold).map(datetime.isoformat),
        "one": some.sampled_from(["a", "b & c", "<d>"]),
        "of_many": some.sampled_from([f"option {number}" for number in range(9)]),
        "some": some.lists(some.sampled_from("xyz"), min_size=1, unique=True).map(sorted),
        "letter": FILES,
        "who": some.sampled_from(["n.one", "n.two", "who left"]),
        "scores": some.lists(ROWS, min_size=1, max_size=4),
    },
)


@settings(max_examples=120, deadline=None)
@given(ANSWERS, some.sampled_from(["fr", "en"]))
def test_answers_shown_on_a_page_come_back_the_same(answers: dict[str, Any], locale: str) -> None:
    assert come_back(EVERY, answers, locale) == answers


@pytest.mark.parametrize(
    "typed",
    [
        {"weight": "12,5 kilos"},
        {"count": "a few"},
        {"day": "the day before"},
        {"moment": "31/12 at noon"},
        {"words": "<script>alert(1)</script>", "story": "\n</textarea><b>" + "x" * 10_000},
        {"words": "=HYPERLINK(1)", "story": "مرحبا 🏥 \u202ertl"},
        {"scores": [{"name": "A", "score": "twelve"}]},
    ],
)
def test_what_is_refused_comes_back_as_it_was_typed(typed: dict[str, Any]) -> None:
    assert come_back(EVERY, typed) == typed
    assert "<script>" not in html(EVERY, typed)
    assert "</textarea><b>" not in html(EVERY, typed)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12,5", 12.5),
        ("12.5", 12.5),
        ("1 234,5", 1234.5),
        ("1\u202f234", 1234),
        ("\u22123", -3),
        (",5", 0.5),
        ("1,234.5", "1,234.5"),
        ("1’234’567", 1234567),
        ("-1 234", -1234),
        ("120 80", "120 80"),
        ("5'30", "5'30"),
        ("1 23", "1 23"),
        ("4 0", "4 0"),
        ("1 234\u202f567", "1 234\u202f567"),
        ("12e3", "12e3"),
        ("nan", "nan"),
        ("", ""),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, number: Any) -> None:
    assert number_of(text) == number
    assert type(number_of(text)) is type(number)


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1,5", ",", 1.5),
        ("1,5", ".", 1.5),
        ("1,500", ",", 1.5),
        ("1,500", ".", "1,500"),
        ("1.500", ",", "1.500"),
        ("1.500", ".", 1.5),
        ("10,000", ".", "10,000"),
        ("0,500", ".", 0.5),
        ("1234,567", ".", 1234.567),
    ],
)
def test_a_mark_that_could_part_thousands_is_not_guessed_at(text: str, decimal: str, number: Any) -> None:
    assert number_of(text, decimal) == number


def test_what_can_be_read_in_two_ways_is_asked_about() -> None:
    form = fields({"id": "doses", "type": "integer"}, {"id": "rate", "type": "number"})
    answers = filled(form, posted(doses="1,500", rate="2,125"), decimal=".").answers
    errors = check_answers(form, answers, TODAY)[1]
    assert language("en").text(errors["doses"]) == "1,500 can be read in two ways: write 1500 without a mark in it, or 1.5"
    assert language("en").text(errors["rate"]) == "2,125 can be read in two ways: write 2125 without a mark in it, or 2.125"


def posted(**values: str) -> FormData:
    return FormData([(f"f-{name}", value) for name, value in values.items()])


def test_a_time_is_read_on_the_sites_clocks() -> None:
    form = fields({"id": "at", "type": "datetime"})
    read = answers_of(form, posted(at="2026-07-01T08:30"), timezone="Indian/Reunion")
    assert read == {"at": "2026-07-01T08:30:00+04:00"}
    assert check_answers(form, read, TODAY) == (read, {})


def test_an_hour_that_the_clocks_skip_is_the_one_they_show_instead() -> None:
    read = answers_of(fields({"id": "at", "type": "datetime"}), posted(at="2026-03-29T02:30"))
    assert datetime.fromisoformat(read["at"]).utcoffset() == timedelta(hours=2)


@pytest.mark.parametrize("hour", ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"])
def test_an_hour_that_the_clocks_show_twice_is_left_as_it_is_by_who_does_not_touch_it(hour: str) -> None:
    form = fields({"id": "at", "type": "datetime"})
    assert come_back(form, {"at": hour}) == {"at": hour}


@pytest.mark.parametrize(
    ("was", "typed"), [("9999-12-31T23:59:59Z", "2026-03-02T10:00"), ("2026-03-02T10:00", "2026-03-02T10:00"), ("x", "2026-03-02T10:00")]
)
def test_a_moment_that_was_refused_can_be_put_right(was: str, typed: str) -> None:
    form = fields({"id": "at", "type": "datetime"})
    sent = FormData([("f-at", typed), ("f-at.was", was)])
    assert answers_of(form, sent) == {"at": "2026-03-02T10:00:00+01:00"}


def test_a_moment_that_no_clock_of_the_site_can_show_is_refused_and_shown_as_it_stands() -> None:
    form = fields({"id": "at", "type": "datetime"}, {"id": "day", "type": "date"})
    answers = {"at": "9999-12-31T23:59:59Z", "day": "0001-01-01"}
    assert check_answers(form, answers, TODAY, timezone="Europe/Paris")[1].keys() == {"at", "day"}
    assert told(form, answers, language("fr"), "Europe/Paris")[0]["text"] == answers["at"]
    assert come_back(form, answers) == answers


def test_a_day_is_read_as_it_is_written_here() -> None:
    form = fields({"id": "day", "type": "date"})
    assert answers_of(form, posted(day="22/11/2026")) == {"day": "2026-11-22"}
    assert answers_of(form, posted(day="32/11/2026")) == {"day": "32/11/2026"}


def test_a_row_is_added_and_removed_without_javascript() -> None:
    rows = [{"name": "A"}, {"name": "B"}]
    sent = Browser(html(EVERY, {"scores": rows})).sent
    assert answers_of(EVERY, FormData([*sent, ("act", "add:scores")]))["scores"] == [*rows, {}]
    assert answers_of(EVERY, FormData([*sent, ("act", "remove:scores.0")]))["scores"] == [{"name": "B"}]


def test_a_file_is_kept_only_if_it_was_there_before() -> None:
    known = {"name": "letter.pdf", "hash": "ab" * 32, "size": 3}
    sent = FormData([("f-letter.keep", "ab" * 32 + ":letter.pdf")])
    assert filled(EVERY, sent, before={"letter": known}).answers == {"letter": known}
    assert filled(EVERY, sent, before={}).answers == {}
    forged = FormData([("hidden-fields", '{"letter": {"name": "x.pdf", "hash": "%s"}}' % ("cd" * 32))])
    assert filled(EVERY, forged, before={"letter": known}).answers == {}


CONDITIONAL = fields(
    {"id": "opinion", "type": "choice", "options": ["yes", "no"], "required": True, "label": {"fr": "Avis", "en": "Opinion"}},
    {"id": "why", "type": "text", "show_if": "answers.opinion == 'no'", "required": True},
)


def test_a_field_that_does_not_apply_is_not_shown_and_keeps_its_answer() -> None:
    answers = {"opinion": "yes", "why": "typed before"}
    assert 'name="f-why"' not in html(CONDITIONAL, answers)
    assert come_back(CONDITIONAL, answers) == answers
    assert 'name="f-why"' in html(CONDITIONAL, answers | {"opinion": "no"})


def test_a_message_stands_beside_its_field_and_in_the_summary() -> None:
    errors = check_answers(CONDITIONAL, {"opinion": "no"}, TODAY)[1]
    page = html(CONDITIONAL, {"opinion": "no"}, errors)
    assert 'aria-describedby="f-why-error"' in page
    assert "une réponse est obligatoire" in page
    assert summary(CONDITIONAL, check_answers(CONDITIONAL, {}, TODAY)[1], language("fr")) == [
        ("f-opinion", "Avis\u00a0: une réponse est obligatoire")
    ]


def test_a_message_about_a_cell_names_its_row() -> None:
    table = fields(
        {"id": "sus", "type": "table", "label": "SUS", "columns": [{"id": "score", "label": "Score", "type": "number", "max": 100}]}
    )
    errors = check_answers(table, {"sus": [{"score": 1}, {"score": 100.5}]}, TODAY)[1]
    assert summary(table, errors, language("fr")) == [
        ("f-sus.1.score", "SUS, ligne 2\u00a0: Score\u00a0: doit valoir au plus 100, pas 100,5")
    ]


def test_bounds_are_told_beside_the_field() -> None:
    form = fields(
        {"id": "pain", "type": "number", "min": 0, "max": 10},
        {"id": "day", "type": "date", "max": "today"},
        {"id": "letter", "type": "file", "accept": ["pdf"], "max_mb": 2.5},
    )
    page = html(form, {}, locale="fr")
    for words in ("Entre 0 et 10", "Aujourd’hui au plus tard", "PDF, 2,5 Mo au plus"):
        assert words in page
    assert 'max="2026-03-02"' in page
