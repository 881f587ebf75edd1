"""When a notice goes out: a table of cases with their reasons, and what holds for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.render import KINDS
from notifications.timing import MUTED, SEND_NOW, Timing, When, allowed_from, decide, digest_moment, is_duty
from protocols.clocks import is_working_day
from sites.preferences import ORDINARY, Wishes

PARIS = ZoneInfo("Europe/Paris")
NIGHT = Wishes(quiet_from="20:00", quiet_until="07:00")
WEEKDAYS = Wishes(working_days=True)
DAILY = Wishes(digest=True, digest_at="08:00")
SILENT = Wishes(muted=ORDINARY)


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS).astimezone(UTC)


def later(text: str) -> When:
    return When(Timing.POSTPONE, paris(text))


def daily(text: str) -> When:
    return When(Timing.DIGEST, paris(text))


# reason: (kind, deadline, is it legal, wishes, now, decision); 2026-03-02 is a Monday, all times in Paris.
CASES: dict[str, tuple[str, str, bool, Wishes, str, When]] = {
    "nobody wished anything": ("opened", "", False, Wishes(), "2026-03-02T03:00", SEND_NOW),
    "the day is not quiet": ("opened", "", False, NIGHT, "2026-03-02T12:00", SEND_NOW),
    "the night waits for the morning": ("opened", "", False, NIGHT, "2026-03-02T23:00", later("2026-03-03T07:00")),
    "after midnight it is the same night": ("opened", "", False, NIGHT, "2026-03-03T06:59", later("2026-03-03T07:00")),
    "the end of the night is day": ("opened", "", False, NIGHT, "2026-03-03T07:00", SEND_NOW),
    "equal ends are no quiet hours": ("opened", "", False, Wishes(quiet_from="08:00", quiet_until="08:00"), "2026-03-02T08:00", SEND_NOW),
    "quiet hours may lie within a day": (
        *("opened", "", False, Wishes(quiet_from="12:00", quiet_until="14:00"), "2026-03-02T13:00"),
        later("2026-03-02T14:00"),
    ),
    "the short night of March ends at its hour": ("opened", "", False, NIGHT, "2026-03-28T23:00", later("2026-03-29T07:00")),
    "the long night of October ends at its hour": ("opened", "", False, NIGHT, "2026-10-24T23:00", later("2026-10-25T07:00")),
    "a deadline within the night is told before it": ("opened", "2026-03-02T23:59:59", False, NIGHT, "2026-03-02T23:00", SEND_NOW),
    "a deadline after the night is not hurried": (
        *("opened", "2026-03-03T23:59:59", False, NIGHT, "2026-03-02T23:00"),
        later("2026-03-03T07:00"),
    ),
    "lateness that begins at midnight is told in the morning": (
        *("overdue", "2026-03-02T23:59:59", False, NIGHT, "2026-03-03T00:00"),
        later("2026-03-03T07:00"),
    ),
    "a weekend waits for Monday": ("opened", "", False, WEEKDAYS, "2026-03-07T10:00", later("2026-03-09T08:00")),
    "14 July waits for the 15th": ("opened", "", False, WEEKDAYS, "2026-07-14T10:00", later("2026-07-15T08:00")),
    "26 December is a holiday in Metz": (
        *("opened", "", False, Wishes(working_days=True, territories=("FR-57",)), "2025-12-26T10:00"),
        later("2025-12-29T08:00"),
    ),
    "where one of the sites works, it is no day off": (
        *("opened", "", False, Wishes(working_days=True, territories=("FR", "FR-57")), "2025-12-26T10:00"),
        SEND_NOW,
    ),
    "a day off and then a night": (
        *("opened", "", False, Wishes(working_days=True, quiet_from="18:00", quiet_until="09:00"), "2026-07-14T10:00"),
        later("2026-07-15T09:00"),
    ),
    "Friday night leads to Monday": (
        *("opened", "", False, Wishes(working_days=True, quiet_from="20:00", quiet_until="07:00"), "2026-03-06T21:00"),
        later("2026-03-09T08:00"),
    ),
    "a duty does not wait for a weekend": ("stopped", "", False, WEEKDAYS, "2026-03-07T10:00", SEND_NOW),
    "a deadline on Sunday does not wait for Monday": ("opened", "2026-03-08T23:59:59", False, WEEKDAYS, "2026-03-07T10:00", SEND_NOW),
    "the digest of today is still to come": ("opened", "", False, DAILY, "2026-03-02T07:59", daily("2026-03-02T08:00")),
    "the digest of today is gone": ("opened", "", False, DAILY, "2026-03-02T08:00", daily("2026-03-03T08:00")),
    "a digest waits for working days too": (
        *("opened", "", False, Wishes(digest=True, working_days=True), "2026-07-13T12:00"),
        daily("2026-07-15T08:00"),
    ),
    "a digest does not come at night": (
        *("opened", "", False, Wishes(digest=True, digest_at="05:00", quiet_from="20:00", quiet_until="07:00"), "2026-03-02T12:00"),
        daily("2026-03-03T07:00"),
    ),
    "what is due before the digest is not gathered": ("opened", "2026-03-02T23:59:59", False, DAILY, "2026-03-02T12:00", SEND_NOW),
    "a duty is not gathered": ("returned", "", False, DAILY, "2026-03-02T12:00", SEND_NOW),
    "a reminder of far away is gathered": ("reminder", "2026-03-16T23:59:59", False, DAILY, "2026-03-02T12:00", daily("2026-03-03T08:00")),
    "a reminder three days before is not": ("reminder", "2026-03-05T23:59:59", False, DAILY, "2026-03-02T08:00", SEND_NOW),
    "a legal deadline is not gathered": ("opened", "2026-04-20T23:59:59", True, DAILY, "2026-03-02T12:00", SEND_NOW),
    "what is muted is not sent": ("opened", "2026-03-20T23:59:59", False, SILENT, "2026-03-02T12:00", MUTED),
    "a reminder of far away may be muted": ("reminder", "2026-03-20T23:59:59", False, SILENT, "2026-03-02T12:00", MUTED),
    "a reminder three days before may not": ("reminder", "2026-03-05T23:59:59", False, SILENT, "2026-03-02T12:00", SEND_NOW),
    "a legal deadline cannot be muted": ("opened", "2026-04-20T23:59:59", True, SILENT, "2026-03-02T12:00", SEND_NOW),
    "a closing is good to know, and no duty": ("closed", "", True, SILENT, "2026-03-02T12:00", MUTED),
}


@pytest.mark.parametrize(("kind", "deadline", "is_legal", "wishes", "now", "decision"), CASES.values(), ids=CASES)
def test_a_notice_goes_when_the_case_says(kind: str, deadline: str, is_legal: bool, wishes: Wishes, now: str, decision: When) -> None:
    assert decide(kind, paris(deadline) if deadline else None, wishes, paris(now), is_legal=is_legal) == decision


def test_every_kind_is_a_duty_unless_it_is_ordinary() -> None:
    now = paris("2026-03-02T12:00")
    duties = {kind for kind in KINDS if is_duty(kind, None, now)}
    assert duties == KINDS - ORDINARY
    assert {"overdue", "escalated", "returned", "reopened", "stopped", "incident", "glass", "declined"} <= duties


def test_the_hour_that_the_clocks_show_twice_is_quiet_once() -> None:
    wishes = Wishes(quiet_from="23:00", quiet_until="02:30")
    second = datetime(2026, 10, 25, 2, 15, fold=1, tzinfo=PARIS).astimezone(UTC)
    assert decide("opened", None, wishes, second - timedelta(hours=1)).timing is Timing.POSTPONE
    assert decide("opened", None, wishes, second) == SEND_NOW


HOURS = st.times(timezones=st.none()).map(lambda hour: hour.strftime("%H:%M"))
ZONES = st.sampled_from(["Europe/Paris", "Indian/Reunion", "America/Martinique", "Pacific/Noumea", "UTC"])
MINUTES = st.integers(0, 2 * 365 * 24 * 60)
MOMENTS = MINUTES.map(lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))
ANY_WISHES = st.builds(
    Wishes,
    timezone=ZONES,
    quiet_from=HOURS,
    quiet_until=HOURS,
    working_days=st.booleans(),
    digest=st.booleans(),
    digest_at=HOURS,
    muted=st.frozensets(st.sampled_from(sorted(ORDINARY))),
    territories=st.sampled_from([("FR",), ("FR", "FR-974"), ("FR-57",)]),
)
ANY_KIND = st.sampled_from(sorted(KINDS | {"notify"}))
DEADLINES = st.none() | MOMENTS


@given(ANY_KIND, DEADLINES, ANY_WISHES, MOMENTS, st.booleans())
def test_no_wish_silences_a_duty(kind: str, deadline: datetime | None, wishes: Wishes, now: datetime, is_legal: bool) -> None:
    if is_duty(kind, deadline, now, is_legal=is_legal, timezone=wishes.timezone):
        assert decide(kind, deadline, wishes, now, is_legal=is_legal).timing in (Timing.SEND_NOW, Timing.POSTPONE)


@given(ANY_KIND, DEADLINES, ANY_WISHES, MOMENTS, st.booleans())
def test_what_waits_is_told_before_its_deadline(
    kind: str, deadline: datetime | None, wishes: Wishes, now: datetime, is_legal: bool
) -> None:
    when = decide(kind, deadline, wishes, now, is_legal=is_legal)
    assert (when.until is None) == (when.timing in (Timing.SEND_NOW, Timing.MUTED))
    if when.until:
        assert now < when.until
        assert deadline is None or deadline <= now or when.until < deadline


@given(ANY_KIND, DEADLINES, ANY_WISHES, MOMENTS)
def test_what_was_postponed_is_not_postponed_again(kind: str, deadline: datetime | None, wishes: Wishes, now: datetime) -> None:
    when = decide(kind, deadline, wishes, now)
    if when.timing is Timing.POSTPONE:
        assert when.until is not None
        assert decide(kind, deadline, wishes, when.until).timing is not Timing.POSTPONE


@given(ANY_WISHES, MOMENTS, st.booleans())
def test_a_moment_allowed_is_the_first_one(wishes: Wishes, now: datetime, days_off: bool) -> None:
    at = allowed_from(wishes, now, days_off=days_off)
    assert at >= now
    assert allowed_from(wishes, at, days_off=days_off) == at
    if days_off:
        local = at.astimezone(ZoneInfo(wishes.timezone))
        assert any(is_working_day(local.date(), territory) for territory in wishes.territories)


@given(ANY_WISHES, MOMENTS)
def test_a_digest_comes_at_its_hour_where_nothing_forbids_it(wishes: Wishes, now: datetime) -> None:
    at = digest_moment(Wishes(timezone=wishes.timezone, digest_at=wishes.digest_at), now)
    assert now < at <= now + timedelta(hours=26)
    zone, hour = ZoneInfo(wishes.timezone), time.fromisoformat(wishes.digest_at)
    local = at.astimezone(zone)
    # Where the clocks are put forward an hour may not exist: the digest then comes an hour later by the wall.
    is_there = datetime.combine(local.date(), hour, zone).astimezone(UTC).astimezone(zone).time() == hour
    assert local.time() == hour or not is_there
