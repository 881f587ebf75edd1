"""Numbers as people write them, in French and in English."""

from __future__ import annotations

import math
import re

# Blanks and apostrophes stand between groups of three figures, the same all through, and nowhere else: 120 80 is a blood pressure.
_BLANK = " \t\u00a0\u202f\u2009'’"
_WRITTEN = re.compile(rf"([+-]?)(\d+|\d{{1,3}}(?:([{_BLANK}])\d{{3}})(?:\3\d{{3}})*)?(?:([.,])(\d*))?", re.ASCII)
_GROUPED = re.compile(r"([+-]?[1-9]\d{0,2})[.,](\d{3})", re.ASCII)
LONGEST = 1000


def number_of(text: str, decimal: str = ",") -> float | int | str:
    """The number a text means, with a decimal comma or point and blanks between thousands; any other text as it is.

    `decimal` is the decimal mark of the reader's language. The other mark before three figures could part thousands (1,500 on an English
    page): such a text stays text, and `readings` tells both numbers it could be.
    """
    plain = text.strip(_BLANK).replace("\u2212", "-")
    written = _WRITTEN.fullmatch(plain) if len(plain) <= LONGEST else None
    if written is None or not (written[2] or written[5]) or (written[4] not in (None, decimal) and readings(plain)):
        return text
    sign, whole, _, mark, part = written.groups()
    figures = re.sub(rf"[{_BLANK}]", "", whole or "")
    number = float(f"{sign}{figures}.{part}") if mark else int(sign + figures)
    return text if number in (math.inf, -math.inf) else number


def readings(text: str) -> tuple[int, float] | None:
    """The two numbers a text can mean whose one mark parts thousands or decimals: 1,500 is 1500 or 1.5; None for any other text."""
    written = _GROUPED.fullmatch(text.strip())
    return (int(written[1] + written[2]), float(f"{written[1]}.{written[2]}")) if written else None
