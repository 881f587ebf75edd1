"""One drawing of an evaluation: each numeric figure by site and over all sites, as accessible SVG.

A dot is one value; a box runs from the first to the third quartile around the median, its whiskers to the least and the greatest.
Shape, never colour, tells a stopped site.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.actions.numbers import written
from flows.actions.statistics import Figure
from protocols.model import Scope, in_locale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 24
BOX_FROM = 5  # fewer values are shown better by their dots alone
INK, PAPER = "#1b2a49", "#ffffff"
WORDS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "title": "Valeurs par site",
        "all": "Tous les sites",
        "active": "site actif",
        "stopped": "site arrêté",
        "box": "boîte : quartiles et médiane ; moustaches : minimum et maximum",
        "one": "{label}, {place} : {median}",
        "figure": "{label}, {place} : n = {n}, médiane {median}, de {min} à {max}",
        "none": "{label}, {place} : aucune valeur",
    },
    "en": {
        "title": "Values by site",
        "all": "All sites",
        "active": "active site",
        "stopped": "stopped site",
        "box": "box: quartiles and median; whiskers: least and greatest",
        "one": "{label}, {place}: {median}",
        "figure": "{label}, {place}: n = {n}, median {median}, from {min} to {max}",
        "none": "{label}, {place}: no value",
    },
}
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "insitu",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "text.parse_math": False,
}

# matplotlib keeps its settings in one place for the whole process, and a worker runs several actions in threads.
_one_drawing = threading.Lock()


def drawable(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """The figures that a drawing by site can show: numbers of site steps, with a value; columns of tables first."""
    by_site = [figure for figure in figures if figure.is_numeric and figure.step.scope is Scope.SITE]
    known = [figure for figure in by_site if any(value is not None for value in figure.pooled)]
    return tuple(sorted(known, key=lambda figure: figure.per != "row"))


def draw(figures: Sequence[Figure], locale: str) -> str:
    """The drawing as an `<svg>` element with a title and a text alternative; "" when there is nothing to draw.

    The same figures always give the same text. At most `MAX_PANELS` of them are drawn.
    """
    if not (shown := drawable(figures)[:MAX_PANELS]):
        return ""
    with _one_drawing:
        drawing = _drawing(shown, locale)
    return _accessible(drawing, WORDS[locale]["title"], alternative(shown, locale))


def alternative(figures: Sequence[Figure], locale: str) -> str:
    """What the drawing shows, in words: each figure at each site, then pooled."""
    return "\n".join(sentence for figure in figures for sentence in _sentences(figure, locale))


def label(figure: Figure, locale: str) -> str:
    """The field's label, after its table's and before its unit."""
    name = in_locale(figure.described.label, locale)
    name = f"{in_locale(figure.field.label, locale)} – {name}" if figure.column else name
    return f"{name} ({figure.described.unit})" if figure.described.unit else name


def _sentences(figure: Figure, locale: str) -> list[str]:
    words = WORDS[locale]
    places = [(f"{sample.site}, {words['stopped']}" if sample.is_stopped else sample.site, sample.values) for sample in figure.samples]
    sentences = []
    for place, values in (*places, (words["all"], figure.pooled)):
        summary = figure.summary(values)
        shown = {key: written(value, locale) for key, value in summary.items()}
        sentence = words[("none", "one")[summary["n"]] if summary["n"] < 2 else "figure"]
        sentences.append(sentence.format(label=label(figure, locale), place=place, **shown))
    return sentences


def _drawing(figures: Sequence[Figure], locale: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Sheet

    with matplotlib.rc_context(SETTINGS):
        columns = min(2, len(figures))
        rows = -(-len(figures) // columns)
        tallest = max(len(figure.samples) for figure in figures) + 1
        sheet = Sheet(figsize=(3.4 * columns, rows * (0.75 + 0.2 * tallest) + 0.45), layout="constrained", facecolor=PAPER)
        FigureCanvasSVG(sheet)
        panels = sheet.subplots(rows, columns, squeeze=False).ravel()
        for panel, figure in zip(panels, figures, strict=False):
            _panel(panel, figure, locale)
        for panel in panels[len(figures) :]:
            panel.set_axis_off()
        _legend(sheet, figures, locale)
        written_to = io.StringIO()
        sheet.savefig(written_to, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        return written_to.getvalue()


def _panel(panel: Axes, figure: Figure, locale: str) -> None:
    from matplotlib.ticker import MaxNLocator

    places = [*((sample.site, sample.values, sample.is_stopped) for sample in figure.samples), (WORDS[locale]["all"], figure.pooled, None)]
    for height, (_, values, is_stopped) in enumerate(places):
        _place(panel, height, [value for value in values if value is not None], is_stopped)
    panel.set_yticks(range(len(places)), [name for name, _, _ in places])
    panel.set_ylim(len(places) - 0.4, -0.6)
    panel.axhline(len(places) - 1.5, color=INK, linewidth=0.5)
    panel.set_title("\n".join(textwrap.wrap(label(figure, locale), 44)), fontsize=8, loc="left", fontweight="bold")
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.08)
    if figure.described.type.value == "integer":
        panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _place(panel: Axes, height: int, values: list[float], is_stopped: bool | None) -> None:
    """One line of a panel. `is_stopped` is None for the line that pools the sites."""
    if len(values) >= BOX_FROM:
        panel.boxplot([values], positions=[height], orientation="horizontal", widths=0.6, whis=(0, 100), manage_ticks=False, **_box())
    mark: dict[str, Any] = {"marker": "x", "s": 16, "color": INK}
    if not is_stopped:
        mark = {"marker": "o", "s": 9 if is_stopped is None else 16, "facecolors": INK if is_stopped is None else PAPER, "edgecolors": INK}
    panel.scatter(values, _spread(values, height), linewidths=0.9, zorder=3, **mark)


def _box() -> dict[str, Any]:
    line: dict[str, Any] = {"color": INK, "linewidth": 0.8}
    return {"boxprops": line, "whiskerprops": line, "capprops": line, "medianprops": {"color": INK, "linewidth": 2}}


def _spread(values: Sequence[float], height: int) -> list[float]:
    """Equal values stand beside each other, not on each other."""
    seen: dict[float, int] = {}
    offsets = []
    for value in values:
        rank = seen[value] = seen.get(value, 0) + 1
        offsets.append(height + min(0.06 * (rank // 2), 0.3) * (1 if rank % 2 else -1))
    return offsets


def _legend(sheet: Any, figures: Sequence[Figure], locale: str) -> None:
    from matplotlib.lines import Line2D

    words = WORDS[locale]
    style: dict[str, Any] = {"color": INK, "linestyle": "none", "markersize": 4}
    marks = [Line2D([], [], marker="o", markerfacecolor=PAPER, label=words["active"], **style)]
    if any(sample.is_stopped for figure in figures for sample in figure.samples):
        marks.append(Line2D([], [], marker="x", label=words["stopped"], **style))
    marks.append(Line2D([], [], marker="o", label=words["all"].lower(), **{**style, "markersize": 3}))
    sheet.legend(handles=marks, loc="outside lower left", ncols=len(marks), frameon=False, fontsize=8, title=words["box"], alignment="left")


def _accessible(svg: str, title: str, description: str) -> str:
    """The bare element, named for a screen reader: neither prolog nor doctype, so that it also stands inside HTML."""
    element = svg[svg.index("<svg") :].strip()
    named = f"<title id='plot-title'>{html.escape(title)}</title>\n<desc id='plot-desc'>{html.escape(description)}</desc>"
    element = re.sub(r"<metadata>.*?</metadata>", "", element, count=1, flags=re.DOTALL)
    return re.sub(r"^<svg ([^>]*)>", rf"<svg role='img' aria-labelledby='plot-title plot-desc' \1>\n{_literal(named)}", element, count=1)


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")
