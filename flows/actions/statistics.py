"""Descriptive statistics of answers: which figures an experiment has, and what they come to by site and pooled.

Standard deviations have n - 1 below the line. Quantiles are type 7 of R. J. Hyndman and Y. Fan, "Sample quantiles in statistical
packages", The American Statistician 50 (1996) 361-365: linear between order statistics, the default of R and of numpy. Answers of
text, dates, files and persons are never described, so that no identity enters a figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from protocols.conditions import compile_condition
from protocols.model import FieldType, FormField, Protocol, Scope, Step
from protocols.plan import converted, converters
from protocols.state import State, StepKey, StepStatus

METHOD = {"sd": "n - 1", "quantiles": "Hyndman and Fan (1996), type 7", "rounds": "last round of passed steps"}
NUMERIC = frozenset({FieldType.NUMBER, FieldType.INTEGER})
COUNTED = frozenset({FieldType.BOOLEAN, FieldType.CHOICE, FieldType.CHOICES})
SIGNIFICANT_DIGITS = 10

Per = Literal["experiment", "site", "row"]
Answers = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one figure at one site ("" for the experiment); None where the field was shown and left unanswered."""

    site: str
    values: tuple[Any, ...]
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """One described field: of a form, or a column of its table. `per` says what one value stands for."""

    step: Step
    field: FormField
    column: FormField | None
    per: Per
    samples: tuple[Sample, ...]

    @property
    def described(self) -> FormField:
        return self.column or self.field

    @property
    def is_numeric(self) -> bool:
        return self.described.type in NUMERIC

    @property
    def pooled(self) -> tuple[Any, ...]:
        return tuple(value for sample in self.samples for value in sample.values)

    def summary(self, values: Sequence[Any] | None = None) -> dict[str, Any]:
        """What the values, by default all of them, come to."""
        chosen = self.pooled if values is None else values
        return describe(chosen) if self.is_numeric else tally(chosen, _possible(self.described))


def figures(protocol: Protocol, state: State) -> tuple[Figure, ...]:
    """The figures of every passed step, in the protocol's order; sites in theirs. A figure that was never shown is left out."""
    found = [figure for step in protocol.steps for figure in _of_step(step, state)]
    return tuple(figure for figure in found if figure.pooled)


def evaluation(protocol: Protocol, state: State) -> dict[str, Any]:
    """Every figure by site and pooled, as JSON. Sites that ended early count where they had passed, and are marked."""
    return {
        "method": METHOD,
        "sites": [{"code": site.code, "state": site.state.value} for site in state.sites.values()],
        "figures": [as_json(figure) for figure in figures(protocol, state)],
    }


def as_json(figure: Figure) -> dict[str, Any]:
    """A figure with its summaries: `by_site` is empty for an experiment step, and gives bare values where a site has just one."""
    return {
        "step": figure.step.id,
        "field": figure.field.id,
        "column": figure.column.id if figure.column else None,
        "per": figure.per,
        "kind": "numeric" if figure.is_numeric else "counts",
        "unit": figure.described.unit,
        "by_site": [_site_json(figure, sample) for sample in figure.samples if sample.site],
        "pooled": figure.summary(),
    }


def describe(values: Sequence[float | None]) -> dict[str, Any]:
    """n, missing, total, mean, SD, median, quartiles, IQR, least and greatest; null where too few values define them.

    Figures are rounded to ten significant digits, beyond any measurement and short of the machine's noise.
    """
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    counts = {"n": int(known.size), "missing": len(values) - int(known.size)}
    if not known.size:
        return counts | dict.fromkeys(("total", "mean", "sd", "median", "q1", "q3", "iqr", "min", "max"))
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75), method="linear")
    return counts | {
        "total": _rounded(known.sum()),
        "mean": _rounded(known.mean()),
        "sd": _rounded(known.std(ddof=1)) if known.size > 1 else None,
        "median": _rounded(middle),
        "q1": _rounded(low),
        "q3": _rounded(high),
        "iqr": _rounded(high - low),
        "min": _rounded(known.min()),
        "max": _rounded(known.max()),
    }


def tally(values: Sequence[Any], possible: Sequence[Any]) -> dict[str, Any]:
    """How many chose each possible answer, and the percentage of those who answered; of `choices` it may exceed 100 in all."""
    answered = [value for value in values if value is not None]
    chosen = Counter(item for value in answered for item in (value if isinstance(value, list) else [value]))
    counts = [{"value": item, "n": chosen[item], "percent": _percent(chosen[item], len(answered))} for item in possible]
    return {"n": len(answered), "missing": len(values) - len(answered), "counts": counts}


def _of_step(step: Step, state: State) -> Iterator[Figure]:
    form = step.checkpoint.form if step.checkpoint else ()
    per: Per = "site" if step.scope is Scope.SITE else "experiment"
    places = state.sites if per == "site" else [""]
    passed = [(place, done.answers or {}) for place in places if (done := state.step(StepKey(step.id, place))).status is StepStatus.PASSED]
    for field in form:
        shown = [(place, answers) for place, answers in passed if _is_shown(field, form, answers, state.launch)]
        if field.type in NUMERIC | COUNTED:
            yield Figure(
                step,
                field,
                None,
                per,
                tuple(Sample(place, (answers.get(field.id),), state.site_is_stopped(place)) for place, answers in shown),
            )
        for column in (column for column in field.columns if column.type in NUMERIC | COUNTED):
            yield Figure(
                step,
                field,
                column,
                "row",
                tuple(Sample(place, _cells(field, column, answers), state.site_is_stopped(place)) for place, answers in shown),
            )


def _cells(field: FormField, column: FormField, answers: Answers) -> tuple[Any, ...]:
    rows: Sequence[Answers] = answers.get(field.id) or []
    return tuple(row.get(column.id) for row in rows if _is_shown(column, field.columns, row, {}))


def _is_shown(field: FormField, form: Sequence[FormField], answers: Answers, launch: Answers) -> bool:
    if field.show_if is None or answers.get(field.id) is not None:
        return True
    condition = compile_condition(field.show_if)
    verdict = condition.evaluate({"launch": launch, "answers": converted(answers, converters(form), condition.nulls)})
    return verdict.holds or verdict.undecided


def _site_json(figure: Figure, sample: Sample) -> dict[str, Any]:
    site = {"site": sample.site, "stopped": sample.is_stopped}
    return site | ({"value": sample.values[0]} if figure.per == "site" else figure.summary(sample.values))


def _possible(field: FormField) -> Sequence[Any]:
    return (True, False) if field.type is FieldType.BOOLEAN else field.option_values


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _rounded(value: np.float64) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
