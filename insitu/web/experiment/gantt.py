"""A Gantt chart as pure functions: from an experiment's state to bars, from bars to an SVG that scripts and styles need not touch."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from babel import Locale
from babel.dates import format_date
from markupsafe import Markup, escape

from insitu.entrance.language import N_
from protocols import clocks
from protocols.context import place_of, shown_status
from protocols.model import in_locale
from protocols.plan import Plan
from protocols.state import State, StepKey, StepState, StepStatus
from sites.board import is_late

TITLE = N_("Timeline of {code}")
DESCRIPTION = N_(
    "{count} steps, each with its planned time, its real time and its deadline; today is {today}. The table below says the same."
)
TODAY = N_("today")

WIDTH, LABELS, ROW, TOP = 1000, 270, 18, 26  # in the drawing's own units
LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One step at one place. Days are local to it; a real time without an end goes on.

    `planned` runs from the opening to the deadline; for a step not reached yet, from when all before it should be through.
    """

    step: str
    title: str
    site: str
    phase: str
    round: int
    status: str
    late: bool
    planned: tuple[date, date] | None
    real: tuple[date, date | None] | None
    due: date | None
    is_forecast: bool


def bars(plan: Plan, state: State, keys: Sequence[StepKey], now: datetime, locale: str) -> list[Bar]:
    """The steps of `keys` in their order. What is still to come is reckoned from these alone: nothing shows of a site not among them.

    A step that only happens under a condition is shown as if it did, and those after it as if it did not.
    """
    ends = _ends(plan, state, keys, now)
    return [_bar(plan, state, key, now, locale, ends) for key in keys]


def chosen(found: Iterable[Bar], site: str, phase: str) -> list[Bar]:
    """The bars of one site with the experiment's own, of one phase, or of both; "" for all."""
    return [one for one in found if (not site or one.site in ("", site)) and (not phase or one.phase == phase)]


# ------------------------------------------------------------------ from the state to bars


def _bar(plan: Plan, state: State, key: StepKey, now: datetime, locale: str, ends: Mapping[StepKey, date | None]) -> Bar:
    step, planned = state.step(key), plan.steps[key.step].step
    place, _ = place_of(state, key.site)
    due = clocks.local_date(step.due_at, place) if step.due_at else None
    opened = clocks.local_date(step.opened_at, place) if step.opened_at else None
    ended = clocks.local_date(step.since, place) if step.since and opened and not step.status.is_live else None
    start = _start(plan, state, key, ends) if opened is None and shown_status(state, step) is StepStatus.WAITING else None
    end = ends.get(key)
    return Bar(
        step=key.step,
        title=in_locale(planned.title, locale),
        site=key.site,
        phase=planned.phase.value,
        round=step.round,
        status=shown_status(state, step).value,
        late=is_late(step, state.held_since(key.site) or now),
        planned=(opened, due) if opened and due else (start, max(start, end)) if start and end else None,
        real=(opened, ended) if opened else None,
        due=due,
        is_forecast=opened is None,
    )


def _ends(plan: Plan, state: State, keys: Sequence[StepKey], now: datetime) -> dict[StepKey, date | None]:
    """The day each step is, or should be, through; None for one that never will be."""
    by_step: dict[str, list[StepKey]] = {}
    for key in keys:
        by_step.setdefault(key.step, []).append(key)
    found: dict[StepKey, date | None] = {}
    for name in _in_order(plan):
        for key in by_step.get(name, ()):
            found[key] = _end(plan, state, key, now, found)
    return found


@lru_cache(maxsize=256)
def _in_order(plan: Plan) -> tuple[str, ...]:
    graph = {name: [after.step for after in planned.step.after] for name, planned in plan.steps.items()}
    return tuple(graphlib.TopologicalSorter(graph).static_order())


def _end(plan: Plan, state: State, key: StepKey, now: datetime, ends: Mapping[StepKey, date | None]) -> date | None:
    step = state.step(key)
    place, _ = place_of(state, key.site)
    today = clocks.local_date(now, place)
    if step.status.is_through:
        return clocks.local_date(step.since or now, place)
    if shown_status(state, step) is StepStatus.STOPPED:
        return None
    if step.status.is_live:
        return max(clocks.local_date(step.due_at, place), today) if step.due_at else today
    start = _start(plan, state, key, ends)
    return start and _due_from(plan, state, step, start)


def _due_from(plan: Plan, state: State, step: StepState, start: date) -> date:
    due, (place, _) = plan.steps[step.key.step].step.due, place_of(state, step.key.site)
    if due is None:
        return start
    return clocks.local_date(clocks.deadline(due, datetime.combine(start, time(12), UTC), place).due_at, place)


def _start(plan: Plan, state: State, key: StepKey, ends: Mapping[StepKey, date | None]) -> date | None:
    """The day all before a step should be through; None when something before it never will be."""
    days: list[date | None] = []
    for after in plan.steps[key.step].step.after:
        if plan.steps[after.step].when is not None and StepKey(after.step, key.site) not in state.steps:
            continue
        earlier = [StepKey(after.step, key.site if plan.is_site_step(after.step) else "")]
        if plan.is_site_step(after.step) and not key.site:
            days += _joined([end for one, end in ends.items() if one.step == after.step and end], after.sites)
        else:
            days += [ends.get(one) for one in earlier]
    known = [day for day in days if day]
    return max(known) if known and len(known) == len(days) else None


def _joined(ends: Sequence[date], sites: str | int) -> list[date | None]:
    if not ends:
        return [None]
    if sites == "all":
        return [max(ends)]
    return [sorted(ends)[min(1 if sites == "any" else int(sites), len(ends)) - 1]]


# ------------------------------------------------------------------ from bars to a drawing


@dataclass(frozen=True, slots=True)
class Scale:
    """Days to units across the drawing."""

    first: date
    last: date

    @classmethod
    def of(cls, found: Sequence[Bar], today: date) -> Scale:
        days = [today, *(day for one in found for pair in (one.planned, one.real) if pair for day in pair if day)]
        days += [one.due for one in found if one.due]
        return cls(min(days) - timedelta(days=2), max(days) + timedelta(days=3))

    def x(self, day: date) -> int:
        return LABELS + round((day - self.first).days * (WIDTH - LABELS) / max((self.last - self.first).days, 1))

    def months(self) -> list[date]:
        """The first of each month, thinned out so that their names have room."""
        found, day = [], self.first.replace(day=1)
        while day <= self.last:
            found += [day] if day >= self.first else []
            day = (day + timedelta(days=32)).replace(day=1)
        return found[:: len(found) // 12 + 1]


def month(day: date, locale: Locale) -> str:
    """The short name of a month with its year."""
    return str(format_date(day, "MMM yy", locale=locale))


def draw(found: Sequence[Bar], today: date, *, title: str, desc: str, month: Callable[[date], str], today_word: str) -> Markup:
    """The chart as an SVG with a title and a description. Colours are classes of the style sheet, light and dark."""
    scale, height = Scale.of(found, today), TOP + ROW * len(found) + 4
    parts = [
        f'<svg class="gantt" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-labelledby="gantt-title gantt-desc"><title id="gantt-title">{escape(title)}</title>'
        f'<desc id="gantt-desc">{escape(desc)}</desc>',
        *_axis(scale, height, month),
        *(part for number, one in enumerate(found) for part in _row(scale, one, number, today)),
        _today(scale, height, today, today_word),
        "</svg>",
    ]
    # Put together as plain text, ten times faster than piece by piece: every word in it is escaped, all else are numbers.
    return Markup("".join(parts))  # noqa: S704


def _axis(scale: Scale, height: int, month: Callable[[date], str]) -> Iterable[str]:
    for day in scale.months():
        x = scale.x(day)
        yield f'<path class="tick" d="M{x} 16V{height}"/><text class="month" x="{x + 2}" y="12">{escape(month(day))}</text>'


def _row(scale: Scale, one: Bar, number: int, today: date) -> Iterable[str]:
    y = TOP + ROW * number
    yield f'<text class="label" x="2" y="{y + 12}">{escape(_label(one))}</text>'
    if one.planned:
        yield _rect("forecast" if one.is_forecast else "planned", scale.x(one.planned[0]), scale.x(one.planned[1]), y + 2, 12)
    if one.real:
        yield _rect("late" if one.late else "real", scale.x(one.real[0]), scale.x(one.real[1] or max(today, one.real[0])), y + 5, 6)
    if one.due:
        yield f'<path class="due" d="M{scale.x(one.due)} {y + 1}v14"/>'


def _rect(kind: str, start: int, end: int, y: int, height: int) -> str:
    return f'<rect class="{kind}" x="{start}" y="{y}" width="{max(end - start, 2)}" height="{height}"/>'


def _label(one: Bar) -> str:
    said = f"{one.site} – {one.title}" if one.site else one.title
    return said if len(said) <= LONGEST_LABEL else said[: LONGEST_LABEL - 1].rstrip() + "…"


def _today(scale: Scale, height: int, today: date, word: str) -> str:
    x = scale.x(today)
    return f'<path class="today" d="M{x} 16V{height}"/><text class="now" x="{x + 3}" y="24">{escape(word)}</text>'
