"""Experiments: launched, listed, looked into, paused and ended."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from insitu.api.answers import LINKED, PAGED, reads, writes
from insitu.api.idempotency import Once
from insitu.api.paging import Paged, link
from insitu.api.route import PREFIX, noun
from insitu.api.shapes.experiments import Board, BoardGate, Deadline, Fact, Launch, Launched, Managed, Standing, State, Summary
from insitu.entrance.visitor import GlobalManager, SeesExperiment, SignedIn
from sites import inbox, portfolio

router = noun("experiments")

Site = Annotated[str, Query(max_length=64, description="Only at this site, by its code.", examples=["CAEN"])]
Step = Annotated[str, Query(max_length=64, description="Only about this step.", examples=["protocol_review"])]


@router.post("/experiments", status_code=201, response_model=Launched, responses=writes(201), operation_id="launchExperiment")
def launch(body: Launch, visitor: GlobalManager, once: Once, response: Response) -> Any:
    """Launch an experiment

    Starts a run of a protocol at some sites; its first steps open at once. Only project managers of everything may.
    """
    ledger = visitor.doors.ledger
    found = ledger.launch(
        body.protocol,
        body.sites,
        body.launch,
        visitor.person,
        version=body.version,
        title=body.title,
        command_id=once.command_id,
    )
    response.headers["Location"] = f"{PREFIX}/experiments/{found['code']}"
    return found


@router.get("/experiments", response_model=list[Summary], responses=reads(headers=PAGED), operation_id="listExperiments")
def experiments(
    visitor: SignedIn,
    paged: Paged,
    state: Annotated[State | None, Query(description="Only in this state.")] = None,
    site: Site = "",
    protocol: Annotated[str, Query(max_length=64, description="Only of this protocol, by its id.", examples=["telerehab-hip"])] = "",
    q: Annotated[str, Query(max_length=200, description="Only with this text in the code or the title.", examples=["hip"])] = "",
) -> Any:
    """List the experiments

    Those the caller sees, the latest launched first; what is counted is counted over what they see.
    """
    doors = visitor.doors
    found = portfolio.experiments(
        doors.database,
        visitor.reader,
        doors.clock.now(),
        visitor.locale,
        state=state or "",
        site=site,
        protocol=protocol,
        q=q,
        page=paged.page,
        size=paged.size,
    )
    paged.tell(found["total"])
    return found["items"]


@router.get("/experiments/{code}", response_model=Board, responses=reads(404), operation_id="getExperiment")
def experiment(seen: SeesExperiment) -> Any:
    """Show an experiment

    Its state, phase and sites, and its gate board: every gate the caller sees, with all that a closed one waits for.
    """
    return _board(seen)


@router.get("/experiments/{code}/gates", response_model=list[BoardGate], responses=reads(404), operation_id="listGates")
def gates(seen: SeesExperiment) -> Any:
    """List an experiment's gates

    In the protocol's order, a site step once for each site the caller sees.
    """
    return _board(seen)["gates"]


def _board(seen: SeesExperiment) -> dict[str, Any]:
    visitor, doors = seen.visitor, seen.visitor.doors
    return inbox.status(doors.database, seen.code, doors.clock.now(), visitor.locale, access=seen.access)


@router.get("/experiments/{code}/journal", response_model=list[Fact], responses=reads(404, headers=LINKED), operation_id="listFacts")
def journal(
    seen: SeesExperiment,
    request: Request,
    response: Response,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Only facts numbered higher (`seq`): the last one read.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most this many.")] = 200,
    kind: Annotated[list[str] | None, Query(max_length=50, description="Only of these kinds; may be given again.")] = None,
    step: Step = "",
    site: Site = "",
    by: Annotated[str, Query(max_length=64, description="Only by this person.", examples=["m.leroy"])] = "",
) -> Any:
    """Read an experiment's journal

    Its facts, oldest first. Go on with the header `Link`, or with the last `seq` as `after`. What was typed is left out where the
    caller may not read it.
    """
    database = seen.visitor.doors.database
    facts = inbox.journal(database, seen.code, seen.access, after=after, limit=limit, kinds=tuple(kind or ()), step=step, site=site, by=by)
    if len(facts) == limit:
        link(request, response, {"next": {"after": facts[-1]["seq"]}})
    return facts


@router.post("/experiments/{code}/hold", response_model=Standing, responses=writes(), operation_id="holdExperiment")
def hold(body: Managed, seen: SeesExperiment, once: Once) -> Any:
    """Put an experiment on hold

    Or one site's part in it: clocks stand still and nothing can be completed until the release.
    """
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person
    return ledger.hold(seen.code, by, body.reason, site=body.site or "", command_id=once.command_id)


@router.post("/experiments/{code}/release", response_model=Standing, responses=writes(), operation_id="releaseExperiment")
def release(body: Managed, seen: SeesExperiment, once: Once) -> Any:
    """Let an experiment go on

    Or one site's part in it: its deadlines move by the time it was held.
    """
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person
    return ledger.release(seen.code, by, body.reason, site=body.site or "", command_id=once.command_id)


@router.post("/experiments/{code}/stop", response_model=Standing, responses=writes(), operation_id="stopExperiment")
def stop(body: Managed, seen: SeesExperiment, once: Once) -> Any:
    """End an experiment early

    Or one site's part in it, for good; the other sites go on.
    """
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person
    return ledger.stop(seen.code, by, body.reason, site=body.site or "", command_id=once.command_id)


@router.get("/deadlines", response_model=list[Deadline], responses=reads(), operation_id="listDeadlines")
def deadlines(
    visitor: SignedIn,
    days: Annotated[int, Query(ge=1, le=366, description="How many days ahead.")] = 30,
) -> Any:
    """List the deadlines ahead

    The live steps the caller sees that are late or due within some days, the nearest first.
    """
    doors = visitor.doors
    return portfolio.deadlines(doors.database, visitor.reader, doors.clock.now(), visitor.locale, days)
