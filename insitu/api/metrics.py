"""Figures in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from insitu.api.answers import reads
from insitu.api.health import parts_of
from insitu.api.route import noun
from insitu.entrance.doors import doors_of
from insitu.entrance.served import BOUNDS_S, Served
from insitu.entrance.visitor import Watching
from insitu.supervision import Condition, State
from sites.figures import Figures, figures

router = noun("health")

MEDIA_TYPE = "text/plain; version=0.0.4"
EXAMPLE = """\
# HELP insitu_gates_open Live gates, by what they await.
# TYPE insitu_gates_open gauge
insitu_gates_open{awaits="answers"} 3
"""
Sample = tuple[str, float]


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=reads(403)
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE}}, "description": "The figures."}},
    operation_id="getMetrics",
)
def metrics(request: Request, _: Watching) -> Response:
    """Give the figures for Prometheus

    Counts and ages, no names. For project managers of everything, and from this machine without a token.
    """
    doors, served = doors_of(request), request.app.state.served
    lines = [*_of_ledger(figures(doors.database, doors.clock.now())), *_of_parts(parts_of(doors)), *_of_requests(served)]
    return Response("\n".join(lines) + "\n", media_type=MEDIA_TYPE)


def _of_ledger(found: Figures) -> Iterable[str]:
    yield from _family("experiments", "gauge", "Experiments, by state.", _labelled("state", found.experiments))
    yield from _family("gates_open", "gauge", "Live gates, by what they await.", _labelled("awaits", found.gates))
    yield from _family("gates_late", "gauge", "Live gates past their deadline.", [("", found.late)])
    yield from _family("incidents_open", "gauge", "Things that need a project manager's eye.", [("", found.incidents)])
    yield from _family("outbox_owed", "gauge", "Messages owed and not sent.", [("", found.notices_owed)])
    yield from _family("letters_owed", "gauge", "Letters owed and not sent.", [("", found.letters_owed)])
    yield from _family("dispatcher_notice_age_seconds", "gauge", "How long the oldest message has been due.", [("", found.notice_age_s)])
    yield from _family("dispatcher_timer_age_seconds", "gauge", "How long the oldest timer has been due.", [("", found.timer_age_s)])
    yield from _family("projection_owed", "gauge", "Experiments that Prefect does not show as they stand.", [("", found.unprojected)])


def _of_parts(parts: Mapping[str, Condition]) -> Iterable[str]:
    are_well = {name: int(part.state is State.OK) for name, part in parts.items()}
    yield from _family("part_ok", "gauge", "Whether a part is well, as in /health.", _labelled("part", are_well))


def _of_requests(served: Served) -> Iterable[str]:
    yield from _family("requests_total", "counter", "Requests answered, by class of status.", _labelled("status", served.by_status))
    buckets: list[Sample] = [(f'_bucket{{le="{bound:g}"}}', served.within[bound]) for bound in BOUNDS_S]
    whole: list[Sample] = [('_bucket{le="+Inf"}', served.total), ("_sum", served.seconds), ("_count", served.total)]
    yield from _family("request_seconds", "histogram", "Time to answer.", [*buckets, *whole])


def _labelled(name: str, counts: Mapping[str, int]) -> list[Sample]:
    return [(f'{{{name}="{value}"}}', count) for value, count in sorted(counts.items())]


def _family(name: str, kind: str, what: str, samples: Iterable[Sample]) -> Iterable[str]:
    yield f"# HELP insitu_{name} {what}"
    yield f"# TYPE insitu_{name} {kind}"
    yield from (f"insitu_{name}{labels} {value:g}" for labels, value in samples)
