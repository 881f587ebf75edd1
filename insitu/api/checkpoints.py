"""Checkpoints: what waits, its form, and what people do to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request

from insitu.api.answers import PAGED, reads, writes
from insitu.api.idempotency import Once
from insitu.api.paging import Paged
from insitu.api.route import noun
from insitu.api.shapes.checkpoints import (
    Checkpoint,
    Completion,
    DraftAnswers,
    Item,
    Outcome,
    Question,
    Remarked,
    Saved,
    Signing,
)
from insitu.api.shapes.common import Reason
from insitu.entrance.proof import proof_of
from insitu.entrance.visitor import SeesCheckpoint, SignedIn
from sites import inbox, waiting

router = noun("checkpoints")

Remark = Annotated[int, Path(ge=1, le=2**31 - 1, description="The question's number, from the checkpoint's `remarks`.")]


@router.get("/checkpoints", response_model=list[Item], responses=reads(headers=PAGED), operation_id="listCheckpoints")
def checkpoints(
    visitor: SignedIn,
    paged: Paged,
    state: Annotated[Literal["open"], Query(description="Only `open` ones are listed; a past one is read by its name.")] = "open",
    mine: Annotated[bool, Query(description="The caller's inbox; `false` for every open checkpoint they see.")] = True,
    late: Annotated[bool | None, Query(description="Only those that are late, or only those that are not.")] = None,
    needs: Annotated[Literal["answers", "signature", "incident"] | None, Query(description="Only those that wait for this.")] = None,
    site: Annotated[str, Query(max_length=64, description="Only at this site, by its code.", examples=["CAEN"])] = "",
    experiment: Annotated[str, Query(max_length=64, description="Only of this experiment.", examples=["TELEREHAB-HIP-1"])] = "",
) -> Any:
    """List the checkpoints that wait

    Those the caller may complete or sign, or with `mine=false` all they see, the nearest deadline first.
    """
    doors, now = visitor.doors, visitor.doors.clock.now()
    if not mine:
        chosen: dict[str, Any] = {"late": late, "needs": needs or "", "site": site, "experiment": experiment}
        seen = waiting.seen(doors.database, visitor.reader, now, visitor.locale, **chosen, page=paged.page, size=paged.size)
        paged.tell(seen["total"])
        return seen["items"]
    found = inbox.inbox(doors.database, visitor.person, now, visitor.locale)
    wanted = [one for one in found if _is_wanted(one, late=late, needs=needs, site=site, experiment=experiment)]
    paged.tell(len(wanted))
    return wanted[(paged.page - 1) * paged.size : paged.page * paged.size]


def _is_wanted(item: dict[str, Any], *, late: bool | None, **wanted: str | None) -> bool:
    return late in (None, item["late"]) and all(not value or item[name] == value for name, value in wanted.items())


@router.get("/checkpoints/{checkpoint}", response_model=Checkpoint, responses=reads(404), operation_id="getCheckpoint")
def checkpoint(seen: SeesCheckpoint) -> Any:
    """Show a checkpoint

    Its step, form fields, answers and signatures, earlier rounds, the caller's draft, and why its gate is closed. Answers are left out
    where the caller may not read them.
    """
    visitor, doors = seen.visitor, seen.visitor.doors
    return inbox.checkpoint(
        doors.database, str(seen.name), doors.clock.now(), person=visitor.person, locale=visitor.locale, access=seen.access
    )


@router.put("/checkpoints/{checkpoint}/draft", response_model=Saved, responses=writes(), operation_id="saveDraft")
def save_draft(body: DraftAnswers, seen: SeesCheckpoint, once: Once) -> Any:
    """Keep a draft

    The latest replaces the caller's earlier one; nothing else changes. Doing it twice is doing it once, with or without a key.
    """
    doors = seen.visitor.doors

    def save() -> dict[str, Any]:
        doors.ledger.save_draft(str(seen.name), seen.visitor.person, body.answers)
        return {"saved_at": doors.clock.now().isoformat()}

    return once.once({"draft": str(seen.name), "answers": body.answers}, save)


@router.post("/checkpoints/{checkpoint}/complete", response_model=Outcome, responses=writes(), operation_id="completeCheckpoint")
def complete(body: Completion, seen: SeesCheckpoint, once: Once) -> Any:
    """Answer a checkpoint

    Opens its gate if the answers do. Answers refused (422), or come too late because someone was first (409), are kept as the
    caller's draft.
    """
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person
    return ledger.complete(str(seen.name), body.answers, by, command_id=once.command_id, change=body.change)


@router.post("/checkpoints/{checkpoint}/sign", response_model=Outcome, responses=writes(), operation_id="signCheckpoint")
def sign(body: Signing, seen: SeesCheckpoint, request: Request, once: Once) -> Any:
    """Sign a checkpoint's answers

    Puts the next signature that is asked for. The signer proves anew who they are, with a token too (21 CFR 11.200); whoever signs in at
    an OpenID provider proves it there, within two minutes, and signs on the pages.
    """
    prove = proof_of(request, seen.visitor, {"password": body.password, "code": body.code}, to=f"sign {seen.name}")
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person
    return ledger.sign(str(seen.name), by, prove=prove, meaning=body.meaning, shown=body.shown, command_id=once.command_id)


@router.post("/checkpoints/{checkpoint}/decline", response_model=Remarked, responses=writes(), operation_id="declineCheckpoint")
def decline(body: Reason, seen: SeesCheckpoint, once: Once) -> Any:
    """Decline a checkpoint

    Says with a reason that the caller will not answer it; the project managers are told, and it stays open for others.
    """
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person

    def decline() -> dict[str, Any]:
        return {"id": str(seen.name), "remark": ledger.decline(str(seen.name), by, body.reason)}

    return once.once({"decline": str(seen.name), "reason": body.reason}, decline)


@router.post("/checkpoints/{checkpoint}/ask", response_model=Remarked, responses=writes(), operation_id="askAboutCheckpoint")
def ask(body: Question, seen: SeesCheckpoint, once: Once) -> Any:
    """Ask the project manager a question

    About a checkpoint; they are told, and so is the caller of the answer.
    """
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person

    def ask() -> dict[str, Any]:
        return {"id": str(seen.name), "remark": ledger.ask(str(seen.name), by, body.text)}

    return once.once({"ask": str(seen.name), "text": body.text}, ask)


@router.post(
    "/checkpoints/{checkpoint}/remarks/{remark}/answer", response_model=Remarked, responses=writes(), operation_id="answerQuestion"
)
def answer(remark: Remark, body: Question, seen: SeesCheckpoint, once: Once) -> Any:
    """Answer a question

    Whoever asked it is told. Only a project manager may.
    """
    ledger, by = seen.visitor.doors.ledger, seen.visitor.person

    def answer() -> dict[str, Any]:
        return {"id": str(seen.name), "remark": ledger.answer(str(seen.name), remark, by, body.text)}

    return once.once({"answer": str(seen.name), "remark": remark, "text": body.text}, answer)


@router.post("/checkpoints/{checkpoint}/retry", response_model=Outcome, responses=writes(), operation_id="retryAction")
def retry(seen: SeesCheckpoint, once: Once) -> Any:
    """Try a failed action again

    The automated action that made an incident of the step; only a project manager may.
    """
    return seen.visitor.doors.ledger.retry_action(str(seen.name), seen.visitor.person, command_id=once.command_id)


@router.post("/checkpoints/{checkpoint}/reopen", response_model=Outcome, responses=writes(), operation_id="reopenCheckpoint")
def reopen(body: Reason, seen: SeesCheckpoint, once: Once) -> Any:
    """Take back a passed gate

    With a reason: the step and everything after it start a new round, signatures are void, earlier answers stay readable.
    """
    return seen.visitor.doors.ledger.reopen(str(seen.name), seen.visitor.person, body.reason, command_id=once.command_id)
