"""Two experiments that share a site, filled with words that only their own people may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert

from insitu.entrance.doors import Doors
from sites import releases
from sites.database import table
from sites.identity.accounts import create_account
from sites.signing import unasked
from sites.tables import Assignment, Person, Site

PROTOCOL = """
insitu: 1
id: two-sites
version: 1.0.0
title: {fr: Deux sites, en: Two sites}
solution: {name: S}
roles:
  project_manager: {scope: experiment, title: {fr: Chef de projet, en: Project manager}}
  methodologist: {scope: experiment, title: {fr: Méthodologiste, en: Methodologist}}
  sponsor: {scope: experiment, title: {fr: Promoteur, en: Sponsor}}
  principal_investigator: {scope: site, title: {fr: Investigateur, en: Investigator}}
  site_coordinator: {scope: site, title: {fr: Coordinateur, en: Coordinator}}
launch:
  - {id: aim, type: text, required: true, label: {fr: But, en: Aim}}
steps:
  - id: review
    title: {fr: Relecture, en: Review}
    phase: preparation
    checkpoint:
      role: methodologist
      form: [{id: remark, type: long_text, required: true, label: {fr: Remarque, en: Remark}}]
  - id: setup
    title: {fr: Mise en place, en: Set-up}
    phase: preparation
    scope: site
    after: [review]
    checkpoint:
      role: site_coordinator
      form:
        - {id: words, type: long_text, required: true, label: {fr: Mots, en: Words}}
        - {id: beds, type: integer, required: true, min: 1, label: {fr: Lits, en: Beds}}
        - {id: agreed, type: boolean, required: true, label: {fr: Accord du cadre, en: Head nurse agrees}}
        - {id: paper, type: file, accept: [txt], label: {fr: Papier, en: Paper}}
      signatures: [{role: principal_investigator, meaning: {fr: Lu, en: Read}, different_person: true}]
    due: {days: 5}
  - id: visit
    title: {fr: Visite, en: Visit}
    phase: during
    scope: site
    after: [setup]
    checkpoint:
      role: site_coordinator
      form: [{id: words, type: long_text, required: true, label: {fr: Mots, en: Words}}]
  - id: closure
    title: {fr: Clôture, en: Closure}
    phase: closure
    after: [visit]
    checkpoint:
      role: project_manager
      form: [{id: decision, type: text, required: true, label: {fr: Décision, en: Decision}}]
"""

PASSWORD = "a long walk by the sea"  # of those who have an account
HOME, FOREIGN = "CAEN", "ZZMETZ"
# Words that stand only in what is not one's own: whoever reads one of them has seen too much.
FOREIGN_WORDS = (
    *(FOREIGN, "Zzhospital", "Zznurse", "Zzdoctor", "zz.nurse", "zz.doctor"),
    *("zzanswer", "zzremark", "zzaim", "zzpaper", "zzreason"),
)

PEOPLE = {
    "boss": ("Boss", [("project_manager", "", "")]),
    "method": ("Method", [("methodologist", "", "")]),
    "nurse": ("Nurse", [("site_coordinator", HOME, "")]),
    "doctor": ("Doctor", [("principal_investigator", HOME, "")]),
    "sponsor": ("Sponsor", [("sponsor", "", "TWO-SITES-1")]),
    "one.manager": ("One Manager", [("project_manager", "", "TWO-SITES-1")]),
    "nobody": ("Nobody", []),
    "zz.nurse": ("Zznurse", [("site_coordinator", FOREIGN, "")]),
    "zz.doctor": ("Zzdoctor", [("principal_investigator", FOREIGN, "")]),
}
# Those who must not see what is foreign: of the second experiment nothing at all, of the first what is their site's and their role's.
STRANGERS = ("", "nobody", "nurse", "doctor", "sponsor", "one.manager")


@dataclass(frozen=True)
class TwoSites:
    """`shared` runs at both sites; `foreign` at the other one only. `paper` is the hash of a file of the foreign site."""

    doors: Doors
    shared: str
    foreign: str
    paper: str


def settle(doors: Doors) -> TwoSites:
    """Put everything in, and march both experiments to their sites."""
    releases.add(doors.database, PROTOCOL, doors.clock)
    place = {"kind": "public_hospital", "territory": "FR", "timezone": "Europe/Paris"}
    with doors.database.write() as connection:
        names = {HOME: "Home hospital", FOREIGN: "Zzhospital"}
        connection.execute(insert(table(Site)), [{"code": code, "name": name} | place for code, name in names.items()])
        people = [
            {"id": who, "name": name, "email": f"{who}@example.org", "locale": "en", "channels": []} for who, (name, _) in PEOPLE.items()
        ]
        connection.execute(insert(table(Person)), people)
        held = [
            {"person": who, "role": role, "site": site, "experiment": code}
            for who, (_, roles) in PEOPLE.items()
            for role, site, code in roles
        ]
        connection.execute(insert(table(Assignment)), held)
        for who in ("boss", "nurse", "doctor"):
            create_account(connection, who, PASSWORD, doors.clock.now(), by="boss")
    shared, foreign = (_march(doors, sites) for sites in ([HOME, FOREIGN], [FOREIGN]))
    return TwoSites(doors, shared, foreign, _answer_abroad(doors, shared))


def _march(doors: Doors, sites: list[str]) -> str:
    aim = "better care" if HOME in sites else "zzaim"
    code = str(doors.ledger.launch("two-sites", sites, {"aim": aim}, "boss")["code"])
    doors.ledger.complete(f"{code}:review::1", {"remark": "sound" if HOME in sites else "zzremark"}, "method")
    return code


def _answer_abroad(doors: Doors, code: str) -> str:
    """The foreign site answers, uploads, and is held for a while."""
    paper = doors.ledger.store_file("zzpaper.txt", "text/plain", b"zzpaper", "zz.nurse")
    answers: dict[str, Any] = {"beds": 12, "agreed": True, "words": "zzanswer", "paper": {"hash": paper, "name": "zzpaper.txt", "size": 7}}
    doors.ledger.complete(f"{code}:setup:{FOREIGN}:1", answers, "zz.nurse")
    doors.ledger.sign(f"{code}:setup:{FOREIGN}:1", "zz.doctor", prove=unasked)
    doors.ledger.save_draft(f"{code}:visit:{FOREIGN}:1", "zz.nurse", {"words": "zzanswer"})
    doors.ledger.hold(code, "boss", "zzreason", site=FOREIGN)
    return paper
