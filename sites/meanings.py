"""What a signature outside a protocol means: one text a kind of record, in each language, which every door shows and the record keeps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from babel.dates import format_date
from sqlalchemy import Connection, bindparam, select

from protocols.model import LOCALES, in_locale
from sites.database import table
from sites.releases import plan_of
from sites.signing import Meanings
from sites.tables import Experiment, Person, Site

_NAME = select(table(Person).c.name).where(table(Person).c.id == bindparam("person"))
_SITE_NAME = select(table(Site).c.name).where(table(Site).c.code == bindparam("site"))
_PROTOCOL = select(table(Experiment).c.protocol).where(table(Experiment).c.code == bindparam("experiment"))

_BABEL = {"fr": "fr", "en": "en_GB"}
_PERIOD = {"fr": ("à partir du {begins}", "du {begins} au {ends}"), "en": ("from {begins} on", "from {begins} to {ends}")}
_AT_SITE = {"fr": " au site {site}", "en": " at site {site}"}
_DELEGATION = {
    "fr": "Je délègue à {name} les tâches du rôle « {role} »{at_site} dans l’expérimentation {experiment}, {period}.",
    "en": "I delegate to {name} the tasks of the role “{role}”{at_site} in experiment {experiment}, {period}.",
}
_TRAINING = {
    "fr": "Je confirme que {name} a été formé(e) au protocole {protocol}{at_site} ; cela vaut {period}.",
    "en": "I confirm that {name} was trained on protocol {protocol}{at_site}; this counts {period}.",
}

ACCESS_REVIEW: Meanings = {
    "fr": "J’ai passé en revue aujourd’hui qui peut faire quoi dans les expérimentations dont je suis chef de projet, et j’ai mis fin à ce "
    "qui n’avait plus lieu d’être.",
    "en": "I have reviewed today who may do what in the experiments I manage, and have ended what should not be.",
}


def of_delegation(connection: Connection, record: Mapping[str, Any]) -> Meanings:
    """What signing a delegation means; `record` is its row. A record never changes before it is signed, nor does this."""
    pinned = connection.execute(_PROTOCOL, {"experiment": record["experiment"]}).scalar()
    role = plan_of(connection, pinned).role(record["role"]) if pinned else None
    title = role.title if role else record["role"]
    words = {locale: {"role": in_locale(title, locale), "experiment": record["experiment"]} for locale in LOCALES}
    return _said(connection, _DELEGATION, record, record["from_date"], words)


def of_training(connection: Connection, record: Mapping[str, Any]) -> Meanings:
    """What signing a training means; `record` is its row."""
    words = {"protocol": f"{record['protocol']} {record['version']}"}
    return _said(connection, _TRAINING, record, record["on_date"], dict.fromkeys(LOCALES, words))


def _said(
    connection: Connection, texts: Meanings, record: Mapping[str, Any], begins: date, words: Mapping[Any, Mapping[str, str]]
) -> Meanings:
    name = connection.execute(_NAME, {"person": record["person"]}).scalar() or record["person"]
    site = connection.execute(_SITE_NAME, {"site": record["site"]}).scalar() if record["site"] else None
    place = f"{record['site']} · {site}" if site else record["site"]
    return {
        locale: texts[locale].format(
            name=name,
            at_site=_AT_SITE[locale].format(site=place) if place else "",
            period=_period(begins, record["until_date"], locale),
            **words[locale],
        )
        for locale in LOCALES
    }


def _period(begins: date, ends: date | None, locale: str) -> str:
    days = {name: format_date(day, "EEEE d MMMM y", locale=_BABEL[locale]) for name, day in (("begins", begins), ("ends", ends)) if day}
    return _PERIOD[locale][bool(ends)].format(**days)
