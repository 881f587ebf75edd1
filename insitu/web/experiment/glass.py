"""Break-glass: where one types which experiment one must look at, and why. It tells nobody what there is."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of, page
from insitu.entrance.refusals import refused
from insitu.entrance.visitor import SignedIn
from insitu.web.experiment.frame import address_of
from protocols.errors import InConflict, InvalidInput, NotAssigned, UnknownThing
from sites.glass import break_glass

router = APIRouter()

OPENED = N_("You see it for one hour. The project managers have been told, with your reason.")
NO_CODE = N_("Give the experiment’s code.")
NO_REASON = N_("Give a reason: the project managers read it, and it stays in the journal.")
# The same words whether the experiment is there or not, has that site or not, or is one that must stay closed to this person.
NOT_OPENED = N_("Nothing could be opened to you under this code and site. Check them, or call a project manager.")


@router.get("/glass")
def glass(request: Request, visitor: SignedIn) -> Response:
    """The form."""
    return _form(request, {"code": "", "site": "", "reason": ""}, {})


@router.post("/glass")
def broken(request: Request, visitor: SignedIn, form: Posted) -> Response:
    """Let the person see it for an hour, journaled and told; what cannot be opened is journaled too."""
    given = {name: str(form.get(name, "")).replace("\x00", "").strip() for name in ("code", "site", "reason")}
    errors = {name: said for name, said in (("code", NO_CODE), ("reason", NO_REASON)) if not given[name]}
    if not errors:
        doors = visitor.doors
        try:
            break_glass(doors.database, doors.clock, visitor.person, given["code"], given["site"], given["reason"])
        except (UnknownThing, InConflict, NotAssigned):
            refused(request, "GlassRefused")
            errors = {"code": NOT_OPENED}
        except InvalidInput as wrong:
            errors = {"reason": wrong.args[0]}
    if errors:
        return _form(request, given, errors)
    return go_to(request, address_of(given["code"]), OPENED)


def _form(request: Request, given: dict[str, str], errors: dict[str, str]) -> Response:
    status, said = (422 if errors else 200), [(name, language_of(request).text(one)) for name, one in errors.items()]
    return page(request, "experiment/glass.html", status=status, given=given, errors=dict.fromkeys(given, "") | dict(said), error_list=said)
