"""What the managers of an experiment do: put it or a site on hold, let it go on, end it early."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.visitor import Seen, SeesExperiment
from insitu.web.experiment.frame import address_of, experiment_page
from protocols.errors import InsituError, NotAssigned
from protocols.phrase import Phrase

router = APIRouter()

ACTS = {"hold": N_("Put on hold"), "release": N_("Let go on"), "stop": N_("End early, for good")}
DONE = {
    "hold": N_("It is on hold: clocks stand still until you let it go on."),
    "release": N_("It goes on. Deadlines have moved by the time it was held."),
    "stop": N_("It has ended early. The reason is in the journal."),
}
NO_ACT = N_("Choose what to do.")
NO_REASON = N_("Give a reason: others must understand later why this was done.")
NOT_SURE = N_("Tick the box: an early end cannot be taken back.")


@router.get("/experiments/{code}/manage")
def manage(request: Request, seen: SeesExperiment) -> Response:
    """The form. Raises NotAssigned for whoever does not manage the experiment."""
    _require_manager(seen)
    return _form(request, seen, {"act": "", "site": "", "reason": "", "sure": ""}, {})


@router.post("/experiments/{code}/manage")
def managed(request: Request, seen: SeesExperiment, form: Posted) -> Response:
    """Hold, release or stop; the ledger says whether this person may."""
    given = {name: str(form.get(name, "")).replace("\x00", "").strip() for name in ("act", "site", "reason", "sure")}
    errors = _errors(given)
    if not errors:
        ledger = seen.visitor.doors.ledger
        act = {"hold": ledger.hold, "release": ledger.release, "stop": ledger.stop}[given["act"]]
        try:
            act(seen.code, seen.visitor.person, given["reason"], site=given["site"])
        except NotAssigned:
            raise
        except InsituError as refusal:
            errors = {"act": refusal.args[0] if refusal.args else str(refusal)}
    return _form(request, seen, given, errors) if errors else go_to(request, address_of(seen.code, "/manage"), DONE[given["act"]])


def _errors(given: dict[str, str]) -> dict[str, str]:
    wrong = {
        "act": (given["act"] not in ACTS, NO_ACT),
        "reason": (not given["reason"], NO_REASON),
        "sure": (given["act"] == "stop" and not given["sure"], NOT_SURE),
    }
    return {name: message for name, (is_wrong, message) in wrong.items() if is_wrong}


def _form(request: Request, seen: Seen, given: dict[str, Any], errors: dict[str, str]) -> Response:
    with seen.visitor.doors.database.read() as connection:
        said = {name: language_of(request).text(one) for name, one in errors.items()}
        return experiment_page(
            request,
            seen,
            connection,
            "manage.html",
            status=422 if errors else 200,
            acts=ACTS,
            given=given,
            errors=dict.fromkeys(given, "") | said,
            error_list=list(said.items()),
        )


def _require_manager(seen: Seen) -> None:
    if not seen.access.is_manager:
        raise NotAssigned(Phrase("This page is for the project managers of {code}. Ask one of them for what you need.", code=seen.code))
