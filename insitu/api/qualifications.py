"""The delegation log and the training records: who may do what at a site, on which evidence, signed by whom."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from insitu.api.answers import LINKED, reads, writes
from insitu.api.idempotency import Once
from insitu.api.paging import link
from insitu.api.route import noun
from insitu.api.shapes.common import Numbered
from insitu.api.shapes.registry import Delegation, Ending, NewDelegation, NewTraining, RecordSigning, Training
from insitu.entrance.proof import proof_of
from insitu.entrance.visitor import SignedIn
from sites import qualifications
from sites.qualifications import PAGE

router = noun("delegations and trainings")

Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="The record's number.")]
Site = Annotated[str, Query(max_length=64, description="Only at this site, by its code.", examples=["CAEN"])]
Person = Annotated[str, Query(max_length=64, description="Only of this person.", examples=["a.martin"])]
Page = Annotated[int, Query(ge=1, le=100_000, description="Which page, of 50 entries, the first being 1.")]


def _tell(request: Request, response: Response, page: int, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ways = {"prev": {"page": page - 1}} if page > 1 else {}
    link(request, response, ways | ({"next": {"page": page + 1}} if len(found) == PAGE else {}))
    return found


@router.get("/delegations", response_model=list[Delegation], responses=reads(headers=LINKED), operation_id="listDelegations")
def delegations(
    visitor: SignedIn,
    request: Request,
    response: Response,
    site: Site = "",
    experiment: Annotated[str, Query(max_length=64, description="Only of this experiment.", examples=["TELEREHAB-HIP-1"])] = "",
    person: Person = "",
    page: Page = 1,
) -> Any:
    """List the delegations

    The newest first: the caller's own, those of the experiments they manage and of the sites they investigate.
    """
    database = visitor.doors.database
    chosen: dict[str, Any] = {"site": site, "experiment": experiment, "person": person, "page": page}
    found = qualifications.delegations(database, visitor.reader, locale=visitor.locale, **chosen)
    return _tell(request, response, page, found)


@router.get("/delegations/{number}", response_model=Delegation, responses=reads(404), operation_id="getDelegation")
def delegation(number: Number, visitor: SignedIn) -> Any:
    """Show a delegation

    One of those the caller's list holds.
    """
    return qualifications.delegation(visitor.doors.database, visitor.reader, number, locale=visitor.locale)


@router.post("/delegations", status_code=201, response_model=Numbered, responses=writes(201), operation_id="recordDelegation")
def record_delegation(body: NewDelegation, visitor: SignedIn, once: Once) -> Any:
    """Record a delegation

    It counts once it is signed. The same again, while it is not signed, gives the same number, with or without a key.
    """
    doors = visitor.doors

    def record() -> dict[str, Any]:
        new = qualifications.NewDelegation(body.person, body.role, body.site or "", body.experiment, body.from_, body.until, body.evidence)
        return {"id": qualifications.record(doors.database, doors.clock, new, by=visitor.person)}

    return once.once({"delegation": body.model_dump(mode="json")}, record)


@router.post("/delegations/{number}/sign", response_model=Numbered, responses=writes(), operation_id="signDelegation")
def sign_delegation(number: Number, body: RecordSigning, visitor: SignedIn, request: Request, once: Once) -> Any:
    """Sign a delegation

    From now on it counts, and keeps what it `means`. The investigator of the site signs, a project manager the investigator's own; nobody
    signs their own.
    """
    doors = visitor.doors
    qualifications.delegation(doors.database, visitor.reader, number)  # one that is not seen is unknown

    def sign() -> dict[str, Any]:
        prove = proof_of(request, visitor, {"password": body.password, "code": body.code}, to=f"sign delegation {number}")
        qualifications.sign_delegation(doors.database, doors.clock, number, by=visitor.person, prove=prove, meaning=body.meaning)
        return {"id": number}

    return once.once({"sign_delegation": number, "meaning": body.meaning}, sign)


@router.post("/delegations/{number}/end", response_model=Numbered, responses=writes(), operation_id="endDelegation")
def end_delegation(number: Number, body: Ending, visitor: SignedIn, once: Once) -> Any:
    """End a delegation

    From that day on it does not count any more; an end may be brought forward, never put off.
    """
    doors = visitor.doors
    qualifications.delegation(doors.database, visitor.reader, number)  # one that is not seen is unknown

    def end() -> dict[str, Any]:
        qualifications.end_delegation(doors.database, doors.clock, number, by=visitor.person, on=body.on, why=body.why)
        return {"id": number}

    return once.once({"end_delegation": number} | body.model_dump(mode="json"), end)


@router.get("/trainings", response_model=list[Training], responses=reads(headers=LINKED), operation_id="listTrainings")
def trainings(
    visitor: SignedIn,
    request: Request,
    response: Response,
    protocol: Annotated[str, Query(max_length=64, description="Only on this protocol, by its id.", examples=["telerehab-hip"])] = "",
    version: Annotated[str, Query(max_length=64, description="Only on this version.", examples=["1.0.0"])] = "",
    site: Site = "",
    person: Person = "",
    page: Page = 1,
) -> Any:
    """List the trainings

    The newest first: the caller's own, and those of the experiments they manage and of the sites they investigate.
    """
    database = visitor.doors.database
    chosen: dict[str, Any] = {"protocol": protocol, "version": version, "site": site, "person": person, "page": page}
    found = qualifications.trainings(database, visitor.reader, locale=visitor.locale, **chosen)
    return _tell(request, response, page, found)


@router.get("/trainings/{number}", response_model=Training, responses=reads(404), operation_id="getTraining")
def training(number: Number, visitor: SignedIn) -> Any:
    """Show a training

    One of those the caller's list holds.
    """
    return qualifications.training(visitor.doors.database, visitor.reader, number, locale=visitor.locale)


@router.post("/trainings", status_code=201, response_model=Numbered, responses=writes(201), operation_id="recordTraining")
def record_training(body: NewTraining, visitor: SignedIn, once: Once) -> Any:
    """Record a training

    Once it has taken place; it counts once it is signed. The same again, while it is not signed, gives the same number.
    """
    doors = visitor.doors

    def record() -> dict[str, Any]:
        new = qualifications.NewTraining(body.person, body.protocol, body.version, body.site or "", body.on, body.until, body.evidence)
        return {"id": qualifications.record(doors.database, doors.clock, new, by=visitor.person)}

    return once.once({"training": body.model_dump(mode="json")}, record)


@router.post("/trainings/{number}/sign", response_model=Numbered, responses=writes(), operation_id="signTraining")
def sign_training(number: Number, body: RecordSigning, visitor: SignedIn, request: Request, once: Once) -> Any:
    """Sign a training

    From now on it counts, and keeps what it `means`. An investigator of the site signs, a project manager an investigator's; nobody signs
    their own.
    """
    doors = visitor.doors
    qualifications.training(doors.database, visitor.reader, number)  # one that is not seen is unknown

    def sign() -> dict[str, Any]:
        prove = proof_of(request, visitor, {"password": body.password, "code": body.code}, to=f"sign training {number}")
        qualifications.sign_training(doors.database, doors.clock, number, by=visitor.person, prove=prove, meaning=body.meaning)
        return {"id": number}

    return once.once({"sign_training": number, "meaning": body.meaning}, sign)


@router.post("/trainings/{number}/end", response_model=Numbered, responses=writes(), operation_id="endTraining")
def end_training(number: Number, body: Ending, visitor: SignedIn, once: Once) -> Any:
    """End a training

    From that day on it does not count any more.
    """
    doors = visitor.doors
    qualifications.training(doors.database, visitor.reader, number)  # one that is not seen is unknown

    def end() -> dict[str, Any]:
        qualifications.end_training(doors.database, doors.clock, number, by=visitor.person, on=body.on, why=body.why)
        return {"id": number}

    return once.once({"end_training": number} | body.model_dump(mode="json"), end)
