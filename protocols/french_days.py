"""The public holidays of law in France, by territory, each with the text that makes it one.

The `holidays` package also counts days of custom (Mi-Carême in Guadeloupe, Victor Schœlcher's day): a term of law that ended on one
would end a day late. A row is `verified` when an official text was read (in a stored copy of Légifrance, on 28 November 2026), and
`to_validate` when none could be: it is then what other sources agree on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Day = Callable[[int], date]


@dataclass(frozen=True, slots=True)
class LegalDay:
    """One holiday: when it is in a year, its article, and where it holds, by the names that `protocols.clocks` gives calendars.

    `everywhere` are the eleven days of the labour code. `since` and `until` are years.
    """

    name: str
    day: Day
    source: str
    where: tuple[str, ...] = ("everywhere",)
    status: Literal["verified", "to_validate"] = "verified"
    since: int = 0
    until: int = 9999


def easter(year: int) -> date:
    """Easter Sunday, by the Gregorian calendar (the anonymous algorithm, Nature, 20 April 1876)."""
    golden, century = year % 19, year // 100
    moon = (19 * golden + century - century // 4 - (8 * century + 13) // 25 + 15) % 30
    moon -= (moon // 28) * (1 - (29 // (moon + 1)) * ((21 - golden) // 11))
    weekday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    after = moon - weekday
    month = 3 + (after + 40) // 44
    return date(year, month, after + 28 - 31 * (month // 4))


def _on(month: int, day: int) -> Day:
    return lambda year: date(year, month, day)


def _after_easter(days: int) -> Day:
    return lambda year: easter(year) + timedelta(days=days)


_CODE = "Code du travail, L3133-1"
_ALSACE_MOSELLE = "Code du travail, L3134-13"
_ABOLITION = "Code du travail, L3422-2 ; loi 83-550 du 30 juin 1983 ; décret 83-1003 du 23 novembre 1983"
_POLYNESIA = "Code du travail de la Polynésie française, partie III"

LEGAL_DAYS = (
    LegalDay("Jour de l'an", _on(1, 1), f"{_CODE}, 1°"),
    LegalDay("Lundi de Pâques", _after_easter(1), f"{_CODE}, 2°"),
    LegalDay("Fête du Travail", _on(5, 1), f"{_CODE}, 3°"),
    LegalDay("Fête de la Victoire", _on(5, 8), f"{_CODE}, 4°"),
    LegalDay("Ascension", _after_easter(39), f"{_CODE}, 5°"),
    LegalDay("Lundi de Pentecôte", _after_easter(50), f"{_CODE}, 6°"),
    LegalDay("Fête nationale", _on(7, 14), f"{_CODE}, 7°"),
    LegalDay("Assomption", _on(8, 15), f"{_CODE}, 8°"),
    LegalDay("Toussaint", _on(11, 1), f"{_CODE}, 9°"),
    LegalDay("Armistice", _on(11, 11), f"{_CODE}, 10°"),
    LegalDay("Noël", _on(12, 25), f"{_CODE}, 11°"),
    # By law only in communes with a Protestant or a mixed church; nobody knows here which commune a site stands in. Counted everywhere
    # there, it can lengthen a term by a day and never shortens one.
    LegalDay("Vendredi saint", _after_easter(-2), _ALSACE_MOSELLE, ("57", "6AE"), "to_validate"),
    LegalDay("Saint-Étienne", _on(12, 26), _ALSACE_MOSELLE, ("57", "6AE"), "to_validate"),
    LegalDay("Abolition de l'esclavage", _on(4, 27), f"{_ABOLITION}, Mayotte", ("976",)),
    LegalDay("Abolition de l'esclavage", _on(5, 22), f"{_ABOLITION}, Martinique", ("972",)),
    LegalDay("Abolition de l'esclavage", _on(5, 27), f"{_ABOLITION}, Guadeloupe", ("971",)),
    # Kept on the 28th since a circular of 4 May 2018; the code (as read of May 2019) and the decree (of May 2024) say the 27th.
    LegalDay("Abolition de l'esclavage", _on(5, 27), f"{_ABOLITION}, Saint-Martin", ("MF",), "to_validate"),
    LegalDay("Abolition de l'esclavage", _on(6, 10), f"{_ABOLITION}, Guyane", ("973",)),
    LegalDay("Abolition de l'esclavage", _on(10, 9), f"{_ABOLITION}, Saint-Barthélemy", ("BL",)),
    LegalDay("Abolition de l'esclavage", _on(12, 20), f"{_ABOLITION}, La Réunion", ("974",)),
    # The labour code of France does not hold in the three Pacific territories: that the eleven days do is to be validated there too.
    LegalDay("Arrivée de l'Évangile", _on(3, 5), _POLYNESIA, ("PF",), "to_validate"),
    LegalDay("Vendredi saint", _after_easter(-2), _POLYNESIA, ("PF",), "to_validate"),
    LegalDay("Fête de l'autonomie", _on(6, 29), _POLYNESIA, ("PF",), "to_validate", until=2025),
    LegalDay("Matari'i", _on(11, 20), f"{_POLYNESIA} ; loi du pays adoptée le 6 mai 2025", ("PF",), "to_validate", since=2026),
    LegalDay("Fête de la Citoyenneté", _on(9, 24), "Code du travail de Nouvelle-Calédonie", ("NC",), "to_validate"),
    LegalDay("Saint Pierre Chanel", _on(4, 28), "Wallis-et-Futuna", ("WF",), "to_validate"),
    LegalDay("Saints Pierre et Paul", _on(6, 29), "Wallis-et-Futuna", ("WF",), "to_validate"),
    LegalDay("Fête du Territoire", _on(7, 29), "Wallis-et-Futuna", ("WF",), "to_validate"),
)


def legal_days(calendar: str | None, year: int) -> Mapping[date, str]:
    """The holidays of a French calendar in a year, by date, with their names; None is the national one."""
    found: dict[date, list[str]] = {}
    for day in _holding(calendar, year):
        found.setdefault(day.day(year), []).append(day.name)
    return {day: "; ".join(sorted(names)) for day, names in sorted(found.items())}


def _holding(calendar: str | None, year: int) -> Iterator[LegalDay]:
    for day in LEGAL_DAYS:
        if day.since <= year <= day.until and (day.where == ("everywhere",) or calendar in day.where):
            yield day
