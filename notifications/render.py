"""The words of a notice or a letter: one occasion and a language in, a message out.

A message holds the experiment's code, the step, the site, the deadline and a link. What a person typed (answers, reasons, an
experiment's own title) never enters it: the link leads there, behind the reader's own rights.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from protocols.errors import UnknownThing
from protocols.model import LOCALES, Text, in_locale

KINDS = frozenset(
    {"opened", "reminder", "overdue", "escalated", "returned", "reopened", "stopped", "closed", "incident"}
    | {"question", "answer", "declined", "glass"}
)
LETTERS = frozenset({"invitation", "recovery", "channel_test", "checkpoint_link", "digest", "anchor"})
LONGEST_VALUE = 200
# What a letter says of an anchor; `text` is the line itself, which must not be cut.
ANCHOR = ("number", "date", "count", "root", "signer", "key", "hash", "next_key", "text")
LONGEST_ANCHOR = 2000
# What a list of mails on a telephone shows of a subject: step, site and experiment must be told by then.
LONGEST_HEAD = 60
SHORTEST_STEP = 12
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
class Line:
    """A notice among others in a digest: where it stands, what is asked, and the link."""

    head: str
    action: str
    link: str


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a message speaks of. `notice` is a kind of the ledger, the name a `notify` action gives, or a kind of letter.

    `deadline` is aware UTC and shown in `timezone`, so is `until`, when a letter's link ends; `role` is who must act; `needs` is what of
    them. `told` are the roles that earlier rungs of an escalation told, `nobody` the role that was to be told now and that nobody holds;
    `deputised` names those whose deputy the reader is. `unsubscribe` and `choices` are addresses, "" for a duty; `anchor` is what a letter
    about one says of it (`sites.anchors.keeper.in_words`).
    """

    notice: str
    experiment: str = ""
    link: str = ""
    step: Text = ""
    to_step: Text = ""
    role: Text = ""
    site: str = ""
    site_code: str = ""
    round: int = 1
    needs: Literal["answers", "signature", "attention"] = "answers"
    deadline: datetime | None = None
    until: datetime | None = None
    timezone: str = "Europe/Paris"
    told: Sequence[Text] = ()
    nobody: Text = ""
    deputised: str = ""
    unsubscribe: str = ""
    choices: str = ""
    lines: Sequence[Line] = ()
    about: str = ""
    anchor: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """A notice in a person's language. The subject is one line; `html` is a whole document; `headers` are a mail's own."""

    subject: str
    text: str
    html: str
    headers: Mapping[str, str] = field(default_factory=dict)


def render(occasion: Occasion, locale: str) -> Message:
    """The message for this occasion, in French or English (another locale gets French).

    The subject begins with step, site and experiment, in at most 60 characters unless the codes alone are longer.
    The same arguments always give the same message. Titles are shown on one line of at most 200 characters, whatever they hold.
    Raises UnknownThing when no template has the notice's name.
    """
    subject, text, html = (_filled(occasion, locale, layout) for layout in ("subject", "text", "html"))
    return Message(one_line(subject, longest=3 * LONGEST_VALUE), text, html, _headers(occasion))


def line(occasion: Occasion, locale: str) -> Line:
    """The occasion as one of several in a digest. Raises UnknownThing as `render` does."""
    return Line(head(occasion, locale), one_line(_filled(occasion, locale, "line"), longest=3 * LONGEST_VALUE), occasion.link)


def head(occasion: Occasion, locale: str) -> str:
    """Step, site and experiment as a subject begins with them: the step is cut to fit 60 characters, and never to less than 12."""
    codes = " – ".join(one_line(code) for code in (occasion.site_code, occasion.experiment) if code)
    step = one_line(in_locale(occasion.step, locale if locale in LOCALES else LOCALES[0]))
    if not step or not codes:
        return step or codes
    return f"{one_line(step, longest=max(SHORTEST_STEP, LONGEST_HEAD - len(codes) - 3))} – {codes}"


def _filled(occasion: Occasion, locale: str, layout: str) -> str:
    language = locale if locale in LOCALES else LOCALES[0]
    template = _environment(escaped=layout == "html").get_template(_path(occasion.notice, language))
    return template.render(_words(occasion, language), layout=f"layout/{layout}.j2")


def _headers(occasion: Occasion) -> dict[str, str]:
    """What a mail program makes its own button to unsubscribe of (RFC 2369; RFC 8058 for one click, which asks for https)."""
    if not occasion.unsubscribe:
        return {}
    one_click = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if occasion.unsubscribe.startswith("https://") else {}
    return {"List-Unsubscribe": f"<{occasion.unsubscribe}>"} | one_click


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
        "head": head(occasion, locale),
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
        "until": format_deadline(occasion.until, timezone, locale) if occasion.until else "",
        "told": ", ".join(one_line(in_locale(role, locale)) for role in occasion.told),
        "nobody": one_line(in_locale(occasion.nobody, locale)),
        "deputised": one_line(occasion.deputised),
        "unsubscribe": occasion.unsubscribe,
        "choices": occasion.choices,
        "lines": occasion.lines,
        "about": one_line(occasion.about),
        "anchor": {name: one_line(occasion.anchor.get(name, ""), longest=LONGEST_ANCHOR) for name in ANCHOR},
    }


def _path(notice: str, locale: str) -> str:
    if notice in LETTERS:
        return f"letters/{locale}/{notice}.j2"
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
