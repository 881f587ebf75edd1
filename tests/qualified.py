"""People made fit to act where a role requires it: their delegation and their training, recorded and signed by whoever may."""

from __future__ import annotations

from datetime import date

from sites import inbox, qualifications
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked

INVESTIGATOR = "principal_investigator"


def today(ledger: Ledger) -> date:
    return ledger.clock.now().date()


def delegate(ledger: Ledger, code: str, person: str, role: str, site: str, *, by: str, from_: date | None = None) -> int:
    """Record and sign a delegation; its number."""
    given = (person, role, site, code, from_ or today(ledger), None)
    number = qualifications.record(ledger.database, ledger.clock, qualifications.NewDelegation(*given), by=by)
    qualifications.sign_delegation(ledger.database, ledger.clock, number, by=by, prove=unasked)
    return number


def train(ledger: Ledger, code: str, person: str, site: str, *, by: str, on: date | None = None) -> int:
    """Record and sign a training on the experiment's protocol; its number."""
    protocol = inbox.protocol_of(ledger.database, code)
    given = (person, protocol.id, protocol.version, site, on or today(ledger), None)
    number = qualifications.record(ledger.database, ledger.clock, qualifications.NewTraining(*given), by=by)
    qualifications.sign_training(ledger.database, ledger.clock, number, by=by, prove=unasked)
    return number


def qualify_site(ledger: Ledger, code: str, site: str, *, manager: str, investigator: str, coordinator: str) -> None:
    """Let a site begin: the manager signs for its investigator, who signs for the coordinator."""
    for person, role, by in ((investigator, INVESTIGATOR, manager), (coordinator, "site_coordinator", investigator)):
        delegate(ledger, code, person, role, site, by=by)
        train(ledger, code, person, site, by=by)


def qualify_town(ledger: Ledger, code: str, *others: str) -> None:
    """Let the town's holders of the site roles act at every site of an experiment; or the others named, who hold these roles as well."""
    for site in inbox.status(ledger.database, code, ledger.clock.now(), access=EVERYTHING)["sites"]:
        people = {"manager": "project_manager", "investigator": INVESTIGATOR, "coordinator": "site_coordinator"}
        if not others:
            qualify_site(ledger, code, site["code"], **people)
        for person in others:
            delegate(ledger, code, person, INVESTIGATOR, site["code"], by="project_manager")
            delegate(ledger, code, person, "site_coordinator", site["code"], by=INVESTIGATOR)
            train(ledger, code, person, site["code"], by="project_manager")
