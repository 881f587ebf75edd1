"""The words of a notice: one occasion and a language in, a message out.

A message holds the experiment's code, the step, the site, the deadline and a link. What a person typed (answers, reasons, an
experiment's own title) never enters it: the link leads there, behind the reader's own rights.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from protocols.errors import UnknownThing
from protocols.model import LOCALES, Text, in_locale

KINDS = frozenset({"opened", "reminder", "overdue", "escalated", "returned", "stopped", "closed", "incident"})
LONGEST_VALUE = 200
# Characters that turn the direction of what follows: a title must not rearrange the sentence around it (Unicode TR 36).
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

DAYS = {
    "fr": ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    "en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
}
MONTHS = {
    "fr": ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"],
    "en": ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"],
}


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a message speaks of. `notice` is a kind of the ledger or the name a `notify` action gives.

    `deadline` is aware UTC and shown in `timezone`; `role` is who must act; `needs` is what of them.
    """

    notice: str
    experiment: str
    link: str
    step: Text = ""
    to_step: Text = ""
    role: Text = ""
    site: str = ""
    round: int = 1
    needs: Literal["answers", "signature", "attention"] = "answers"
    deadline: datetime | None = None
    timezone: str = "Europe/Paris"


@dataclass(frozen=True, slots=True)
class Message:
    """A notice in a person's language. The subject is one line; `html` is a whole document."""

    subject: str
    text: str
    html: str


def render(occasion: Occasion, locale: str) -> Message:
    """The message for this occasion, in French or English (another locale gets French).

    The same arguments always give the same message. Titles are shown on one line of at most 200 characters, whatever they hold.
    Raises UnknownThing when no template has the notice's name.
    """
    language = locale if locale in LOCALES else LOCALES[0]
    path = _path(occasion.notice, language)
    words = _words(occasion, language)
    subject, text, html = (
        _environment(escaped=layout == "html").get_template(path).render(words, layout=f"layout/{layout}.j2")
        for layout in ("subject", "text", "html")
    )
    return Message(subject=one_line(subject, longest=3 * LONGEST_VALUE), text=text, html=html)


@cache
def known_notices() -> frozenset[str]:
    """The names a protocol's `notify` action may use: each has a template in every locale."""
    return _templates() - KINDS


def one_line(text: str, *, longest: int = LONGEST_VALUE) -> str:
    """The text without line breaks, control characters and changes of direction, cut to `longest` characters.

    A line break in a subject would let a title write mail headers of its own.
    """
    kept = (" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text if _is_shown(char))
    line = " ".join("".join(kept).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def format_day(moment: datetime, timezone: str, locale: str) -> str:
    """`lundi 5 janvier 2026` or `Monday 5 January 2026`: the day it is there at that moment."""
    local = moment.astimezone(ZoneInfo(timezone))
    number = "1er" if locale == "fr" and local.day == 1 else local.day
    return f"{DAYS[locale][local.weekday()]} {number} {MONTHS[locale][local.month - 1]} {local.year}"


def format_deadline(moment: datetime, timezone: str, locale: str) -> str:
    """The day with its hour, and the time zone they are told in."""
    local = moment.astimezone(ZoneInfo(timezone))
    hour = f"à {local.hour} h {local.minute:02}" if locale == "fr" else f"at {local.hour:02}:{local.minute:02}"
    return f"{format_day(moment, timezone, locale)} {hour} ({timezone})"


def _words(occasion: Occasion, locale: str) -> dict[str, object]:
    deadline, timezone = occasion.deadline, occasion.timezone
    return {
        "locale": locale,
        "experiment": one_line(occasion.experiment),
        "step": one_line(in_locale(occasion.step, locale)),
        "to_step": one_line(in_locale(occasion.to_step, locale)),
        "role": one_line(in_locale(occasion.role, locale)),
        "site": one_line(occasion.site),
        "round": occasion.round,
        "needs": occasion.needs,
        "link": occasion.link,
        "day": format_day(deadline, timezone, locale) if deadline else "",
        "deadline": format_deadline(deadline, timezone, locale) if deadline else "",
    }


def _path(notice: str, locale: str) -> str:
    if notice not in _templates():
        names = ", ".join(sorted(known_notices()))
        raise UnknownThing(f"Notice {notice!r} has no template. A `notify` action can send: {names}. Correct the protocol.")
    return f"{locale}/{notice}.j2"


@cache
def _templates() -> frozenset[str]:
    paths = _environment(escaped=False).list_templates()
    by_locale = [{path.split("/")[1].removesuffix(".j2") for path in paths if path.startswith(f"{it}/")} for it in LOCALES]
    return frozenset(set.intersection(*by_locale))


@cache
def _environment(*, escaped: bool) -> Environment:
    return Environment(
        loader=PackageLoader("notifications"),
        undefined=StrictUndefined,
        autoescape=escaped,  # noqa: S701 (subjects and text parts are no markup)
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _is_shown(char: str) -> bool:
    # A lone surrogate (Cs) cannot be encoded, and would fail the whole message.
    return char not in BIDI_CONTROLS and unicodedata.category(char) != "Cs"
