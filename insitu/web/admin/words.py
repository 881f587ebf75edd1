"""The words that the administration has for states, and for what the access journal notes."""

from __future__ import annotations

from insitu.entrance.language import N_
from sites.identity.access import AccessKind

ACCOUNTS = {
    "none": N_("no account"),
    "invited": N_("invited"),
    "open": N_("account open"),
    "locked": N_("locked for now"),
    "closed": N_("account closed"),
}
# How a status pill is coloured for it; its words stand beside the colour.
TONES = {
    "none": "late",
    "invited": "due",
    "open": "active",
    "locked": "blocked",
    "closed": "stopped",
    "unsigned": "blocked",
    "to_come": "due",
    "in_force": "active",
    "over": "returned",
    "dormant": "late",
}
STATES = {
    "unsigned": N_("awaits a signature"),
    "to_come": N_("to come"),
    "in_force": N_("in force"),
    "over": N_("over"),
    "dormant": N_("not seen for 90 days"),
}
KINDS: dict[str, str] = {
    AccessKind.ACCOUNT_CREATED: N_("Account created"),
    AccessKind.ACCOUNT_DISABLED: N_("Account closed"),
    AccessKind.ACCOUNT_ENABLED: N_("Account opened again"),
    AccessKind.ACCOUNT_LOCKED: N_("Account locked after failures"),
    AccessKind.PASSWORD_CHANGED: N_("Password changed"),
    AccessKind.SECOND_FACTOR_SET: N_("Second factor set"),
    AccessKind.SECOND_FACTOR_REMOVED: N_("Second factor removed"),
    AccessKind.PROVIDER_LINKED: N_("Provider linked"),
    AccessKind.PROVIDER_UNLINKED: N_("Provider unlinked"),
    AccessKind.SIGNED_IN: N_("Signed in"),
    AccessKind.SIGNED_OUT: N_("Signed out"),
    AccessKind.PROVEN_AGAIN: N_("Identity proved again"),
    AccessKind.SIGN_IN_FAILED: N_("Sign-in failed"),
    AccessKind.TOKEN_CREATED: N_("Token created"),
    AccessKind.TOKEN_REVOKED: N_("Token revoked"),
    AccessKind.LINK_CREATED: N_("Link created"),
    AccessKind.LINK_USED: N_("Link used"),
    AccessKind.LINK_REVOKED: N_("Link revoked"),
    AccessKind.REQUEST_REFUSED: N_("Request refused"),
    AccessKind.GLASS_BROKEN: N_("Emergency access"),
    AccessKind.REGISTRY_IMPORTED: N_("File imported"),
    AccessKind.ROLE_ASSIGNED: N_("Role given"),
    AccessKind.ROLE_ENDED: N_("Role ended"),
    AccessKind.DEPUTY_NAMED: N_("Deputy named"),
    AccessKind.DEPUTY_ENDED: N_("Deputy ended"),
    AccessKind.CONFLICT_DECLARED: N_("Conflict of interest declared"),
    AccessKind.CONFLICT_WITHDRAWN: N_("Conflict of interest withdrawn"),
    AccessKind.DELEGATION_RECORDED: N_("Delegation recorded"),
    AccessKind.DELEGATION_SIGNED: N_("Delegation signed"),
    AccessKind.DELEGATION_ENDED: N_("Delegation ended"),
    AccessKind.TRAINING_RECORDED: N_("Training recorded"),
    AccessKind.TRAINING_SIGNED: N_("Training signed"),
    AccessKind.TRAINING_ENDED: N_("Training ended"),
    AccessKind.CONTACT_CHANGED: N_("Contact details changed"),
    AccessKind.PERSON_CHANGED: N_("Person changed"),
    AccessKind.SITE_CHANGED: N_("Site changed"),
    AccessKind.ANCHORED: N_("Journals anchored"),
    AccessKind.EXPORTED: N_("Exported as a file"),
    AccessKind.CLOCK_JUMPED: N_("The clock jumped"),
    AccessKind.LEDGER_RESTORED: N_("A backup restored"),
    AccessKind.ACCESS_REVIEWED: N_("Access reviewed"),
}
