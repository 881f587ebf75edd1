"""The `evaluate` action: what an experiment's answers come to, as figures and one drawing."""

from __future__ import annotations

from typing import Any

from flows.actions import ActionContext
from flows.actions.plot import draw
from flows.actions.record import read
from flows.actions.statistics import evaluation, figures


def evaluate(context: ActionContext) -> dict[str, Any]:
    """The figures of every passed step by site and pooled, with the drawing stored as a document.

    A pure function of the answers: done twice it gives the same result and stores the drawing once. There is no drawing, and
    `documents` is empty, when no site has passed a step with a number in its form.
    """
    record = read(context.database, context.experiment)
    drawing = draw(figures(context.protocol, record.state), context.locale)
    return evaluation(context.protocol, record.state) | {"documents": _stored(context, drawing)}


def _stored(context: ActionContext, drawing: str) -> list[dict[str, str]]:
    if not drawing:
        return []
    name, media_type = f"{context.experiment}-evaluation.svg", "image/svg+xml"
    digest = context.ledger.store_document(name, media_type, drawing.encode())
    return [{"name": name, "media_type": media_type, "hash": digest}]
