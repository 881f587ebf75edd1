"""Every notice in every language, whatever the titles hold."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from notifications.render import KINDS, LETTERS, Line, Message, Occasion, format_day, format_deadline, known_notices, one_line, render
from protocols.errors import UnknownThing
from protocols.model import LOCALES

EVERY_NOTICE = sorted(KINDS | known_notices())
DEADLINE = datetime(2026, 1, 1, 22, 59, 59, tzinfo=UTC)
HOSTILE = {
    "html": "<script>alert('x')</script>&\"</h1>",
    "mail headers": "Avis\r\nBcc: thief@example.org\n\n<b>",
    "other line breaks": "Avis\u2028Bcc: x\u2029y\x0bz\x85",
    "right to left": "\u202eavis\u2066 \u05d0\u05d1\u05d2 \u0627\u0644\u0639",
    "emoji": "Avis 👩‍⚕️🏥",
    "10,000 characters": "é" * 10_000,
    "template code": "{{ 7 * 7 }}{% endblock %}",
    "lone surrogate": "Avis \ud800",
}


def occasion(notice: str, title: str = "Avis éthique (CPP)", **changes: object) -> Occasion:
    values: dict[str, object] = {
        "experiment": "TELEREHAB-HIP-1",
        "link": "https://insitu.example.org/checkpoints/TELEREHAB-HIP-1:ethics:CAEN:2",
        "step": {"fr": title, "en": title},
        "to_step": title,
        "role": title,
        "site": title,
        "round": 2,
        "deadline": DEADLINE,
    }
    return Occasion(notice, **(values | changes))  # type: ignore[arg-type]


class Tags(HTMLParser):
    """The document's tags and texts, as a mail reader sees them."""

    def __init__(self, message: Message) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(message.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("title", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("notice", EVERY_NOTICE)
def test_every_notice_survives_any_title(notice: str, locale: str, title: str) -> None:
    message = render(occasion(notice, title), locale)
    plain = Tags(render(occasion(notice), locale))
    assert message.subject == one_line(message.subject, longest=1000)
    assert len(message.subject) <= 600
    assert [tag for tag, _ in Tags(message).tags] == [tag for tag, _ in plain.tags]
    assert message.text.count("\n") == render(occasion(notice), locale).text.count("\n")
    (message.subject + message.text + message.html).encode()


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("notice", EVERY_NOTICE)
def test_every_notice_is_complete_when_nothing_optional_is_known(notice: str, locale: str) -> None:
    bare = Occasion(notice, "TELE-1", "https://insitu.example.org/experiments/TELE-1", step="Avis")
    message = render(bare, locale)
    assert message.subject.startswith("Avis – TELE-1")
    assert "None" not in message.text + message.html
    assert "1970" not in message.text


@pytest.mark.parametrize("notice", EVERY_NOTICE)
def test_each_locale_has_its_own_words(notice: str) -> None:
    french, english = (render(occasion(notice), locale) for locale in LOCALES)
    assert french.subject != english.subject
    assert "Expérimentation" in french.text
    assert "Experiment" in english.text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("notice", EVERY_NOTICE)
def test_the_document_says_its_language_and_leads_to_the_link(notice: str, locale: str) -> None:
    page = Tags(render(occasion(notice), locale))
    assert ("html", {"lang": locale}) in page.tags
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == [occasion(notice).link]
    assert occasion(notice).link in page.words
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}


def test_a_subject_begins_with_step_site_and_experiment() -> None:
    french = render(occasion("opened", "Avis", site="CHU Caen (CAEN)", site_code="CAEN"), "fr")
    english = render(occasion("opened", "Opinion", site="", needs="signature"), "en")
    assert french.subject == "Avis – CAEN – TELEREHAB-HIP-1 : à compléter au plus tard le jeudi 1er janvier 2026"
    assert english.subject == "Opinion – TELEREHAB-HIP-1: sign by Thursday 1 January 2026"


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("notice", EVERY_NOTICE)
def test_sixty_characters_tell_experiment_site_and_step(notice: str, locale: str) -> None:
    subject = render(occasion(notice, "Évaluation de la marche avec l’appareil à domicile", site_code="CAEN"), locale).subject
    assert subject[:60].startswith("Évaluation de la")
    assert " – CAEN – TELEREHAB-HIP-1" in subject[:60]


def test_an_escalation_names_who_was_told_before_and_why_the_managers_are() -> None:
    said = render(occasion("escalated", "Avis", told=[{"fr": "Promoteur", "en": "Sponsor"}], nobody="Investigateur"), "fr").text
    assert "Déjà prévenus : Promoteur." in said
    assert "Personne n'exerce aujourd'hui le rôle « Investigateur »" in said


def test_a_deputy_reads_for_whom() -> None:
    message = render(occasion("opened", "Avis", deputised="Alice Martin"), "fr")
    assert "en tant que suppléant de Alice Martin" in message.text
    assert "Alice Martin" in message.html


def test_the_way_out_stands_in_the_mail_and_not_where_others_read() -> None:
    message = render(occasion("opened", "Avis", unsubscribe="https://insitu.example.org/unsubscribe/x"), "fr")
    assert "/unsubscribe/x" in message.html
    assert "/unsubscribe/x" not in message.text
    assert message.headers == {
        "List-Unsubscribe": "<https://insitu.example.org/unsubscribe/x>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", sorted(LETTERS))
def test_every_letter_has_its_words(kind: str, locale: str) -> None:
    message = render(Occasion(kind, link="https://insitu.example.org/x", lines=[Line("Avis – TELE-1", "Complétez", "/y")] * 2), locale)
    assert "https://insitu.example.org/x" in message.text
    assert "https://insitu.example.org/x" in message.html
    assert "None" not in message.text + message.html
    assert "notify" not in known_notices()
    assert not LETTERS & known_notices()


def test_an_unknown_locale_gets_french() -> None:
    assert render(occasion("closed"), "br") == render(occasion("closed"), "fr")


def test_an_unknown_notice_names_those_a_protocol_can_send() -> None:
    with pytest.raises(UnknownThing, match=r"'party' has no template.*experiment-closed"):
        render(occasion("party"), "fr")


def test_a_protocol_cannot_send_the_ledgers_own_notices() -> None:
    assert "experiment-closed" in known_notices()
    assert not known_notices() & KINDS


@pytest.mark.parametrize(
    ("timezone", "locale", "shown"),
    [
        ("Europe/Paris", "fr", "jeudi 1er janvier 2026 à 23 h 59 (Europe/Paris)"),
        ("Europe/Paris", "en", "Thursday 1 January 2026 at 23:59 (Europe/Paris)"),
        ("Indian/Reunion", "fr", "vendredi 2 janvier 2026 à 2 h 59 (Indian/Reunion)"),
        ("America/Guadeloupe", "en", "Thursday 1 January 2026 at 18:59 (America/Guadeloupe)"),
    ],
)
def test_a_deadline_is_told_where_the_site_stands(timezone: str, locale: str, shown: str) -> None:
    assert format_deadline(DEADLINE, timezone, locale) == shown
    assert shown.startswith(format_day(DEADLINE, timezone, locale))
