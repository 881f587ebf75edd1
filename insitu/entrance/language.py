"""The pages' languages: gettext catalogues whose keys are the English sentences, and dates and numbers as people read them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent, get_decimal_symbol
from babel.support import Translations

from protocols.model import LOCALES
from protocols.phrase import Phrase


def N_(sentence: str) -> str:  # gettext's own name for it, which its tools look for
    """Mark a sentence for the catalogues; it is translated where it is shown."""
    return sentence


# The ledger's own words (statuses, states, phases, what a step needs), as people read them.
WORDS = {
    "waiting": N_("waiting"),
    "open": N_("open"),
    "working": N_("under way"),
    "incident": N_("incident"),
    "passed": N_("passed"),
    "skipped": N_("not applicable"),
    "returned": N_("returned"),
    "stopped": N_("stopped"),
    "running": N_("running"),
    "on_hold": N_("on hold"),
    "closed": N_("closed"),
    "active": N_("active"),
    "late": N_("late"),
    "blocked": N_("blocked"),
    "due": N_("due"),
    "answers": N_("to fill in"),
    "signature": N_("to sign"),
    "actions": N_("automated action"),
    "condition": N_("condition"),
    "preparation": N_("Preparation"),
    "before": N_("Before the stay"),
    "during": N_("During the stay"),
    "after": N_("After the stay"),
    "closure": N_("Closure"),
    "sent": N_("sent"),
    "sending": N_("being sent"),
    "failed": N_("failed, will be tried again"),
    "refused": N_("could not be sent"),
    "muted": N_("not sent, as the person asked"),
    "postponed": N_("waits for the person's hours"),
    "digested": N_("waits for a message that gathers several"),
    "dropped": N_("not sent, no longer true"),
    "public_hospital": N_("public hospital"),
    "private_clinic": N_("private clinic"),
    "nursing_home": N_("nursing home"),
    "town_practice": N_("town practice"),
    "home_care": N_("home care"),
    "other": N_("other"),
    "delegation": N_("delegation"),
    "training": N_("training"),
}


class Language:
    """One language of the pages, `fr` or `en`."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.locale = Locale.parse({"en": "en_GB"}.get(code, code))
        self.translations = _translations(code)

    def __call__(self, sentence: str, **values: Any) -> str:
        """The sentence in this language, its blanks filled; itself where the catalogue has none."""
        said = self.translations.gettext(sentence) if sentence else ""
        return said.format(**values) if values else said

    def count(self, one: str, many: str, count: int, **values: Any) -> str:
        """The sentence for a number of things, which stands in it as `{count}`."""
        return self.translations.ngettext(one, many, count).format(count=self.number(count), **values)

    def text(self, said: str) -> str:
        """A message in this language: a `Phrase` by its template, any other text by itself."""
        if isinstance(said, Phrase):
            return self(said.template).format(**{name: self._value(value) for name, value in said.values.items()})
        return self(said)

    def _value(self, value: Any) -> Any:
        """A phrase within a phrase in this language, and a status, a date or a decimal as people read it."""
        if isinstance(value, StrEnum):
            return self.word(value.value)
        if isinstance(value, float):
            return self.number(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            return self.day(value, short=True)
        if isinstance(value, Mapping):
            return "; ".join(f"{name}: {self.text(said)}" for name, said in value.items())
        return self.text(value) if isinstance(value, Phrase) else value

    def word(self, name: str) -> str:
        """One of the ledger's words, such as a status."""
        return self(WORDS.get(name, name))

    def day(self, value: date | str | None, *, short: bool = False) -> str:
        """`Monday 5 January 2026`, or `5 Jan 2026`; a text is read as ISO 8601; "" for None."""
        if not value:
            return ""
        day = date.fromisoformat(value[:10]) if isinstance(value, str) else value
        return str(format_date(day, format="d MMM y" if short else "EEEE d MMMM y", locale=self.locale))

    def moment(self, value: datetime | str | None, timezone: str = "Europe/Paris") -> str:
        """A moment where it matters, with the hour and the city whose time it is: `5 Jan 2026, 10:00 (Paris)`; "" for None."""
        if not value:
            return ""
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        said = format_datetime(moment, "d MMM y, HH:mm", tzinfo=ZoneInfo(timezone), locale=self.locale)
        return f"{said} ({timezone.rpartition('/')[2].replace('_', ' ')})"

    def since(self, value: datetime | str | None, now: datetime) -> str:
        """How long ago, in words: `3 days ago`; "" for None."""
        if not value:
            return ""
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return str(format_timedelta(moment - now, add_direction=True, locale=self.locale))

    @property
    def decimal(self) -> str:
        """The mark before decimals."""
        return str(get_decimal_symbol(self.locale))

    def number(self, value: float) -> str:
        return str(format_decimal(value, locale=self.locale))

    def percent(self, value: float) -> str:
        return str(format_percent(value, locale=self.locale))


@cache
def language(code: str) -> Language:
    """The language of a code; another than `fr` or `en` gives French."""
    return Language(code if code in LOCALES else LOCALES[0])


def preferred(accept: str, default: str) -> str:
    """The code that a browser's Accept-Language asks for, else the default."""
    wanted = [part.partition(";")[0].strip().replace("-", "_") for part in accept.split(",") if part.strip()]
    return negotiate_locale([*wanted, *(one.partition("_")[0] for one in wanted)], list(LOCALES)) or default


@cache
def _translations(code: str) -> Translations:
    merged = Catalog(locale=code)
    folder = files("insitu") / "catalogues" / code
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name) if folder.is_dir() else ():
        if entry.name.endswith(".po"):
            for message in read_po(io.BytesIO(entry.read_bytes()), locale=code):
                if message.id and message.string:
                    merged.add(message.id, message.string)
    content = io.BytesIO()
    write_mo(content, merged)
    content.seek(0)
    return Translations(content)
