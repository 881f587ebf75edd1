"""A small protocol with everything in it, and the ledger's doors in short."""

from __future__ import annotations

from typing import Any

from sites import inbox
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked

SMALL = """
insitu: 1
id: small
version: 1.0.0
title: {fr: Petit, en: Small}
solution: {name: S}
roles:
  project_manager: {scope: experiment, title: {fr: Chef de projet, en: Project manager}}
  methodologist: {scope: experiment, title: {fr: Méthodologiste, en: Methodologist}}
  ethics_officer: {scope: experiment, title: {fr: Référent éthique, en: Ethics officer}}
  sponsor: {scope: experiment, title: {fr: Promoteur, en: Sponsor}}
  principal_investigator: {scope: site, title: {fr: Investigateur, en: Investigator}}
  site_coordinator: {scope: site, title: {fr: Coordinateur, en: Coordinator}}
launch:
  - {id: target, type: integer, min: 1, required: true, label: {fr: Cible, en: Target}}
steps:
  - id: review
    title: {fr: Relecture, en: Review}
    phase: preparation
    checkpoint:
      role: methodologist
      form:
        - {id: sound, type: boolean, required: true, label: {fr: Valable, en: Sound}}
        - {id: comments, type: long_text, label: {fr: Commentaires, en: Comments}}
    gate: {pass: answers.sound}
    due: {days: 10}
    remind: [{before: 3d}]
    escalate: [{after: 2d, to: sponsor}]
  - id: ethics
    title: {fr: Avis, en: Opinion}
    phase: preparation
    after: [review]
    checkpoint:
      role: ethics_officer
      form: [{id: opinion, type: choice, required: true, options: ['yes', 'no', again], label: {fr: Avis, en: Opinion}}]
      signatures:
        - {role: ethics_officer, meaning: {fr: Je certifie, en: I certify}}
        - {role: ethics_officer, meaning: {fr: Vu, en: Seen}, different_person: true}
    gate:
      pass: answers.opinion == 'yes'
      return: {to: review, if: answers.opinion == 'again'}
      stop: answers.opinion == 'no'
  - id: setup
    title: {fr: Mise en place, en: Set-up}
    phase: preparation
    scope: site
    after: [ethics]
    run: [{do: render, with: {template: site-pack}}]
    checkpoint:
      role: site_coordinator
      form: [{id: ready, type: boolean, required: true, label: {fr: Prêt, en: Ready}}]
    gate: {pass: answers.ready}
    due: {days: 5}
  - id: closure
    title: {fr: Clôture, en: Closure}
    phase: closure
    after: [setup]
    checkpoint:
      role: project_manager
      form: [{id: decision, type: text, required: true, label: {fr: Décision, en: Decision}}]
"""


def launch(ledger: Ledger, *sites: str, **options: Any) -> str:
    """Launch the small protocol; its code."""
    return str(ledger.launch("small", list(sites or ("CAEN", "METZ")), {"target": 10}, "project_manager", **options)["code"])


def to_ethics(ledger: Ledger, code: str) -> str:
    """Pass the review; the name of the ethics checkpoint."""
    ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    return f"{code}:ethics::1"


def to_setup(ledger: Ledger, code: str, *sites: str) -> list[str]:
    """Pass the review and the opinion, do the machine's work; the names of the sites' checkpoints."""
    ethics = to_ethics(ledger, code)
    ledger.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    ledger.sign(ethics, "ethics_officer", prove=unasked)
    ledger.sign(ethics, "second.officer", prove=unasked)
    setups = [f"{code}:setup:{site}:1" for site in sites or ("CAEN", "METZ")]
    for name in setups:
        ledger.record_action(name, 0, {"document": "x"})
    return setups


def kinds(ledger: Ledger, code: str, *wanted: str) -> list[str]:
    """The kinds of an experiment's facts, in order; only the wanted ones when some are named."""
    found = [fact["kind"] for fact in inbox.journal(ledger.database, code, EVERYTHING)]
    return [kind for kind in found if kind in wanted] if wanted else found


def gate(ledger: Ledger, code: str, step: str, site: str | None = None) -> dict[str, Any]:
    """One row of the gate board."""
    board = inbox.status(ledger.database, code, ledger.clock.now(), access=EVERYTHING)
    return next(row for row in board["gates"] if (row["step"], row["site"]) == (step, site))
