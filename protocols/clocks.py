"""Deadlines: how many days from the opening, counted where the site stands.

Everything is counted in the site's own days: its time zone says when a day begins, its territory which days are public holidays.
The day of the event is never counted (Regulation (EEC) 1182/71, art. 3(1)), and a deadline is the last instant of its last day.

A **suspension** (a hold) stops the count. The day it begins was already under way and stays counted; the days that follow it, up
to and including the day of the release, are not; counting resumes the day after. So a hold from the 1st to the 8th costs seven
days, whatever the hours, and one lifted on the same day costs none. If the last day falls inside a hold, the term ends with the
day of the release at the earliest: nobody becomes late while forbidden to act.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from protocols.errors import InvalidInput
from protocols.french_days import legal_days
from protocols.model import Calendar, Due
from protocols.phrase import Phrase

ONE_DAY = timedelta(days=1)
OFFICE_OPENS = time(8)

# How to count days is in Regulation (EEC) 1182/71, art. 3, and, for French procedure, in articles 641 and 642 of the code of
# civil procedure, which agree.
RULES: Mapping[Calendar, Mapping[str, str]] = {
    Calendar.CALENDAR: {
        "fr": "Jours calendaires à compter du lendemain de l'ouverture, sans report.",
        "en": "Calendar days from the day after the opening, never moved.",
    },
    Calendar.WORKING: {
        "fr": "Du lundi au vendredi hors jours fériés du territoire, à compter du lendemain de l'ouverture.",
        "en": "Monday to Friday outside the territory's public holidays, from the day after the opening.",
    },
    Calendar.LEGAL: {
        "fr": "Jours calendaires à compter du lendemain de l'ouverture ; une fin un samedi, un dimanche ou un jour férié "
        "est reportée au jour ouvré suivant.",
        "en": "Calendar days from the day after the opening; an end on a Saturday, a Sunday or a public holiday moves to "
        "the next working day.",
    },
}

# French places whose holidays differ from the national list, by the name the `holidays` package gives their calendar: department
# number, ISO code, INSEE code. Which days those are stands in `protocols.french_days`.
FRENCH_CALENDARS: Mapping[str, str] = {
    code: calendar
    for calendar, codes in {
        "57": "57",
        "6AE": "6AE 67 68 Alsace-Moselle",
        "971": "971 GP",
        "972": "972 MQ",
        "973": "973 GF",
        "974": "974 RE",
        "976": "976 YT",
        "BL": "BL 977",
        "MF": "MF 978",
        "PM": "PM 975",
        "TF": "TF 984",
        "WF": "WF 986",
        "PF": "PF 987",
        "NC": "NC 988",
    }.items()
    for code in codes.split()
}
# ISO 3166 gives these territories a country code of their own as well: RE and FR-974 are one place.
FRENCH_COUNTRY_CODES = frozenset({"GP", "MQ", "GF", "RE", "YT", "PM", "BL", "MF", "TF", "WF", "PF", "NC"})
# Grand Est (FR-GES) is left out on purpose: its departments do not share one calendar.
FRENCH_NATIONAL = frozenset(
    {f"{number:02}" for number in range(1, 96) if number not in (20, 57, 67, 68)}
    | {"2A", "2B", "20R", "69M", "75C"}
    | {"ARA", "BFC", "BRE", "COR", "CVL", "HDF", "IDF", "NAQ", "NOR", "OCC", "PAC", "PDL"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where days are counted: an ISO 3166 code with an optional subdivision (`FR`, `FR-57`, `BE`), and an IANA time zone."""

    territory: str = "FR"
    timezone: str = "Europe/Paris"


@dataclass(frozen=True, slots=True)
class Suspension:
    """A time during which the clock stands still, from `start` to `end`, both aware."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if _aware(self.end) < _aware(self.start):
            raise ValueError(f"A suspension cannot end ({self.end}) before it starts ({self.start}).")


@dataclass(frozen=True, slots=True)
class Deadline:
    """The last instant of the last day (`due_at`, aware UTC), and how it was found (`trace`, plain JSON)."""

    due_at: datetime
    trace: dict[str, Any]


def deadline(due: Due, opened_at: datetime, place: Place, suspensions: Sequence[Suspension] = ()) -> Deadline:
    """When a step opened at `opened_at` is due at that place, and why.

    The same arguments always give the same answer, whatever the hour within the local day of opening. A suspension before the
    opening changes nothing; one that overlaps another is counted once.
    Raises ValueError for a naive time and InvalidInput for an unknown territory or time zone.
    """
    zone = _zone(place.timezone)
    start = _local_date(opened_at, zone)
    return _counted(due, start, place, tuple((_local_date(hold.start, zone), _local_date(hold.end, zone)) for hold in suspensions))


@lru_cache(maxsize=4096)
def _counted(due: Due, start: date, place: Place, holds: tuple[tuple[date, date], ...]) -> Deadline:
    """The deadline from local days alone; kept, since hundreds of steps open on the same day at the same place."""
    stopped = {day for first, last in holds for day in _days_after(first, last)}

    def works(day: date) -> bool:
        return is_working_day(day, place.territory)

    def counts(day: date) -> bool:
        return day not in stopped and (due.calendar is not Calendar.WORKING or works(day))

    last_counted = next(itertools.islice(filter(counts, _days_after(start)), due.days - 1, None))
    end = _settled(last_counted, holds, _as_is if due.calendar is Calendar.CALENDAR else lambda day: _first(works, day))
    return Deadline(
        due_at=_last_instant(end, _zone(place.timezone)),
        trace={
            "rule": dict(RULES[due.calendar]),
            "calendar": due.calendar.value,
            "days": due.days,
            "start": start.isoformat(),
            "territory": place.territory,
            "timezone": place.timezone,
            "holidays": _met(due.calendar, place.territory, start, last_counted, end),
            "suspended_days": sum(1 for day in stopped if start < day <= end),
            "moved_from": last_counted.isoformat() if end != last_counted else None,
            "end": end.isoformat(),
        },
    )


def reminder_at(deadline: datetime, before: timedelta, place: Place) -> datetime:
    """When to remind, in aware UTC: whole days before fall at 08:00 local of that day, hours are taken off the wall clock.

    Wall-clock arithmetic keeps the hour people see when the clocks change in between.
    """
    return _beside(deadline, -before, place)


def escalation_at(deadline: datetime, after: timedelta, place: Place) -> datetime:
    """When to escalate, in aware UTC: `2d` means 08:00 local of the second day after the due day; hours are wall-clock hours."""
    return _beside(deadline, after, place)


def local_date(now: datetime, place: Place) -> date:
    """The date on the wall at that place."""
    return _local_date(now, _zone(place.timezone))


def next_local_midnight(now: datetime, place: Place) -> datetime:
    """The first instant, in aware UTC and after `now`, of the next local day."""
    zone = _zone(place.timezone)
    return _first_instant(_local_date(now, zone) + ONE_DAY, zone)


def is_working_day(day: date, territory: str) -> bool:
    """Whether it is a day from Monday to Friday, and no public holiday of the territory. Raises InvalidInput for an unknown one."""
    return day.weekday() < 5 and day not in _holidays(territory, day.year)


def known_place(territory: str, timezone: str) -> None:
    """Nothing, if deadlines can be counted there.

    Raises InvalidInput that names the bad one and the nearest valid spelling.
    """
    _calendar_of(territory)
    _zone(timezone)
    if timezone not in _zones():  # `posix/Europe/Paris` and others that a machine may know and the next may not
        raise _unknown_zone(timezone)


# Days


def _days_after(first: date, last: date = date.max) -> Iterator[date]:
    """The days after `first`, up to and including `last`."""
    while first < last:
        first += ONE_DAY
        yield first


def _first(wanted: Callable[[date], bool], day: date) -> date:
    """The first wanted day from `day` on, `day` included."""
    return day if wanted(day) else next(filter(wanted, _days_after(day)))


def _as_is(day: date) -> date:
    return day


def _settled(day: date, holds: Iterable[tuple[date, date]], roll: Callable[[date], date]) -> date:
    """The day on which the term really ends: rolled to a working day where the rule says so, and never inside a hold."""
    end = roll(day)
    for first, release in sorted(holds):
        if first <= end <= release:
            end = roll(release)
    return end


def _met(calendar: Calendar, territory: str, start: date, last_counted: date, end: date) -> list[dict[str, str]]:
    """The public holidays that lengthened the term: on its weekdays if working days are counted, else where its end fell."""
    if calendar is Calendar.CALENDAR:
        return []
    since = start if calendar is Calendar.WORKING else last_counted - ONE_DAY
    found = ((day, _holidays(territory, day.year).get(day)) for day in _days_after(since, end) if day.weekday() < 5)
    return [{"date": day.isoformat(), "name": name} for day, name in found if name]


# Instants


def _aware(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; give an aware time.")
    return moment


def _local_date(moment: datetime, zone: ZoneInfo) -> date:
    return _aware(moment).astimezone(zone).date()


def _first_instant(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _last_instant(day: date, zone: ZoneInfo) -> datetime:
    # From the next midnight backwards: 23:59:59 itself may happen twice or not at all when the clocks change at midnight.
    return _first_instant(day + ONE_DAY, zone) - timedelta(seconds=1)


def _beside(deadline: datetime, distance: timedelta, place: Place) -> datetime:
    zone = _zone(place.timezone)
    wall = _aware(deadline).astimezone(zone).replace(tzinfo=None) + distance
    if distance % ONE_DAY == timedelta(0):
        wall = datetime.combine(wall.date(), OFFICE_OPENS)
    return wall.replace(tzinfo=zone).astimezone(UTC)


# Places


# In the tz database without being a place: whatever the machine is set to, and a mark for one that was never set.
_NO_PLACES = frozenset({"localtime", "Factory", "posixrules"})


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise _unknown_zone(name) from None


def _unknown_zone(name: str) -> InvalidInput:
    advice = _nearest(name, {known: known for known in _zones()}) or Phrase("Give an IANA name such as Europe/Paris.")
    return InvalidInput(Phrase("Time zone {name!r} is not known. {advice}", name=name, advice=advice))


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES


@lru_cache(maxsize=1024)
def _holidays(territory: str, year: int) -> Mapping[date, str]:
    """The public holidays of a territory in a year, by date, with their names (in French where the package knows them).

    Those of France are the days of law, from our own table.
    """
    country, subdivision = _calendar_of(territory)
    if country == "FR":
        return legal_days(subdivision, year)
    entity = _entity(country)
    # Left unsaid, the language would follow the machine's settings.
    language = "fr" if "fr" in entity.supported_languages else entity.default_language
    return dict(entity(subdiv=subdivision, years=year, expand=False, language=language))


@lru_cache(maxsize=256)
def _calendar_of(territory: str) -> tuple[str, str | None]:
    """The country and subdivision under which the `holidays` package keeps this territory's holidays."""
    country, _, subdivision = territory.partition("-")
    if territory in FRENCH_COUNTRY_CODES:
        return "FR", FRENCH_CALENDARS[territory]
    if country == "FR" and (territory == "FR" or subdivision in FRENCH_NATIONAL):
        return "FR", None
    if country == "FR" and subdivision in FRENCH_CALENDARS:
        return "FR", FRENCH_CALENDARS[subdivision]
    return _packaged_calendar(territory, country, subdivision)


def _packaged_calendar(territory: str, country: str, subdivision: str) -> tuple[str, str | None]:
    countries = _countries()
    if country not in countries.values():
        raise _unknown_territory(territory, countries)
    if territory == country:
        return country, None
    entity = _entity(country)
    known, other_names = entity.subdivisions, entity.subdivisions_aliases
    if subdivision in known or subdivision in other_names:
        return country, other_names.get(subdivision, subdivision)
    # Belgium or Luxembourg keep one calendar, so the package knows none of their ISO subdivisions: each is that calendar.
    if _is_iso(subdivision) and not any(map(_is_iso, known)):
        return country, None
    french = (*FRENCH_CALENDARS, *FRENCH_NATIONAL) if country == "FR" else ()
    codes = [country, *(f"{country}-{code}" for code in (*known, *french))]
    raise _unknown_territory(territory, {code: code for code in codes})


def _entity(country: str) -> Any:
    # Imported here: the package loads every country at once (0.1 s, or 0.7 s with cold files), and `calendar` deadlines never need it.
    import holidays

    return getattr(holidays, country)


def _countries() -> Mapping[str, str]:
    """Every spelling of a country that may be meant (`FRA`, `UK`, `France`), with its ISO 3166 two-letter code."""
    from holidays.registry import COUNTRIES

    return {spelling: codes[1] for codes in COUNTRIES.values() for spelling in codes}


def _is_iso(subdivision: str) -> bool:
    return 1 <= len(subdivision) <= 3 and subdivision.isalnum() and subdivision.isascii() and subdivision == subdivision.upper()


def _unknown_territory(territory: str, known: Mapping[str, str]) -> InvalidInput:
    if territory == "FR-GES":
        advice = Phrase("Grand Est has departments with different public holidays: name the department, such as FR-51, FR-57 or FR-67.")
    else:
        advice = _nearest(territory, known) or Phrase("Give an ISO 3166 code such as FR, FR-57, FR-974 or BE.")
    return InvalidInput(Phrase("Territory {territory!r} is not known. {advice}", territory=territory, advice=advice))


def _nearest(word: str, known: Mapping[str, str]) -> Phrase | None:
    """`Did you mean …?`, or nothing when no known spelling is near; a difference of case alone is always near."""
    folded = {spelling.casefold(): name for spelling, name in sorted(known.items())}
    near = difflib.get_close_matches(word.casefold().strip(), folded, n=1, cutoff=0.5)
    return Phrase("Did you mean {near!r}?", near=folded[near[0]]) if near else None
