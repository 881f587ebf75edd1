"""The doors speak French and English, and say the same in both."""

from __future__ import annotations

from string import Formatter

import pytest

from insitu.words import WORDS, terminal_locale


def blanks(words: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(words) if name}


@pytest.mark.parametrize("key", WORDS)
def test_every_word_is_there_in_both_languages_with_the_same_blanks(key: str) -> None:
    assert WORDS[key].keys() == {"fr", "en"}
    assert all(WORDS[key].values())
    assert blanks(WORDS[key]["fr"]) == blanks(WORDS[key]["en"])


@pytest.mark.parametrize(
    ("environment", "locale"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_GB.UTF-8", "INSITU_LOCALE": "fr"}, "fr"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "fr_FR", "LC_ALL": ""}, "fr"),
    ],
)
def test_a_terminal_is_spoken_to_in_its_own_language(environment: dict[str, str], locale: str) -> None:
    assert terminal_locale(environment) == locale
