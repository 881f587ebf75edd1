"""What is done at a checkpoint beside filling it in: sign, decline, ask, answer, try again, reopen, send a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to
from insitu.entrance.proof import proof_of
from insitu.entrance.refusals import status_of
from insitu.entrance.visitor import SeenCheckpoint, SeesCheckpoint
from insitu.web.checkpoint_page import address_of, checkpoint_page, read
from protocols.errors import InsituError, InvalidInput, NotProven, Refused
from protocols.phrase import Phrase
from sites.checkpoint_links import send_link, take_back
from sites.identity.sessions import PROVIDER

router = APIRouter()


@router.post("/checkpoints/{checkpoint}/sign")
def sign(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """Put the next signature on the answers as they were shown, by someone who proves now that it is them (21 CFR 11.200)."""
    asked, ledger = read(seen), seen.visitor.doors.ledger
    if not asked["may"]["sign"] or asked["next_signature"] is None:
        return checkpoint_page(request, seen, asked=asked, status=409, problem=Phrase("There is nothing for you to sign here now."))
    shown, meaning = str(form.get("shown", "")) or "unsaid", str(form.get("meaning", "")) or None
    prove = proof_of(request, seen.visitor, form)
    try:
        done = ledger.sign(str(seen.name), seen.visitor.person, prove=prove, meaning=meaning, shown=shown)
    except NotProven as refused:
        if seen.visitor.method == PROVIDER:  # the way to the provider and back starts from the page itself
            return go_to(request, address_of(seen.name, "#signing"), refused.args[0])
        return checkpoint_page(request, seen, asked=asked, status=422, wrong={"proof": refused.args[0]})
    except (Refused, InvalidInput) as refused:  # another signature is next meanwhile, and means something else: it is shown
        return checkpoint_page(request, seen, status=status_of(refused), problem=refused.args[0])
    if done.get("gate") is None and read(seen)["may"]["sign"]:
        return go_to(request, address_of(seen.name, "#signing"), N_("Signed. Another signature of yours is next."))
    return go_to(request, "/today", N_("Signed. Thank you."))


@router.post("/checkpoints/{checkpoint}/decline")
def decline(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """Say that one will not answer or sign, and why."""
    text = str(form.get("reason", ""))
    return _done(
        request,
        seen,
        lambda: seen.visitor.doors.ledger.decline(str(seen.name), seen.visitor.person, text),
        N_("Your reason is recorded and told to the project manager. Someone else may answer."),
        decline=text,
    )


@router.post("/checkpoints/{checkpoint}/ask")
def ask(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """Put a question to the project manager."""
    text = str(form.get("question", ""))
    return _done(
        request,
        seen,
        lambda: seen.visitor.doors.ledger.ask(str(seen.name), seen.visitor.person, text),
        N_("Your question is sent to the project manager. You will be told of the answer."),
        ask=text,
    )


@router.post("/checkpoints/{checkpoint}/answer")
def answer(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """A project manager's answer to a question."""
    text, number = str(form.get("answer", "")), str(form.get("number", ""))
    return _done(
        request,
        seen,
        lambda: seen.visitor.doors.ledger.answer(str(seen.name), _number(number), seen.visitor.person, text),
        N_("Your answer is sent."),
        **{f"answer-{number}": text},
    )


@router.post("/checkpoints/{checkpoint}/retry")
def retry(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """Ask for a failed action again."""
    ledger = seen.visitor.doors.ledger
    return _done(
        request, seen, lambda: ledger.retry_action(str(seen.name), seen.visitor.person), N_("The action is asked for again."), retry=""
    )


@router.post("/checkpoints/{checkpoint}/reopen")
def reopen(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """Take back a gate that has passed, with a reason, and lead on to the new round."""
    text = str(form.get("reason", ""))
    after = seen.name._replace(round=seen.name.round + 1)
    return _done(
        request,
        seen,
        lambda: seen.visitor.doors.ledger.reopen(str(seen.name), seen.visitor.person, _words(text)),
        N_("The step is open again, with everything after it. The earlier answers are offered below."),
        to=address_of(after),
        reopen=text,
    )


@router.post("/checkpoints/{checkpoint}/link")
def send(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """Send someone who may complete the checkpoint a one-time link to it."""
    person, doors = str(form.get("person", "")), seen.visitor.doors
    return _done(
        request,
        seen,
        lambda: send_link(doors.database, doors.clock, str(seen.name), person, by=seen.visitor.person),
        N_("The link is on its way by mail. It works once, within three days."),
        link=person,
    )


@router.post("/checkpoints/{checkpoint}/link/revoke")
def revoke(request: Request, seen: SeesCheckpoint, form: Posted) -> Response:
    """Take a link back."""
    nonce, doors = str(form.get("link", "")), seen.visitor.doors
    return _done(
        request,
        seen,
        lambda: take_back(doors.database, doors.clock, str(seen.name), nonce, by=seen.visitor.person),
        N_("The link no longer works."),
        link="",
    )


def _done(request: Request, seen: SeenCheckpoint, act: Callable[[], Any], told: str, *, to: str = "", **typed: str) -> Response:
    """Do it and lead back to the page; refused, show the page again with the message beside what was typed."""
    try:
        act()
    except InvalidInput as refused:
        return checkpoint_page(request, seen, status=422, wrong=dict.fromkeys(typed, refused.args[0]), said=typed)
    except Refused as refused:
        return checkpoint_page(request, seen, status=status_of(refused), problem=_message(refused), said=typed)
    return go_to(request, to or address_of(seen.name), told)


def _message(error: InsituError) -> str:
    return str(error) if not error.args else error.args[0]


def _words(text: str) -> str:
    if not text.strip():
        raise InvalidInput(Phrase("Write a few words, so that others understand."))
    return text


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput(Phrase("There is no such question. Reload the page."))
    return int(text)
