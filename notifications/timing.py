"""When a notice goes to a person: at once, later, with the day's others, or not at all. Decided from values alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from protocols import clocks
from protocols.clocks import OFFICE_OPENS, ONE_DAY, Place
from sites.preferences import ORDINARY, Wishes

# A reminder so near its deadline is a duty, in days of the calendar: the protocol's own `before: 3d` is one.
NEAR_DAYS = 3


class Timing(StrEnum):
    """What becomes of a notice that still holds, for one person."""

    SEND_NOW = "send_now"
    POSTPONE = "postpone"  # until the person's hours
    DIGEST = "digest"  # into the one message of the day
    MUTED = "muted"  # the person does not want it, and may say so


@dataclass(frozen=True, slots=True)
class When:
    """The decision; `until` is aware UTC: when it is postponed to, or when the digest goes out."""

    timing: Timing
    until: datetime | None = None


SEND_NOW, MUTED = When(Timing.SEND_NOW), When(Timing.MUTED)


def is_duty(kind: str, deadline: datetime | None, now: datetime, *, is_legal: bool = False, timezone: str = "Europe/Paris") -> bool:
    """Whether a notice may be neither muted nor gathered: by its kind, near its deadline, or as the law set that deadline."""
    if kind not in ORDINARY or (is_legal and deadline is not None):
        return True
    return kind == "reminder" and deadline is not None and _days_until(deadline, now, timezone) <= NEAR_DAYS


def decide(
    kind: str, deadline: datetime | None, wishes: Wishes, now: datetime, *, is_legal: bool = False, due: datetime | None = None
) -> When:
    """When a notice goes to the person of these wishes.

    `deadline` is that of the step it speaks of while the step waits, `is_legal` whether the protocol counts it by the legal calendar.
    A reminder that fell `due` at the very hour of the digest, or shortly before and is decided only after, is still in that one.
    Quiet hours put off every notice, days off only what is no duty. Nothing is put off past a deadline still ahead: what would be is
    sent at once. A deadline that has passed hurries nothing: a step falls late at midnight, and is told in the morning.
    """
    duty = is_duty(kind, deadline, now, is_legal=is_legal, timezone=wishes.timezone)
    if not duty and kind in wishes.muted:
        return MUTED
    if not duty and wishes.digest:
        at = digest_moment(wishes, now, due if kind == "reminder" else None)
        if not _falls_before(deadline, at, now):
            return When(Timing.DIGEST, at)
    at = allowed_from(wishes, now, days_off=wishes.working_days and not duty)
    return SEND_NOW if at == now or _falls_before(deadline, at, now) else When(Timing.POSTPONE, at)


def digest_moment(wishes: Wishes, now: datetime, due: datetime | None = None) -> datetime:
    """When the next digest after `now` goes out, in aware UTC: at the hour wished, or as soon after as the person may be told.

    With `due`, the first from that moment on: one whose hour has come already, where `due` lies within the last day.
    """
    since = now if due is None else max(due, now - ONE_DAY)
    first, hour = _local(since, wishes).date(), _hour(wishes.digest_at)
    moments = (_instant(first + days * ONE_DAY, hour, wishes) for days in range(3))
    at = allowed_from(wishes, next(at for at in moments if at > since or at == due), days_off=wishes.working_days)
    return at if at > now or allowed_from(wishes, now, days_off=wishes.working_days) == now else digest_moment(wishes, now)


def allowed_from(wishes: Wishes, now: datetime, *, days_off: bool) -> datetime:
    """The first moment from `now` on outside the quiet hours and, with `days_off`, outside days off; after these not before 08:00."""
    at = now
    while True:
        if days_off and _is_off(_local(at, wishes).date(), wishes):
            at = _instant(_local(at, wishes).date() + ONE_DAY, OFFICE_OPENS, wishes)
        elif (end := _quiet_end(at, wishes)) is not None:
            at = end
        else:
            return at


def _falls_before(deadline: datetime | None, at: datetime, now: datetime) -> bool:
    return deadline is not None and now < deadline <= at


def _quiet_end(at: datetime, wishes: Wishes) -> datetime | None:
    """When the quiet hours that hold this moment end; None outside them. They are stretches of time, not hours of a clock face:
    an hour that the clocks show twice does not begin them again."""
    begin, end = wishes.quiet_from, wishes.quiet_until
    if not begin or begin == end:
        return None
    today = _local(at, wishes).date()
    for day in (today - ONE_DAY, today):
        closes = _instant(day + ONE_DAY if end < begin else day, _hour(end), wishes)
        if _instant(day, _hour(begin), wishes) <= at < closes:
            return closes
    return None


def _is_off(day: date, wishes: Wishes) -> bool:
    return not any(clocks.is_working_day(day, territory) for territory in wishes.territories)


def _days_until(deadline: datetime, now: datetime, timezone: str) -> int:
    place = Place(timezone=timezone)
    return (clocks.local_date(deadline, place) - clocks.local_date(now, place)) // timedelta(days=1)


def _local(moment: datetime, wishes: Wishes) -> datetime:
    return moment.astimezone(ZoneInfo(wishes.timezone))


def _instant(day: date, hour: time, wishes: Wishes) -> datetime:
    return datetime.combine(day, hour, ZoneInfo(wishes.timezone)).astimezone(UTC)


def _hour(text: str) -> time:
    return time.fromisoformat(text)
