"""A small protocol whose forms have every kind of field, and the ways to it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from visit import Visit

from insitu.entrance.doors import Doors
from sites import releases

WARD = """
insitu: 1
id: ward
version: 1.0.0
title: {fr: Essai du service, en: Ward trial}
solution: {name: W}
roles:
  project_manager: {scope: experiment, title: {fr: Chef de projet, en: Project manager}}
  methodologist: {scope: experiment, title: {fr: Méthodologiste, en: Methodologist}}
  sponsor: {scope: experiment, title: {fr: Promoteur, en: Sponsor}}
  principal_investigator: {scope: site, title: {fr: Investigateur, en: Investigator}}
  site_coordinator: {scope: site, title: {fr: Coordinateur, en: Coordinator}}
steps:
  - id: review
    title: {fr: Relecture, en: Review}
    phase: preparation
    checkpoint:
      role: methodologist
      form:
        - {id: sound, type: boolean, required: true, label: {fr: Valable, en: Sound}}
        - {id: why, type: long_text, required: true, show_if: answers.sound == false, label: {fr: Pourquoi, en: Why not}}
        - {id: letter, type: file, accept: [pdf], max_mb: 1, label: {fr: Courrier, en: Letter}}
    gate: {pass: answers.sound}
    due: {days: 10}
  - id: visit
    title: {fr: Visite, en: Visit}
    help: {fr: Remplir après la visite., en: Fill in after the visit.}
    phase: before
    scope: site
    after: [review]
    checkpoint:
      role: site_coordinator
      form:
        - {id: weight, type: number, min: 0, max: 500, unit: kg, required: true, label: {fr: Poids, en: Weight}}
        - {id: notes, type: long_text, label: {fr: Notes, en: Notes}}
        - {id: on, type: date, max: today, label: {fr: Date, en: Date}}
        - {id: at, type: datetime, label: {fr: Heure, en: Time}}
        - {id: kinds, type: choices, options: [chair, bed], label: {fr: Moyens, en: Means}}
        - {id: nurse, type: person, role: site_coordinator, label: {fr: Infirmière, en: Nurse}}
        - id: scores
          type: table
          label: {fr: Scores, en: Scores}
          columns: [{id: who, type: text, required: true}, {id: score, type: integer, max: 100}]
      signatures:
        - {role: site_coordinator, meaning: {fr: Je certifie ces données, en: I certify these data}}
        - {role: principal_investigator, meaning: {fr: Vu, en: Seen}, different_person: true}
    due: {days: 3}
  - id: pack
    title: {fr: Dossier du site, en: Site pack}
    phase: preparation
    scope: site
    after: [review]
    run: [{do: render, with: {template: site-pack}}]
    checkpoint:
      role: site_coordinator
      form: [{id: received, type: boolean, label: {fr: Reçu, en: Received}}]
  - id: closure
    title: {fr: Clôture, en: Closure}
    phase: closure
    after: [visit]
    checkpoint:
      role: project_manager
      form: [{id: decision, type: text, label: {fr: Décision, en: Decision}}]
"""


def launched(doors: Doors, *sites: str) -> str:
    """Release the protocol and launch it; the experiment's code."""
    releases.add(doors.database, WARD, doors.clock, "ward.yaml")
    return str(doors.ledger.launch("ward", list(sites or ("CAEN", "METZ")), {}, "project_manager")["code"])


def reviewed(doors: Doors, *sites: str) -> str:
    """Launch and pass the review; the experiment's code."""
    code = launched(doors, *sites)
    doors.ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    return code


def text_of(page: str) -> str:
    """What a page says, without its marks."""
    inline = re.sub(r"</?(?:bdi|span|a|b|i)\b[^>]*>", "", page)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", inline)).split())


def send(visit: Visit, checkpoint: str, part: str, values: dict[str, Any], **options: Any) -> Any:
    """Post a form of a checkpoint's page to a part of it; names of fields without their prefix."""
    page = f"/checkpoints/{checkpoint}"
    named = {name if name in PLAIN else f"f-{name}": value for name, value in values.items()}
    return visit.post(f"{page}/{part}", named, of=page, **options)


PLAIN = {
    "act",
    "change",
    "command",
    "hidden-fields",
    "shown",
    "reason",
    "question",
    "answer",
    "number",
    "password",
    "code",
    "person",
    "link",
}
