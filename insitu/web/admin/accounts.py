"""What a project manager of everything does about someone's account: invite, close, open again, take the second factor or a link away."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from insitu.entrance.guard import Posted
from insitu.entrance.language import N_
from insitu.entrance.page import go_to, language_of
from insitu.entrance.proof import prove_again
from insitu.entrance.visitor import GlobalManager
from insitu.web.admin.frame import complaints, person_address
from insitu.web.admin.people import person_page
from protocols.errors import InvalidInput, NotProven
from protocols.phrase import Phrase
from sites.identity import accounts, second_factor, subjects

router = APIRouter()

DONE = {
    "invite": N_("They are invited: a letter with a link, valid for seven days, is on its way."),
    "disable": N_("The account is closed; whoever was signed in with it is out."),
    "enable": N_("The account is open again."),
    "reset": N_("No second factor is asked any more. Ask them to set one again."),
    "unlink": N_("The account is unlinked, and whoever had come in by it is out."),
}
ALREADY = {
    "disable": N_("The account was closed already."),
    "enable": N_("The account was open already."),
    "reset": N_("No second factor was asked already."),
    "unlink": N_("The account was linked to none there already."),
}
PROVEN_FOR = {"reset": "reset a second factor", "unlink": "unlink from the provider"}  # what takes a protection away, or a way in


@router.post("/admin/people/{person}/account")
def change_account(request: Request, visitor: GlobalManager, person: str, form: Posted) -> Response:
    """Do what the button says. Who takes a protection away proves first that it is them. Raises as `sites.identity.accounts` does."""
    doors, act, by = visitor.doors, str(form.get("act", "")), visitor.person
    done = True
    if act == "invite":
        accounts.invite(doors.database, doors.clock, person, by=by)
    elif act == "disable":
        done = accounts.disable(doors.database, doors.clock, person, by=by)
    elif act == "enable":
        done = accounts.enable(doors.database, doors.clock, person, by=by)
    elif act in PROVEN_FOR:
        accounts.require_account_manager(doors.database, doors.clock, by, person)
        try:
            prove_again(request, visitor, form, to=PROVEN_FOR[act])
        except NotProven as error:
            return person_page(request, visitor, person, status=422, errors=complaints(error, language_of(request), "password"))
        change = second_factor.remove_second_factor if act == "reset" else subjects.unlink_subject
        done = change(doors.database, doors.clock, person, by=by)
    else:
        raise InvalidInput(Phrase("Choose what to do with the account."))
    return go_to(request, person_address(person), DONE[act] if done else ALREADY[act])
