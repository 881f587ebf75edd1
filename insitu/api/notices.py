"""Messages sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import ConfigDict, Field

from insitu.api.answers import LINKED, reads
from insitu.api.paging import link
from insitu.api.route import noun
from insitu.api.shapes.common import Moment, Shown
from insitu.entrance.visitor import SignedIn, seen_experiment
from notifications.dispatch import sent
from sites.policy import EVERYTHING

router = noun("notices")
State = Literal["sending", "sent", "failed", "refused", "postponed", "digested", "muted", "dropped"]


class Notice(Shown):
    """A message as it was sent to one person. `error` is for project managers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 31,
                    "experiment": "TELEREHAB-HIP-1",
                    "kind": "opened",
                    "step": "protocol_review",
                    "site": "",
                    "round": 1,
                    "person": "m.leroy",
                    "channel": "mailto://…",
                    "subject": "TELEREHAB-HIP-1 – Protocol review",
                    "state": "sent",
                    "attempts": 1,
                    "error": "",
                    "at": "2026-03-02T09:00:03Z",
                }
            ]
        }
    )

    id: int
    experiment: str
    kind: str
    step: str
    site: str
    round: int
    person: str
    channel: str
    subject: str
    state: str = Field(
        description="`sending`, `sent`, `failed` (will be tried again), `refused` (will not), `postponed` (waits for the person's hours), "
        "`digested` (waits for a message that gathers several), `muted` (as the person asked) or `dropped` (overtaken while it waited)."
    )
    attempts: int
    error: str
    at: Moment


@router.get("/notices", response_model=list[Notice], responses=reads(404, headers=LINKED), operation_id="listNotices")
def notices(
    visitor: SignedIn,
    request: Request,
    response: Response,
    experiment: Annotated[str, Query(max_length=64, description="Only about this experiment.", examples=["TELEREHAB-HIP-1"])] = "",
    state: Annotated[State | None, Query(description="Only with this result.")] = None,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only older than this one (`id`): the last one read.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most this many.")] = 50,
) -> Any:
    """List the messages sent

    To whom, when, by which channel and with which result, the newest first. Of an experiment, those the caller may know of; without
    one, all for project managers of everything, and the caller's own for others.
    """
    database = visitor.doors.database
    chosen: dict[str, Any] = {"before": before, "limit": limit, "state": state or ""}
    if experiment:
        found = sent(database, experiment, seen_experiment(visitor, experiment).access, **chosen)
    elif visitor.reader.is_manager:
        found = sent(database, None, EVERYTHING, **chosen)
    else:
        found = [one | {"error": ""} for one in sent(database, None, EVERYTHING, person=visitor.person, **chosen)]
    if len(found) == limit:
        link(request, response, {"next": {"before": found[-1]["id"]}})
    return found
