"""The doors' own words, in French and in English: what a protocol or a notice says comes from there."""

from __future__ import annotations

import os
from collections.abc import Mapping

WORDS: dict[str, dict[str, str]] = {
    "experiment": {"fr": "Expérience", "en": "Experiment"},
    "title": {"fr": "Titre", "en": "Title"},
    "state": {"fr": "État", "en": "State"},
    "phase": {"fr": "Phase", "en": "Phase"},
    "progress": {"fr": "Avancement", "en": "Progress"},
    "open": {"fr": "Ouverts", "en": "Open"},
    "next_due": {"fr": "Prochaine échéance", "en": "Next due"},
    "gate": {"fr": "Jalon", "en": "Gate"},
    "site": {"fr": "Site", "en": "Site"},
    "round": {"fr": "Tour", "en": "Round"},
    "status": {"fr": "Statut", "en": "Status"},
    "due": {"fr": "Échéance", "en": "Due"},
    "waiting_for": {"fr": "Attend", "en": "Waiting for"},
    "vacant": {"fr": "nul ne l'exerce aujourd'hui", "en": "nobody holds it today"},
    "late": {"fr": "en retard", "en": "late"},
    "blocked": {"fr": "suspendu", "en": "on hold"},
    "checkpoint": {"fr": "Point de contrôle", "en": "Checkpoint"},
    "needs": {"fr": "À faire", "en": "To do"},
    "answers": {"fr": "répondre", "en": "answer"},
    "signature": {"fr": "signer", "en": "sign"},
    "incident": {"fr": "incident", "en": "incident"},
    "person": {"fr": "Personne", "en": "Person"},
    "name": {"fr": "Nom", "en": "Name"},
    "email": {"fr": "Courriel", "en": "E-mail"},
    "locale": {"fr": "Langue", "en": "Language"},
    "channels": {"fr": "Canaux", "en": "Channels"},
    "roles": {"fr": "Rôles", "en": "Roles"},
    "role": {"fr": "Rôle", "en": "Role"},
    "code": {"fr": "Code", "en": "Code"},
    "kind": {"fr": "Nature", "en": "Kind"},
    "territory": {"fr": "Territoire", "en": "Territory"},
    "timezone": {"fr": "Fuseau", "en": "Time zone"},
    "protocol": {"fr": "Protocole", "en": "Protocol"},
    "version": {"fr": "Version", "en": "Version"},
    "added": {"fr": "Ajouté", "en": "Added"},
    "step": {"fr": "Étape", "en": "Step"},
    "when": {"fr": "Quand", "en": "When"},
    "fact": {"fr": "Fait", "en": "Fact"},
    "by": {"fr": "Par", "en": "By"},
    "details": {"fr": "Détails", "en": "Details"},
    "field": {"fr": "Champ", "en": "Field"},
    "type": {"fr": "Type", "en": "Type"},
    "label": {"fr": "Libellé", "en": "Label"},
    "answer": {"fr": "Réponse", "en": "Answer"},
    "required": {"fr": "requis", "en": "required"},
    "to": {"fr": "À", "en": "To"},
    "channel": {"fr": "Canal", "en": "Channel"},
    "subject": {"fr": "Objet", "en": "Subject"},
    "result": {"fr": "Résultat", "en": "Result"},
    "nothing_to_do": {"fr": "Rien à faire pour {person}.", "en": "Nothing to do for {person}."},
    "behind_deadlines": {
        "fr": "Des échéances passées n'ont pas été traitées : ni `insitu up` ni `insitu dispatch` ne fonctionne.",
        "en": "Deadlines that are over were not dealt with: neither `insitu up` nor `insitu dispatch` runs.",
    },
    "behind_messages": {
        "fr": "Des messages dus attendent depuis plus de cinq minutes : `insitu up` ou `insitu dispatch` doit fonctionner.",
        "en": "Messages that are due have waited for over five minutes: `insitu up` or `insitu dispatch` must run.",
    },
    "behind_actions": {
        "fr": "Des actions dues attendent depuis plus de cinq minutes : `insitu up` ou `insitu worker` doit fonctionner, et Prefect.",
        "en": "Actions that are owed have waited for over five minutes: `insitu up` or `insitu worker` must run, and Prefect.",
    },
    "nothing": {"fr": "Rien à montrer.", "en": "Nothing to show."},
    "launched": {"fr": "{code} est lancée (protocole {protocol} {version}).", "en": "{code} is launched (protocol {protocol} {version})."},
    "experiment_is": {"fr": "{code} : {state}", "en": "{code}: {state}"},
    "checkpoint_is": {"fr": "{id} : {status}", "en": "{id}: {status}"},
    "gate_is": {"fr": "Le jalon est : {gate}", "en": "The gate: {gate}"},
    "still_waits": {"fr": "Attend : {what} ({role})", "en": "Waits for: {what} ({role})"},
    "imported": {
        "fr": "{kind} : {added} ajouté(s), {changed} modifié(s), {unchanged} inchangé(s)",
        "en": "{kind}: {added} added, {changed} changed, {unchanged} unchanged",
    },
    "sites": {"fr": "Sites", "en": "Sites"},
    "people": {"fr": "Personnes", "en": "People"},
    "assignments": {"fr": "Affectations", "en": "Assignments"},
    "assigned": {"fr": "{person} : {role} ({result})", "en": "{person}: {role} ({result})"},
    "released": {"fr": "{id} {version} est publié (empreinte {hash}).", "en": "{id} {version} is released (hash {hash})."},
    "sound": {"fr": "{files} fichier(s) sans problème.", "en": "{files} file(s) without a problem."},
    "verified": {
        "fr": "Le journal est intact : {experiments} expérience(s), {facts} fait(s).",
        "en": "The journal is intact: {experiments} experiment(s), {facts} fact(s).",
    },
    "broken": {
        "fr": "Le journal est altéré : {experiment}, fait {seq} : {why}.",
        "en": "The journal was altered: {experiment}, fact {seq}: {why}.",
    },
    "broken_at": {"fr": "{place} : {why}.", "en": "{place}: {why}."},
    "broken_somewhere": {"fr": "L'installation est altérée : {why}.", "en": "The installation was altered: {why}."},
    "broken_more": {"fr": "Et {count} autre(s) constat(s).", "en": "And {count} finding(s) more."},
    "anchors_none": {
        "fr": "Aucun ancrage ici : un journal réécrit en entier ne se verrait pas.",
        "en": "No anchors here: a journal written anew as a whole would not be seen.",
    },
    "anchors_hold": {
        "fr": "Les {lines} ancrages concordent ; le dernier, n° {number} du {date}, a l'empreinte {hash}.",
        "en": "All {lines} anchors hold; the last, number {number} of {date}, has the hash {hash}.",
    },
    "anchors_signed": {
        "fr": "Clé {fingerprint} : ancrages {first} à {last}. Comparez avec les courriels reçus.",
        "en": "Key {fingerprint}: anchors {first} to {last}. Compare with the mails received.",
    },
    "anchored": {
        "fr": "Ancrage {number} du {date} : {count} journaux, empreinte {hash}, clé {signer}, dans {file}.",
        "en": "Anchor {number} of {date}: {count} journals, hash {hash}, key {signer}, in {file}.",
    },
    "backed_up": {
        "fr": "{file} : {rows} lignes, {facts} faits, SHA-256 {sha256}. Il contient des noms et des adresses : gardez-le en lieu sûr.",
        "en": "{file}: {rows} rows, {facts} facts, SHA-256 {sha256}. It holds names and addresses: keep it safe.",
    },
    "restored": {
        "fr": "{file} : {rows} lignes remises et relues, {facts} faits.",
        "en": "{file}: {rows} rows restored and read back, {facts} facts.",
    },
    "up_pages": {"fr": "Pages : {url}", "en": "Pages: {url}"},
    "up_api": {"fr": "API : {url}/api/v1/health", "en": "API: {url}/api/v1/health"},
    "up_prefect": {"fr": "Prefect : {url}", "en": "Prefect: {url}"},
    "up_prefect_password": {
        "fr": "Prefect demande un mot de passe : {command} l'affiche. Il ouvre tout ce qui s'y trouve.",
        "en": "Prefect asks for a password: {command} prints it. It opens everything there.",
    },
    "up_data": {"fr": "Données : {data}", "en": "Data: {data}"},
    "up_no_mail": {
        "fr": "INSITU_MAIL_URL n'est pas défini : les courriels sont réessayés trois jours, puis signalés (mailto://HÔTE:PORT?from=ADRESSE).",
        "en": "INSITU_MAIL_URL is not set: mails are tried again for three days, then reported (mailto://HOST:PORT?from=ADDRESS).",
    },
    "waits_for_database": {
        "fr": "{why} insitu attend jusqu'à {seconds} s qu'elle réponde.",
        "en": "{why} insitu waits up to {seconds} s for it to answer.",
    },
    "up_starting": {"fr": "Prefect démarre sur {url}…", "en": "Prefect is starting on {url}…"},
    "up_prefect_away": {
        "fr": "Prefect ne répond pas encore à {url}. Le travail et les alertes continuent ; il recevra tout plus tard.",
        "en": "Prefect does not answer yet at {url}. Work and alerts go on; it will be shown everything later.",
    },
    "up_without_prefect": {
        "fr": "Prefect ne démarre pas encore. Pages, messages et échéances fonctionnent ; il est relancé jusqu'à ce qu'il réponde.",
        "en": "Prefect does not run yet. Pages, messages and deadlines work; it is tried again until it answers.",
    },
    "up_first": {
        "fr": "Personne n'a encore de compte : ouvrez {url}/setup pour créer le premier.",
        "en": "Nobody has an account yet: open {url}/setup to create the first.",
    },
    "up_setup_code": {"fr": "Code de mise en service : {code}", "en": "Set-up code: {code}"},
    "invited": {
        "fr": "{person} est invité(e) : un courriel part vers {email}. Ce lien fonctionne une fois, pendant sept jours :",
        "en": "{person} is invited: a mail goes to {email}. This link works once, for seven days:",
    },
    "recovering": {
        "fr": "Un courriel part vers {email}. Ce lien pour choisir un nouveau mot de passe fonctionne une fois, pendant une heure :",
        "en": "A mail goes to {email}. This link to choose a new password works once, for an hour:",
    },
    "password": {"fr": "Mot de passe", "en": "Password"},
    "second_factor": {"fr": "Second facteur", "en": "Second factor"},
    "oidc": {"fr": "Fournisseur", "en": "Provider"},
    "last_seen": {"fr": "Dernière venue", "en": "Last seen"},
    "yes": {"fr": "oui", "en": "yes"},
    "account_open": {"fr": "ouvert", "en": "open"},
    "account_none": {"fr": "sans compte", "en": "no account"},
    "account_locked": {"fr": "verrouillé", "en": "locked"},
    "account_closed": {"fr": "fermé", "en": "closed"},
    "account_is_closed": {"fr": "Le compte de {person} est fermé.", "en": "The account of {person} is closed."},
    "account_is_open": {"fr": "Le compte de {person} est ouvert.", "en": "The account of {person} is open."},
    "factor_removed": {
        "fr": "{person} entre sans second facteur, jusqu'à en choisir un autre.",
        "en": "{person} comes in without a second factor, until they set another.",
    },
    "account_linked": {
        "fr": "Le fournisseur répond désormais de {person}.",
        "en": "The provider's word is taken for {person} from now on.",
    },
    "account_unlinked": {
        "fr": "Le fournisseur ne répond plus de {person}, jusqu'à ce que cette personne ou un chef de projet relie son compte.",
        "en": "The provider's word is no longer taken for {person}, until they or a project manager link the account again.",
    },
    "account_not_linked": {
        "fr": "Le compte de {person} n'était relié à aucun compte chez le fournisseur.",
        "en": "The account of {person} was linked to none at the provider.",
    },
    "number": {"fr": "Numéro", "en": "Number"},
    "from": {"fr": "Du", "en": "From"},
    "until": {"fr": "Au", "en": "Until"},
    "signed_by": {"fr": "Signé par", "en": "Signed by"},
    "deputy": {"fr": "Suppléant", "en": "Deputy"},
    "reason": {"fr": "Motif", "en": "Reason"},
    "declared_by": {"fr": "Déclaré par", "en": "Declared by"},
    "withdrawn_by": {"fr": "Levé par", "en": "Withdrawn by"},
    "unsigned": {"fr": "à signer", "en": "to be signed"},
    "to_come": {"fr": "à venir", "en": "to come"},
    "in_force": {"fr": "en vigueur", "en": "in force"},
    "over": {"fr": "terminé", "en": "over"},
    "delegation_recorded": {
        "fr": "Délégation {id} : {person}, {role}. Elle vaut une fois signée : insitu delegation sign {id}.",
        "en": "Delegation {id}: {person}, {role}. It counts once signed: insitu delegation sign {id}.",
    },
    "training_recorded": {
        "fr": "Formation {id} : {person}, {protocol}. Elle vaut une fois signée : insitu training sign {id}.",
        "en": "Training {id}: {person}, {protocol}. It counts once signed: insitu training sign {id}.",
    },
    "signed_as": {"fr": "{id} est signé : « {meaning} »", "en": "{id} is signed: “{meaning}”"},
    "ended_on": {"fr": "{id} ne vaut plus à partir du {on}.", "en": "{id} counts no more from {on}."},
    "ended_now": {"fr": "{id} est terminé.", "en": "{id} is over."},
    "deputy_named": {
        "fr": "Suppléance {id} : {deputy} agit à la place de {person} jusqu’au {until}.",
        "en": "Deputy {id}: {deputy} acts in the place of {person} until {until}.",
    },
    "conflict_declared": {
        "fr": "Conflit d’intérêts {id} : {person} ne peut plus agir tant qu’il dure.",
        "en": "Conflict of interest {id}: {person} cannot act while it lasts.",
    },
    "in_place_of": {"fr": "à la place de {of}", "en": "in the place of {of}"},
    "lacks": {"fr": "il manque une {what} signée", "en": "a signed {what} is missing"},
    "delegation": {"fr": "délégation", "en": "delegation"},
    "training": {"fr": "formation", "en": "training"},
    "up_stop": {"fr": "Ctrl-C arrête tout.", "en": "Ctrl-C stops all of it."},
    "stopping": {"fr": "Arrêt…", "en": "Stopping…"},
    "dispatching": {"fr": "Les messages partent ; Ctrl-C arrête.", "en": "Messages are on their way; Ctrl-C stops."},
    "working": {"fr": "Au travail ; Ctrl-C arrête.", "en": "At work; Ctrl-C stops."},
    "demo_clock": {
        "fr": "Démonstration : l'horloge est accélérée, neuf mois passent en une minute. Données : {data}",
        "en": "Demonstration: the clock runs ahead, nine months pass in a minute. Data: {data}",
    },
    "demo_projection": {"fr": "Prefect rattrape", "en": "Prefect catches up"},
    "demo_closed": {"fr": "{experiment} est clôturée, en {seconds} s.", "en": "{experiment} is closed, in {seconds} s."},
    "demo_prefect": {
        "fr": "Prefect : {prefect} – mot de passe {prefect_password}",
        "en": "Prefect: {prefect} – password {prefect_password}",
    },
    "demo_report": {"fr": "Rapport : {report}", "en": "Report: {report}"},
    "demo_mail": {"fr": "Courriels : {mails} ({kinds}) dans {mail_folder}", "en": "Mails: {mails} ({kinds}) in {mail_folder}"},
    "demo_pages": {
        "fr": "Pages (avec --keep, ou insitu up) : {api} – {manager} ou {coordinator}, mot de passe {password}",
        "en": "Pages (with --keep, or insitu up): {api} – {manager} or {coordinator}, password {password}",
    },
    "demo_look": {
        "fr": "Le tableau des jalons : insitu status {experiment} --data {data}",
        "en": "The gate board: insitu status {experiment} --data {data}",
    },
    "demo_again": {
        "fr": "Pour revoir Prefect : insitu up --data {data}",
        "en": "To see Prefect again: insitu up --data {data}",
    },
    "journal_was_broken": {
        "fr": "Attention : le journal sauvegardé était déjà altéré ({why}).",
        "en": "Beware: the journal in it was already altered ({why}).",
    },
}


def word(key: str, locale: str, **values: object) -> str:
    """The words of a key in a language, its blanks filled."""
    return WORDS[key]["fr" if locale == "fr" else "en"].format(**values)


def terminal_locale(environment: Mapping[str, str] | None = None) -> str:
    """The language of a terminal: INSITU_LOCALE, else what LC_ALL, LC_MESSAGES or LANG begin with; `fr` or `en`."""
    given = os.environ if environment is None else environment
    names = ("INSITU_LOCALE", "LC_ALL", "LC_MESSAGES", "LANG")
    said = next((given[name] for name in names if given.get(name)), "")
    return "fr" if said.lower().startswith("fr") else "en"
