"""The work pool and the deployments in Prefect: one a protocol, whose launch form Prefect's own pages show, and one for sites.

Deployments are never deleted: Prefect cancels the waiting runs of a deployment that is gone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import count
from typing import Any

from sqlalchemy import select

from flows.client import PAGE, Prefect, PrefectRefused
from flows.schema import object_schema
from protocols.model import Protocol, in_locale
from sites.database import Database, table
from sites.releases import find_release, plan_of
from sites.tables import Person, Release, Site

POOL, POOL_TYPE = "insitu", "insitu"
EXPERIMENT, SITE_TRACK = "experiment", "site_track"
ENTRYPOINTS = {EXPERIMENT: "flows.experiment:experiment", SITE_TRACK: "flows.site_track:site_track"}
LAUNCHED_BY_RUN = "flow-run:"  # a command id of the ledger: this flow run launched the experiment, and is its track
MAX_CHOICES = 500  # a longer list of sites or people makes Prefect's form unusable: it becomes free text

log = logging.getLogger("insitu.projector")

# Runs are threads of the worker: there is nothing to choose about their infrastructure, but Prefect wants one key.
JOB_TEMPLATE: dict[str, Any] = {"job_configuration": {"env": {}}, "variables": {"type": "object", "properties": {}}}


def launch_schema(protocol: Protocol, sites: Mapping[str, str], people: Mapping[str, str], locale: str = "en") -> dict[str, Any]:
    """The parameters of the experiment flow as JSON Schema, from the protocol's launch fields: what Prefect's form shows.

    `sites` and `people` map codes and ids to names. The `code` of an experiment in flight is a parameter, but not of the form.
    """
    french = locale == "fr"
    return {
        "title": "Parameters",
        "type": "object",
        "required": ["sites", "launched_by", "launch"],
        "properties": {
            "sites": {
                "title": "Sites",
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"type": "string"} | _enum(sites),
                "description": ", ".join(f"{code}: {name}" for code, name in sites.items()),
                "position": 0,
            },
            "launched_by": {"title": "Lancé par" if french else "Launched by", "type": "string", "position": 1} | _enum(people),
            "launch": object_schema(protocol.launch, locale) | {"title": "Lancement" if french else "Launch", "position": 2},
            "title": {"title": "Titre" if french else "Title", "type": "string", "position": 3},
        },
    }


def _enum(known: Iterable[str]) -> dict[str, Any]:
    values = list(known)
    return {"enum": values} if 0 < len(values) <= MAX_CHOICES else {}


def work_pool() -> str:
    """The work pool that this process registers deployments for: INSITU_WORK_POOL, else the in-process worker's own."""
    return os.environ.get("INSITU_WORK_POOL", POOL)


class Deployments:
    """The deployments on one Prefect server, registered as needed and remembered by id.

    They go to the work pool `pool`, else `work_pool()`; the in-process worker's own is made if it is not there.
    """

    def __init__(self, prefect: Prefect, database: Database, locale: str = "en", pool: str = "") -> None:
        self._prefect, self._database, self._locale = prefect, database, locale
        self._pool = pool or work_pool()
        self._ids: dict[str, str] = {}

    def register(self) -> dict[str, str]:
        """Register the work pool and every deployment anew; ids by name. What is there is updated, so it may run at any time."""
        self._ids.clear()
        self._register_pool()
        self._register(SITE_TRACK, "insitu", _site_track_content())
        for protocol in self._protocols():
            self._register(EXPERIMENT, protocol, self._content(protocol))
        return dict(self._ids)

    def id_of(self, protocol: str, site: str) -> str:
        """The deployment of an experiment's or, with `site`, a site's run; registered when this process does not know it yet."""
        name = f"{SITE_TRACK}/insitu" if site else f"{EXPERIMENT}/{protocol}"
        if name not in self._ids:
            if not site:
                self._register(EXPERIMENT, protocol, self._content(protocol))
            else:
                self._register(SITE_TRACK, "insitu", _site_track_content())
        return self._ids[name]

    def put_back(self) -> bool:
        """Register anew what someone deleted in Prefect, a deployment or its work pool; whether anything was missing."""
        wanted = {(ENTRYPOINTS[SITE_TRACK], "insitu"), *((ENTRYPOINTS[EXPERIMENT], protocol) for protocol in self._protocols())}
        there = {(row["entrypoint"], row["name"]) for row in self._registered() if row["work_pool_name"]}
        if not (missing := wanted - there):
            return False
        names = ", ".join(sorted(name for _, name in missing))
        log.warning("Prefect had lost deployments or their work pool (%s); they are registered again", names)
        self.register()
        return True

    def _registered(self) -> Iterator[Mapping[str, Any]]:
        for offset in count(0, PAGE):
            wanted = {"flows": {"name": {"any_": [EXPERIMENT, SITE_TRACK]}}, "limit": PAGE, "offset": offset}
            rows = self._prefect.request("POST", "deployments/filter", wanted)
            yield from rows
            if len(rows) < PAGE:
                return

    def exists(self, deployment: str) -> bool:
        """Whether Prefect has the deployment of this id, now."""
        return bool(deployment) and self._prefect.request("GET", f"deployments/{deployment}") is not None

    def forget(self) -> None:
        """Look everything up again at the next question: the server may not be the one it was."""
        self._ids.clear()

    def _protocols(self) -> list[str]:
        with self._database.read() as connection:
            return sorted(set(connection.execute(select(table(Release).c.id)).scalars()))

    def _register_pool(self) -> None:
        if self._prefect.request("GET", f"work_pools/{self._pool}") is not None:
            return
        if self._pool != POOL:
            make = f"prefect work-pool create {self._pool} --type process"
            raise PrefectRefused(f"Prefect has no work pool {self._pool!r} (INSITU_WORK_POOL). Create it: `{make}`.")
        try:
            self._prefect.request("POST", "work_pools/", {"name": POOL, "type": POOL_TYPE, "base_job_template": JOB_TEMPLATE})
        except PrefectRefused as refusal:
            if refusal.status != HTTPStatus.CONFLICT:  # another process has just made it
                raise

    def _register(self, flow: str, name: str, content: Mapping[str, Any]) -> None:
        self._register_pool()
        flow_id = self._prefect.request("POST", "flows/", {"name": flow})["id"]
        base = {"name": name, "flow_id": flow_id, "work_pool_name": self._pool, "entrypoint": ENTRYPOINTS[flow], "tags": ["insitu"]}
        created = self._prefect.request("POST", "deployments/", base | {"enforce_parameter_schema": True} | dict(content))
        self._ids[f"{flow}/{name}"] = created["id"]

    def _content(self, protocol: str) -> dict[str, Any]:
        with self._database.read() as connection:
            release = find_release(connection, protocol)
            document = plan_of(connection, release["hash"]).protocol
            sites = connection.execute(select(table(Site).c.code, table(Site).c.name).order_by(table(Site).c.code)).all()
            people = connection.execute(select(table(Person).c.id, table(Person).c.name).order_by(table(Person).c.id)).all()
        summary = in_locale(document.summary, self._locale)
        return {
            "version": document.version,
            "description": f"{in_locale(document.title, self._locale)}\n\n{summary}".strip(),
            "parameters": {"protocol": protocol},
            "parameter_openapi_schema": launch_schema(
                document, {row.code: row.name for row in sites}, {row.id: row.name for row in people}, self._locale
            ),
        }


def _site_track_content() -> dict[str, Any]:
    properties = {"code": {"title": "Code", "type": "string"}, "site": {"title": "Site", "type": "string"}}
    schema = {"title": "Parameters", "type": "object", "required": ["code", "site"], "properties": properties}
    return {"description": "A site's part in an experiment; insitu starts it.", "parameters": {}, "parameter_openapi_schema": schema}
