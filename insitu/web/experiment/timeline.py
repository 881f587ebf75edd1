"""The timeline: every step as planned and as it went, drawn and as a table."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from insitu.entrance.page import language_of
from insitu.entrance.visitor import SeesExperiment
from insitu.web.experiment import gantt
from insitu.web.experiment.frame import experiment_page
from protocols import clocks
from sites.board import PHASES, keys_of
from sites.snapshot import load

router = APIRouter()

MOST = 200  # rows of one drawing: more is neither read nor light


@router.get("/experiments/{code}/timeline")
def timeline(request: Request, seen: SeesExperiment, site: str = "", phase: str = "") -> Response:
    """The Gantt chart; with more rows than can be read, one phase or one site at a time."""
    visitor, tongue = seen.visitor, language_of(request)
    with visitor.doors.database.read() as connection:
        state = load(connection, seen.row).state
        keys = [key for key in keys_of(seen.plan, state) if seen.access.sees_site(key.site)]
        sites = [code for code in state.sites if seen.access.sees_site(code)]
        bars = gantt.bars(seen.plan, state, keys, visitor.reader.now, visitor.locale)
        site = site if site in sites else ""
        phase = phase if phase in [one.value for one in PHASES] else ""
        chosen = gantt.chosen(bars, site, phase)
        if len(chosen) > MOST:
            site = site or sites[0]
            chosen = gantt.chosen(bars, site, phase)
        today = clocks.local_date(visitor.reader.now, state.place)
        drawing = gantt.draw(
            chosen,
            today,
            title=tongue(gantt.TITLE, code=seen.code),
            desc=tongue(gantt.DESCRIPTION, count=len(chosen), today=tongue.day(today, short=True)),
            month=lambda day: gantt.month(day, tongue.locale),
            today_word=tongue(gantt.TODAY),
        )
        return experiment_page(
            request,
            seen,
            connection,
            "timeline.html",
            drawing=drawing,
            bars=chosen[:MOST],
            site=site,
            phase=phase,
            phase_options=[(one.value, tongue.word(one.value)) for one in PHASES if any(bar.phase == one.value for bar in bars)],
            cut=max(0, len(chosen) - MOST),
        )
