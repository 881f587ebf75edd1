"""What every signature asks for: a proof of who signs, and a text that says what it means, which is never the signer's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocols.errors import InvalidInput
from protocols.model import LOCALES, Text, in_locale
from protocols.phrase import Phrase

# What an act that signs calls before it does: it raises NotProven unless the signer proves now that it is them. The act asks for it itself,
# and only where something is to be signed: a repeat signs nothing, and the code of an authenticator works once.
Prove = Callable[[], None]

Meanings = Mapping[str, str]  # what a signature means, by language


def unasked() -> None:
    """The proof where none is asked: on the machine itself, where whoever runs commands may do everything (docs/security.md)."""


def meanings_of(text: Text) -> Meanings:
    """A protocol's text in each language; where a translation is missing, in the other."""
    return {locale: in_locale(text, locale) for locale in LOCALES}


def meaning_to_keep(meanings: Meanings, given: str | None, locale: str) -> str:
    """The text kept with a signature: the one that was shown, `given`, or with None the one in the signer's language.

    Raises InvalidInput for a text of the signer's own: a signature means what was asked for.
    """
    if given is None:
        return meanings.get(locale) or next(iter(meanings.values()))
    # Forms and files change the ends of lines and the blanks around a text, never its words.
    shown = next((text for text in meanings.values() if text.split() == given.split()), None)
    if shown is None:
        texts = " / ".join(f"“{text}”" for text in dict.fromkeys(meanings.values()))
        raise InvalidInput(
            Phrase(
                "A signature here means {texts}, and nothing else. Send one of these as its meaning, or leave the meaning out.", texts=texts
            )
        )
    return shown
