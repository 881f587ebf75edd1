"""What the project managers are told when a message does not arrive: an incident of the experiment, once while it lasts."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import exists, select

from notifications.occasions import Row
from sites.database import table
from sites.ledger import Ledger
from sites.tables import Experiment, Incident

_EXPERIMENT, _INCIDENT = table(Experiment), table(Incident)

log = logging.getLogger("insitu.dispatch")

INCIDENTS = {
    "undeliverable": {
        "fr": "Les messages à {person} n'arrivent pas ({error}). Corrigez son adresse, ou prévenez cette personne autrement.",
        "en": "Messages to {person} do not arrive ({error}). Correct the address, or tell this person another way.",
    },
    "nobody": {
        "fr": "Personne n'a reçu la notification {notice} : nul n'exerce aujourd'hui {roles}. Affectez quelqu'un : insitu assign.",
        "en": "Nobody received the notice {notice}: no one holds {roles} today. Assign someone: insitu assign.",
    },
    "unsendable": {
        "fr": "La notification {notice} ne peut pas être envoyée : {error}",
        "en": "The notice {notice} cannot be sent: {error}",
    },
}


@dataclass(frozen=True, slots=True)
class Incidents:
    """Reports and resolves incidents through the ledger, in the installation's language."""

    ledger: Ledger
    locale: str

    def report(self, notice: Row, key: str, kind: str, **words: object) -> None:
        """Tell the project managers, once while it lasts. An incident's own message is left alone: it would never end."""
        if notice["kind"] == "incident":
            log.error("The incident message %s reached nobody: %s", notice["key"], words)
            return
        message = INCIDENTS[kind]["fr" if self.locale == "fr" else "en"].format(notice=notice["key"], **words)
        self.ledger.report_incident(self._code(notice), key, kind, message, step=notice["step"], site=notice["site"])

    def report_nobody(self, notice: Row) -> None:
        """Tell the project managers that a notice reached nobody, as no one holds its roles today. One to persons alone is not missed."""
        if notice["roles"]:
            self.report(notice, nobody(notice), "nobody", roles=_roles(notice))

    def resolve(self, notice: Row, key: str) -> None:
        """Mark the incident as over, if it is open in the notice's experiment."""
        is_open = (_INCIDENT.c.experiment_id == notice["experiment_id"], _INCIDENT.c.key == key, _INCIDENT.c.resolved_at.is_(None))
        with self.ledger.database.read() as connection:
            found = connection.execute(select(exists().where(*is_open))).scalar()
        if found:
            self.ledger.resolve_incident(self._code(notice), key)

    def _code(self, notice: Row) -> str:
        with self.ledger.database.read() as connection:
            code = connection.execute(select(_EXPERIMENT.c.code).where(_EXPERIMENT.c.id == notice["experiment_id"]))
            return str(code.scalar_one())


def nobody(notice: Row) -> str:
    """The key of the incident that no one holds a notice's roles."""
    return f"nobody:{_roles(notice)}"


def _roles(notice: Row) -> str:
    return ", ".join(notice["roles"]) + (f" ({notice['site']})" if notice["site"] else "")


def undeliverable(person: Row) -> str:
    """The key of the incident that a person's messages do not arrive."""
    return f"undeliverable:{person['id']}"
