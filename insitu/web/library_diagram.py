"""A protocol as a drawing: where each step's box stands and how each arrow runs, by phase from top to bottom. Pure; lengths in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from protocols.model import Phase, Protocol, Scope, Step, in_locale

BOX_WIDTH, BOX_HEIGHT = 196, 64
ACROSS, DOWN = 26, 40  # between boxes, between rows
MOST_IN_A_ROW = 4
HEAD = 34  # above a phase's boxes, where its name stands
MARGIN, BACK = 24, 64  # around the drawing; to the right of it, where ways back run
LINE_LETTERS, MOST_LINES = 24, 2


@dataclass(frozen=True, slots=True)
class Box:
    """A step: its place in the order of the steps (from 1), its corner, and its title in lines that fit."""

    step: str
    number: int
    left: int
    top: int
    lines: tuple[str, ...]
    is_site_step: bool
    may_stop: bool

    @property
    def middle(self) -> int:
        return self.left + BOX_WIDTH // 2

    @property
    def bottom(self) -> int:
        return self.top + BOX_HEIGHT


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a step to one after it, or, where `goes_back`, to the earlier one it returns to; `path` is SVG's."""

    start: str
    end: str
    path: str
    goes_back: bool


@dataclass(frozen=True, slots=True)
class Band:
    """A phase's part of the drawing."""

    phase: Phase
    top: int
    height: int


@dataclass(frozen=True, slots=True)
class Diagram:
    """The whole drawing."""

    width: int
    height: int
    bands: tuple[Band, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def diagram(protocol: Protocol, locale: str) -> Diagram:
    """The drawing of a protocol's steps, their titles in a locale. The same protocol always gives the same drawing."""
    order = {step.id: number for number, step in enumerate(protocol.steps, 1)}
    boxes: dict[str, Box] = {}
    bands: list[Band] = []
    top, widest = MARGIN, 1
    for phase in Phase:
        steps = [step for step in protocol.steps if step.phase is phase]
        if not steps:
            continue
        rows = _rows(steps, {name: box.middle for name, box in boxes.items()})
        widest = max(widest, *(len(row) for row in rows))
        for number, row in enumerate(rows):
            boxes |= {box.step: box for box in _row(row, top + HEAD + number * (BOX_HEIGHT + DOWN), order, locale)}
        height = HEAD + len(rows) * (BOX_HEIGHT + DOWN) - DOWN // 2
        bands.append(Band(phase, top, height))
        top += height + DOWN // 2
    width = 2 * MARGIN + _across(min(MOST_IN_A_ROW, len(boxes))) + BACK
    return Diagram(width, top + MARGIN // 2, tuple(bands), tuple(boxes.values()), tuple(_arrows(protocol.steps, boxes, width)))


def _across(boxes: int) -> int:
    return boxes * BOX_WIDTH + (boxes - 1) * ACROSS


def _rows(steps: Sequence[Step], placed: dict[str, int]) -> list[list[Step]]:
    """A phase's steps in rows: each below those of the phase that it comes after, near what it comes after, no row too long."""
    depth = _depths(steps)
    rows: list[list[Step]] = []
    middles = dict(placed)
    for level in range(max(depth.values()) + 1):
        found = [step for step in steps if depth[step.id] == level]
        found.sort(key=lambda step: _pull(step, middles))  # stable: those pulled alike keep the protocol's order
        for start in range(0, len(found), MOST_IN_A_ROW):
            rows.append(found[start : start + MOST_IN_A_ROW])
            middles |= {step.id: left for step, left in zip(rows[-1], _lefts(len(rows[-1])), strict=True)}
    return rows


def _depths(steps: Sequence[Step]) -> dict[str, int]:
    """How many steps of the phase stand before each, on the longest way."""
    by_id = {step.id: step for step in steps}
    depth: dict[str, int] = {}

    def of(name: str, seen: frozenset[str]) -> int:
        if name not in depth:
            before = [one.step for one in by_id[name].after if one.step in by_id and one.step not in seen]
            depth[name] = 1 + max((of(one, seen | {one}) for one in before), default=-1)
        return depth[name]

    for step in steps:
        of(step.id, frozenset({step.id}))
    return depth


def _pull(step: Step, middles: dict[str, int]) -> float:
    known = [middles[one.step] for one in step.after if one.step in middles]
    return sum(known) / len(known) if known else 0.0


def _lefts(count: int) -> list[int]:
    """The left edges of a row's boxes, centred."""
    start = MARGIN + (_across(MOST_IN_A_ROW) - _across(count)) // 2
    return [start + number * (BOX_WIDTH + ACROSS) for number in range(count)]


def _row(steps: Sequence[Step], top: int, order: dict[str, int], locale: str) -> Iterable[Box]:
    for step, left in zip(steps, _lefts(len(steps)), strict=True):
        lines = wrapped(in_locale(step.title, locale))
        yield Box(step.id, order[step.id], left, top, lines, step.scope is Scope.SITE, step.gate.stop is not None)


def _arrows(steps: Iterable[Step], boxes: dict[str, Box], width: int) -> Iterable[Arrow]:
    for step in steps:
        for after in step.after:
            if after.step in boxes:
                yield Arrow(after.step, step.id, _down(boxes[after.step], boxes[step.id]), False)
        back = step.gate.return_
        if back and back.to in boxes:
            yield Arrow(step.id, back.to, _back(boxes[step.id], boxes[back.to], width), True)


def _down(start: Box, end: Box) -> str:
    bend = max(DOWN // 2, abs(end.top - start.bottom) // 3)
    return f"M{start.middle} {start.bottom} C{start.middle} {start.bottom + bend} {end.middle} {end.top - bend} {end.middle} {end.top - 3}"


def _back(start: Box, end: Box, width: int) -> str:
    """Round the right side, the further out the longer the way."""
    right, level, goal = start.left + BOX_WIDTH, start.top + BOX_HEIGHT // 2, end.top + BOX_HEIGHT // 2 + 8
    out = width - MARGIN - max(0, BACK - 16 - abs(level - goal) // 14)
    return f"M{right} {level} C{out} {level} {out} {goal} {end.left + BOX_WIDTH + 3} {goal}"


def wrapped(text: str, letters: int = LINE_LETTERS, most: int = MOST_LINES) -> tuple[str, ...]:
    """A title in lines that fit its box; what does not fit ends in `…`."""
    lines = [""]
    for word in text.split():
        piece = word if len(word) <= letters else word[: letters - 1] + "…"
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > letters:
            lines.append(piece)
        else:
            lines[-1] = f"{lines[-1]} {piece}".strip()
    if len(lines) > most:
        return (*lines[: most - 1], lines[most - 1][: letters - 1].rstrip() + "…")
    return tuple(lines)


def overlaps(found: Diagram) -> list[tuple[str, str]]:
    """The pairs of boxes that lie on each other; none in a sound drawing."""
    rows: dict[int, list[Box]] = {}
    for box in found.boxes:
        rows.setdefault(box.top, []).append(box)
    sorted_rows = [sorted(row, key=lambda box: box.left) for row in rows.values()]
    beside = [(a.step, b.step) for row in sorted_rows for a, b in pairwise(row) if a.left + BOX_WIDTH > b.left]
    tops = sorted(rows)
    return beside + [(rows[a][0].step, rows[b][0].step) for a, b in pairwise(tops) if a + BOX_HEIGHT > b]
