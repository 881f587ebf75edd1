"""Every sentence a door can say is in the catalogues, with the same blanks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Formatter

from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po

HOUSE = Path(__file__).parents[2]
# In Python a sentence is marked by N_ or made a Phrase; in a template it is said by _ or n_.
KEYWORDS = {"python": {"N_": None, "Phrase": None}, "jinja2.ext:babel_extract": {"_": None, "n_": (1, 2)}}

OPTIONS = {"silent": "false", "extensions": "jinja2.ext.do,jinja2.ext.loopcontrols"}


def sources() -> Iterator[tuple[str, Path]]:
    for room in ("protocols", "sites", "notifications", "insitu"):
        yield from (("python", path) for path in sorted((HOUSE / room).rglob("*.py")))
    yield from (("jinja2.ext:babel_extract", path) for path in sorted((HOUSE / "insitu/web/templates").rglob("*.html")))


def sentences() -> dict[str, str]:
    """Every sentence (of a plural, the first form) with where it stands."""
    found: dict[str, str] = {}
    for method, path in sources():
        for line, message, _, _ in extract_from_file(method, path, keywords=KEYWORDS[method], options=OPTIONS):
            one = message[0] if isinstance(message, tuple) else message
            if one:
                found.setdefault(one, f"{path.relative_to(HOUSE)}:{line}")
    return found


def catalogue(locale: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted((files("insitu") / "catalogues" / locale).iterdir(), key=str):
        for message in read_po(io.BytesIO(file.read_bytes()), locale=locale, abort_invalid=True):
            if message.id:
                key = message.id[0] if isinstance(message.id, tuple) else message.id
                found[key] = message.string if isinstance(message.string, tuple) else (message.string,)
    return found


def blanks(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_every_sentence_is_in_french() -> None:
    french = catalogue("fr")
    missing = [f"{where}: {sentence}" for sentence, where in sentences().items() if not all(french.get(sentence, ("",)))]
    assert missing == []


def test_a_translation_has_the_blanks_of_its_sentence() -> None:
    wrong = [key for key, said in catalogue("fr").items() if any(blanks(one) - blanks(key) for one in said)]
    assert wrong == []


def test_no_translation_is_left_without_its_sentence() -> None:
    assert sorted(catalogue("fr").keys() - sentences().keys()) == []
