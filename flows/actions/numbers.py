"""Numbers, days and moments as a reader of a document expects them, by locale."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import date, datetime
from zoneinfo import ZoneInfo

MONTHS = {
    "fr": ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"],
    "en": ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"],
}
NARROW_SPACE = "\u202f"
NO_BREAK = "\u00a0"
MARKS = {"fr": (NARROW_SPACE, ","), "en": (",", ".")}  # between thousands, before decimals
ABSENT = "–"


def written(value: float | None, locale: str) -> str:
    """The number with two decimals at most, or three significant digits below 1; a dash when there is none."""
    if value is None:
        return ABSENT
    decimals = 2 if value == 0 or abs(value) >= 1 else 2 - math.floor(math.log10(abs(value)))
    thousands, comma = MARKS[locale]
    whole, _, fraction = f"{value:,.{decimals}f}".partition(".")
    fraction = fraction.rstrip("0")
    return whole.replace(",", thousands) + (comma + fraction if fraction else "")


def day(moment: datetime | date | str | None, locale: str, timezone: str = "UTC") -> str:
    """The date on the wall at that time zone: `3 mars 2027`. An ISO text is read; a dash when there is none."""
    if moment is None:
        return ABSENT
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment) if "T" in moment else date.fromisoformat(moment)
    local = moment.astimezone(ZoneInfo(timezone)) if isinstance(moment, datetime) else moment
    return f"{local.day}{NO_BREAK}{MONTHS[locale][local.month - 1]}{NO_BREAK}{local.year}"


def minute(moment: datetime, locale: str, timezone: str = "UTC") -> str:
    """The date and the time at that time zone, with its offset: `3 mars 2027, 14:05 (UTC+01:00)`."""
    with suppress(OverflowError):  # at the end of the calendar no other zone can show it
        moment = moment.astimezone(ZoneInfo(timezone))
    local = moment
    offset = local.strftime("%z")
    return f"{day(local.date(), locale)}, {local:%H:%M} (UTC{offset[:3]}:{offset[3:]})"
