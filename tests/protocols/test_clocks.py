"""Deadlines, counted by hand beside each case."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.clocks import (
    Deadline,
    Place,
    Suspension,
    deadline,
    escalation_at,
    is_working_day,
    known_place,
    local_date,
    next_local_midnight,
    reminder_at,
)
from protocols.errors import InvalidInput
from protocols.french_days import LEGAL_DAYS
from protocols.model import Calendar, Due

PARIS = Place()
PLACES = {
    "FR": PARIS,
    "FR-57": Place("FR-57"),
    "FR-67": Place("FR-67"),
    "FR-75": Place("FR-75"),
    "FR-971": Place("FR-971", "America/Guadeloupe"),
    "FR-973": Place("FR-973", "America/Cayenne"),
    "FR-974": Place("FR-974", "Indian/Reunion"),
    "FR-PF": Place("FR-PF", "Pacific/Tahiti"),
    "NC": Place("NC", "Pacific/Noumea"),
    "BE": Place("BE", "Europe/Brussels"),
    "DE-BY": Place("DE-BY", "Europe/Berlin"),
    "DE-BE": Place("DE-BE", "Europe/Berlin"),
}


def noon(day: str, place: Place = PARIS) -> datetime:
    return datetime.fromisoformat(day).replace(hour=12, tzinfo=ZoneInfo(place.timezone))


def held(first: str, release: str, place: Place = PARIS) -> Suspension:
    return Suspension(noon(first, place), noon(release, place))


def counted(days: int, calendar: str, opened: str, place: Place = PARIS, *holds: Suspension) -> Deadline:
    return deadline(Due(days=days, calendar=Calendar(calendar)), noon(opened, place), place, holds)


@pytest.mark.parametrize(
    ("days", "calendar", "opened", "territory", "end", "because"),
    [
        (1, "calendar", "2026-01-01", "FR", "2026-01-02", "the day of the opening is not counted"),
        (10, "calendar", "2026-12-28", "FR", "2027-01-07", "3 days to the 31st, 7 in January; holidays do not matter"),
        (1, "calendar", "2028-02-28", "FR", "2028-02-29", "2028 is a leap year"),
        (365, "calendar", "2027-03-01", "FR", "2028-02-29", "366 days to 1 March 2028, so one less is 29 February"),
        (365, "calendar", "2026-03-01", "FR", "2027-03-01", "2027 is not a leap year"),
        (4, "calendar", "2026-07-10", "FR", "2026-07-14", "a calendar deadline may end on a public holiday"),
        (1, "working", "2026-04-03", "FR", "2026-04-07", "Friday, then weekend, then Easter Monday"),
        (1, "working", "2026-04-02", "FR", "2026-04-03", "Good Friday is worked in most of France"),
        (1, "working", "2026-04-02", "FR-57", "2026-04-07", "not in Moselle: Good Friday, weekend, Easter Monday"),
        (1, "working", "2026-04-02", "FR-67", "2026-04-07", "nor in Alsace"),
        (1, "working", "2026-04-02", "FR-75", "2026-04-03", "Paris keeps the national calendar"),
        (1, "working", "2026-04-30", "FR", "2026-05-04", "1 May 2026 is a Friday"),
        (5, "working", "2026-05-05", "FR", "2026-05-13", "6, 7, 11, 12, 13 May: the 8th is a holiday, 9 and 10 a weekend"),
        (1, "working", "2025-12-24", "FR", "2025-12-26", "26 December is worked in most of France"),
        (1, "working", "2025-12-24", "FR-57", "2025-12-29", "Saint Stephen's day in Moselle, a Friday in 2025"),
        (1, "working", "2027-12-17", "FR-974", "2027-12-21", "20 December, a Monday in 2027: abolition of slavery, Réunion"),
        (1, "working", "2027-12-17", "FR", "2027-12-20", "an ordinary Monday elsewhere"),
        (1, "working", "2026-05-26", "FR-971", "2026-05-28", "27 May, abolition of slavery, Guadeloupe"),
        (1, "working", "2026-06-09", "FR-973", "2026-06-11", "10 June, abolition of slavery, Guyane"),
        (1, "working", "2026-03-04", "FR-PF", "2026-03-06", "5 March, arrival of the Gospel, French Polynesia"),
        (1, "working", "2026-09-23", "NC", "2026-09-25", "24 September, citizenship day, New Caledonia"),
        (1, "working", "2026-07-20", "BE", "2026-07-22", "21 July, Belgian national day"),
        (1, "working", "2026-07-13", "BE", "2026-07-14", "14 July is worked in Belgium"),
        (1, "working", "2026-01-05", "DE-BY", "2026-01-07", "Epiphany is a holiday in Bavaria"),
        (1, "working", "2026-01-05", "DE-BE", "2026-01-06", "but not in Berlin"),
        (45, "legal", "2026-03-10", "FR", "2026-04-24", "CPP opinion, 45 days after its notice: a Friday, not moved"),
        (60, "legal", "2026-03-10", "FR", "2026-05-11", "9 May is a Saturday, so Monday 11"),
        (4, "legal", "2026-07-10", "FR", "2026-07-15", "ends on 14 July, a Tuesday, so the day after"),
        (3, "legal", "2026-04-01", "FR", "2026-04-07", "ends on Saturday 4 April; Sunday, Easter Monday, then Tuesday"),
        (10, "legal", "2026-12-22", "FR", "2027-01-04", "ends on 1 January, a Friday; the year turns over a weekend"),
        (1, "legal", "2025-12-25", "FR-57", "2025-12-29", "26 December is a holiday in Moselle, then a weekend"),
        (10, "legal", "2027-12-10", "FR-974", "2027-12-21", "ends on 20 December, in Réunion"),
        (60, "legal", "2027-12-31", "FR", "2028-02-29", "the sixtieth day of 2028 is 29 February"),
    ],
)
def test_a_deadline_ends_on_the_day_counted_by_hand(days: int, calendar: str, opened: str, territory: str, end: str, because: str) -> None:
    assert counted(days, calendar, opened, PLACES[territory]).trace["end"] == end, because


@pytest.mark.parametrize(
    ("days", "calendar", "opened", "holds", "end", "because"),
    [
        (
            60,
            "legal",
            "2026-03-10",
            [("2026-04-01", "2026-04-08")],
            "2026-05-18",
            "9 May, plus 7 days stopped: Saturday 16, so 18",
        ),
        (10, "calendar", "2026-03-02", [("2026-03-05", "2026-03-05")], "2026-03-12", "lifted the same day: nothing stopped"),
        (10, "calendar", "2026-03-02", [("2026-03-05", "2026-03-06")], "2026-03-13", "one night: one day"),
        (10, "calendar", "2026-03-02", [("2026-02-01", "2026-02-20")], "2026-03-12", "a hold before the opening is no matter"),
        (
            10,
            "calendar",
            "2026-03-02",
            [("2026-02-01", "2026-03-04")],
            "2026-03-14",
            "opened during a hold: 3 and 4 March stopped",
        ),
        (10, "calendar", "2026-03-02", [("2026-03-13", "2026-03-20")], "2026-03-12", "a hold after the end is no matter"),
        (10, "calendar", "2026-03-02", [("2026-03-12", "2026-03-20")], "2026-03-20", "held on the last day: due on the release"),
        (
            10,
            "calendar",
            "2026-03-02",
            [("2026-03-04", "2026-03-08"), ("2026-03-06", "2026-03-09")],
            "2026-03-17",
            "5 to 9 March, overlapping days once",
        ),
        (5, "working", "2026-03-02", [("2026-03-04", "2026-03-06")], "2026-03-11", "3, 4, then 9, 10, 11 March"),
        (5, "working", "2026-03-02", [("2026-03-06", "2026-03-08")], "2026-03-09", "a hold over a weekend stops no working day"),
        (
            5,
            "working",
            "2026-03-02",
            [("2026-03-09", "2026-03-14")],
            "2026-03-16",
            "held on the last day, released on a Saturday",
        ),
        (5, "legal", "2026-03-02", [("2026-03-08", "2026-03-10")], "2026-03-10", "ended Saturday, due Monday, held from Sunday"),
    ],
)
def test_a_hold_stops_the_count_from_the_day_after_it_begins_to_its_release(
    days: int, calendar: str, opened: str, holds: list[tuple[str, str]], end: str, because: str
) -> None:
    assert counted(days, calendar, opened, PARIS, *[held(*hold) for hold in holds]).trace["end"] == end, because


@pytest.mark.parametrize(
    ("opened", "place", "due_at", "because"),
    [
        ("2026-11-20T10:00+00:00", "FR", "2026-11-21T22:59:59+00:00", "winter: Paris is one hour ahead"),
        ("2026-07-01T10:00+00:00", "FR", "2026-07-02T21:59:59+00:00", "summer: two hours"),
        ("2026-03-28T10:00+00:00", "FR", "2026-03-29T21:59:59+00:00", "clocks go forward on the last day: it has 23 hours"),
        ("2026-10-24T10:00+00:00", "FR", "2026-10-25T22:59:59+00:00", "clocks go back on the last day: it has 25 hours"),
        ("2026-03-28T23:30+00:00", "FR", "2026-03-30T21:59:59+00:00", "already the 29th in Paris"),
        ("2026-11-20T20:00+00:00", "NC", "2026-11-22T12:59:59+00:00", "already the 21st in Nouméa, eleven hours ahead"),
        ("2026-11-21T02:00+00:00", "FR-973", "2026-11-22T02:59:59+00:00", "still the 20th in Cayenne, three hours behind"),
        ("2026-11-20T20:30+00:00", "FR-974", "2026-11-22T19:59:59+00:00", "already the 21st in Réunion, four hours ahead"),
    ],
)
def test_a_deadline_is_the_last_second_of_the_local_day(opened: str, place: str, due_at: str, because: str) -> None:
    found = deadline(Due(days=1), datetime.fromisoformat(opened), PLACES[place])
    assert found.due_at == datetime.fromisoformat(due_at), because
    assert found.due_at.tzinfo is UTC


def test_a_day_whose_last_hour_does_not_exist_still_ends() -> None:
    nuuk = Place("GL", "America/Nuuk")  # springs forward from Saturday 23:00 to Sunday 00:00
    assert deadline(Due(days=1), noon("2026-03-27", nuuk), nuuk).due_at == datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)


def test_the_trace_shows_the_whole_computation_as_plain_json() -> None:
    trace = counted(60, "legal", "2026-03-10", PARIS, held("2026-04-01", "2026-04-08")).trace
    assert set(trace.pop("rule")) == {"fr", "en"}
    assert json.loads(json.dumps(trace)) == {
        "calendar": "legal",
        "days": 60,
        "start": "2026-03-10",
        "territory": "FR",
        "timezone": "Europe/Paris",
        "holidays": [],
        "suspended_days": 7,
        "moved_from": "2026-05-16",
        "end": "2026-05-18",
    }


def test_the_trace_names_the_holidays_that_lengthened_the_term() -> None:
    assert counted(5, "working", "2026-05-05").trace["holidays"] == [{"date": "2026-05-08", "name": "Fête de la Victoire"}]
    assert counted(4, "legal", "2026-07-10").trace["holidays"] == [{"date": "2026-07-14", "name": "Fête nationale"}]
    # 1 and 8 May are crossed, but a legal term only minds where it ends
    assert counted(45, "legal", "2026-04-03").trace["holidays"] == []


def test_holiday_names_do_not_follow_the_machine_s_language() -> None:
    script = (
        "from datetime import datetime, UTC; from protocols.clocks import Place, deadline; from protocols.model import Due;"
        "print(deadline(Due(days=4, calendar='legal'), datetime(2026, 7, 10, tzinfo=UTC), Place()).trace['holidays'][0]['name'])"
    )
    done = subprocess.run([sys.executable, "-c", script], env={"LANGUAGE": "en_US"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Fête nationale"


def test_holidays_are_loaded_only_by_calendars_that_need_them() -> None:
    script = (
        "import sys; from datetime import datetime, UTC; from protocols.clocks import Place, deadline, known_place;"
        "from protocols.model import Due; known_place('FR-57', 'Europe/Paris');"
        "deadline(Due(days=4), datetime(2026, 7, 10, tzinfo=UTC), Place()); assert 'holidays' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("due_day", "before", "at", "because"),
    [
        ("2026-03-30", "1d", "2026-03-29T06:00+00:00", "08:00 in Paris, the day the clocks go forward"),
        ("2026-03-30", "7d", "2026-03-23T07:00+00:00", "08:00 in Paris, a week before, still winter time"),
        ("2026-10-26", "2d", "2026-10-24T06:00+00:00", "08:00 in Paris, the day before the clocks go back"),
        ("2026-03-29", "23h", "2026-03-28T23:59:59+00:00", "00:59:59 on the wall, though only 22 hours are left"),
        ("2026-11-20", "12h", "2026-11-20T10:59:59+00:00", "11:59:59 on the wall"),
    ],
)
def test_a_reminder_keeps_to_the_wall_clock(due_day: str, before: str, at: str, because: str) -> None:
    due_at = counted(1, "calendar", str(date.fromisoformat(due_day) - timedelta(days=1))).due_at
    distance = timedelta(**{{"d": "days", "h": "hours"}[before[-1]]: int(before[:-1])})
    assert reminder_at(due_at, distance, PARIS) == datetime.fromisoformat(at), because


def test_an_escalation_rings_in_the_morning_of_its_day() -> None:
    due_at = counted(1, "calendar", "2026-03-26").due_at
    assert escalation_at(due_at, timedelta(days=2), PARIS) == datetime(2026, 3, 29, 6, 0, tzinfo=UTC)
    assert escalation_at(due_at, timedelta(hours=4), PARIS) == datetime(2026, 3, 28, 2, 59, 59, tzinfo=UTC)


def test_the_local_date_and_the_next_midnight_are_the_site_s_own() -> None:
    now = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
    assert local_date(now, PARIS) == date(2026, 11, 20)
    assert local_date(now, PLACES["NC"]) == date(2026, 11, 21)
    assert next_local_midnight(now, PARIS) == datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
    assert next_local_midnight(now, PLACES["FR-973"]) == datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
    midnight = next_local_midnight(now, PARIS)
    assert next_local_midnight(midnight, PARIS) == midnight + timedelta(days=1)


def test_a_naive_time_is_refused_everywhere() -> None:
    naive, aware = datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)  # noqa: DTZ001
    for attempt in (
        lambda: deadline(Due(days=1), naive, PARIS),
        lambda: Suspension(naive, aware),
        lambda: Suspension(aware, naive),
        lambda: reminder_at(naive, timedelta(days=1), PARIS),
        lambda: escalation_at(naive, timedelta(days=1), PARIS),
        lambda: local_date(naive, PARIS),
        lambda: next_local_midnight(naive, PARIS),
    ):
        with pytest.raises(ValueError, match="no time zone"):
            attempt()


def test_a_suspension_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="cannot end"):
        held("2026-03-05", "2026-03-04")


@pytest.mark.parametrize(
    "territory",
    [
        "FR",
        "FR-01",
        "FR-2A",
        "FR-57",
        "FR-67",
        "FR-68",
        "FR-6AE",
        "FR-75",
        "FR-971",
        "FR-976",
        "FR-BL",
        "FR-MF",
        "FR-987",
        "FR-IDF",
        "RE",
        "GF",
        "PF",
        "FR-Alsace-Moselle",
        "FR-Moselle",
        "FR-La Réunion",
        "BE",
        "BE-BRU",
        "CH-GE",
        "DE-BY",
        "LU",
        "CA-QC",
    ],
)
def test_a_known_territory_is_accepted(territory: str) -> None:
    known_place(territory, "Europe/Paris")
    assert deadline(Due(days=1, calendar=Calendar.WORKING), datetime(2026, 1, 6, tzinfo=UTC), Place(territory)).trace["end"]


@pytest.mark.parametrize(
    ("territory", "timezone", "said"),
    [
        ("fr", "Europe/Paris", "Territory 'fr' is not known. Did you mean 'FR'?"),
        ("FRA", "Europe/Paris", "Did you mean 'FR'?"),
        ("UK", "Europe/London", "Did you mean 'GB'?"),
        ("FR-2a", "Europe/Paris", "Did you mean 'FR-2A'?"),
        ("FR-GES", "Europe/Paris", "name the department"),
        ("FR-20", "Europe/Paris", "Territory 'FR-20' is not known."),
        ("DE-BYE", "Europe/Berlin", "Did you mean 'DE-BY'?"),
        ("", "Europe/Paris", "Give an ISO 3166 code"),
        ("FR", "Europe/paris", "Time zone 'Europe/paris' is not known. Did you mean 'Europe/Paris'?"),
        ("FR", "Paris", "Did you mean 'Europe/Paris'?"),
        ("FR", "Europe", "is not known"),
        ("FR", "../localtime", "is not known"),
        ("FR", "", "Give an IANA name"),
    ],
)
def test_an_unknown_place_is_named_with_the_nearest_spelling(territory: str, timezone: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        known_place(territory, timezone)
    assert said in str(refused.value)


# What holds for every deadline

places = st.sampled_from(list(PLACES.values()))
calendars = st.sampled_from(list(Calendar))
few_days = st.integers(min_value=1, max_value=90)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
holds = st.builds(lambda start, days: Suspension(start, start + timedelta(hours=days)), moments, st.integers(0, 24 * 60))


@given(few_days, calendars, moments, places, st.lists(holds, max_size=3))
def test_more_days_never_give_an_earlier_end(
    days: int, calendar: Calendar, opened: datetime, place: Place, held_at: list[Suspension]
) -> None:
    sooner = deadline(Due(days=days, calendar=calendar), opened, place, held_at)
    later = deadline(Due(days=days + 1, calendar=calendar), opened, place, held_at)
    assert sooner.due_at <= later.due_at


@given(few_days, calendars, moments, places, st.lists(holds, max_size=3), st.integers(-30, 120), st.integers(0, 24 * 60))
def test_a_suspension_never_makes_the_end_earlier_nor_lets_it_fall_inside(
    days: int, calendar: Calendar, opened: datetime, place: Place, held_at: list[Suspension], after_days: int, hours: int
) -> None:
    start = opened + timedelta(days=after_days)
    added = Suspension(start, start + timedelta(hours=hours))
    due = Due(days=days, calendar=calendar)
    without, with_it = deadline(due, opened, place, held_at), deadline(due, opened, place, [*held_at, added])
    assert without.due_at <= with_it.due_at
    assert not added.start <= with_it.due_at < added.end


@given(few_days, st.sampled_from([Calendar.WORKING, Calendar.LEGAL]), moments, places, st.lists(holds, max_size=3))
def test_a_working_or_legal_deadline_falls_on_a_working_day(
    days: int, calendar: Calendar, opened: datetime, place: Place, held_at: list[Suspension]
) -> None:
    due_at = deadline(Due(days=days, calendar=calendar), opened, place, held_at).due_at
    # One working day counted from the day before is that very day only if it is worked.
    eve = due_at - timedelta(days=1)
    assert deadline(Due(days=1, calendar=Calendar.WORKING), eve, place).due_at == due_at


@given(few_days, calendars, moments, places, st.integers(0, 86_399))
def test_the_hour_within_the_local_day_does_not_matter(days: int, calendar: Calendar, opened: datetime, place: Place, second: int) -> None:
    midnight = next_local_midnight(opened, place)
    same_day = midnight + timedelta(seconds=second)
    if local_date(same_day, place) == local_date(midnight, place):
        due = Due(days=days, calendar=calendar)
        assert deadline(due, midnight, place) == deadline(due, same_day, place)


@given(few_days, calendars, moments, places)
def test_a_deadline_comes_after_its_opening_and_before_the_midnight_that_ends_its_day(
    days: int, calendar: Calendar, opened: datetime, place: Place
) -> None:
    found = deadline(Due(days=days, calendar=calendar), opened, place)
    assert found.due_at > opened
    assert next_local_midnight(found.due_at, place) == found.due_at + timedelta(seconds=1)
    assert local_date(found.due_at, place).isoformat() == found.trace["end"]


# ------------------------------------------------------------------ the days of law in France

LOCAL_DAYS = {
    "FR": (),
    "FR-75": (),
    "FR-57": ("2026-04-03", "2026-12-26"),
    "FR-67": ("2026-04-03", "2026-12-26"),
    "FR-68": ("2026-04-03", "2026-12-26"),
    "FR-971": ("2026-05-27",),
    "FR-972": ("2026-05-22",),
    "FR-973": ("2026-06-10",),
    "FR-974": ("2026-12-20",),
    "FR-975": (),
    "FR-976": ("2026-04-27",),
    "FR-977": ("2026-10-09",),
    "FR-978": ("2026-05-27",),
    "FR-986": ("2026-04-28", "2026-06-29", "2026-07-29"),
    "FR-987": ("2026-03-05", "2026-04-03", "2026-11-20"),
    "FR-988": ("2026-09-24",),
}
EVERYWHERE = (
    *("2026-01-01", "2026-04-06", "2026-05-01", "2026-05-08", "2026-05-14", "2026-05-25"),
    *("2026-07-14", "2026-08-15", "2026-11-01", "2026-11-11", "2026-12-25"),
)


@pytest.mark.parametrize("territory", LOCAL_DAYS)
def test_only_days_of_law_are_public_holidays_in_france(territory: str) -> None:
    weekdays = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
    off = {str(day) for day in weekdays if day.weekday() < 5 and not is_working_day(day, territory)}
    expected = {*EVERYWHERE, *LOCAL_DAYS[territory]}
    assert off == {day for day in expected if date.fromisoformat(day).weekday() < 5}


@pytest.mark.parametrize(
    ("days", "opened", "end", "because"),
    [
        (2, "2026-03-10", "2026-03-12", "Mi-Carême is a custom"),
        (2, "2026-04-01", "2026-04-03", "Good Friday is worked in Guadeloupe, by law"),
        (1, "2026-07-20", "2026-07-21", "Victor Schœlcher's day is a custom"),
        (2, "2026-05-25", "2026-05-28", "27 May is of law"),
    ],
)
def test_a_legal_term_in_guadeloupe_ends_on_its_day(days: int, opened: str, end: str, because: str) -> None:
    assert counted(days, "legal", opened, PLACES["FR-971"]).trace["end"] == end, because


def test_every_day_of_law_names_its_text_and_what_could_not_be_read_says_so() -> None:
    assert all(day.source for day in LEGAL_DAYS)
    assert {day.status for day in LEGAL_DAYS if "L3133-1" in day.source} == {"verified"}
    assert {place for day in LEGAL_DAYS if day.status == "to_validate" for place in day.where} == {"57", "6AE", "MF", "PF", "NC", "WF"}


@pytest.mark.parametrize("zone", ["localtime", "Factory", "posixrules", "posix/Europe/Paris", "right/Europe/Paris", "europe/paris", ""])
def test_what_is_no_place_is_no_time_zone(zone: str) -> None:
    with pytest.raises(InvalidInput, match="is not known"):
        known_place("FR", zone)
