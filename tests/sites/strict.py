"""The small protocol with site roles that require a delegation and a training, and a site step that the investigator signs."""

from __future__ import annotations

from typing import Any

from small import SMALL

from sites.ledger import Ledger

STRICT = (
    SMALL.replace("id: small", "id: strict")
    .replace("principal_investigator: {", "principal_investigator: {requires: [delegation, training], ")
    .replace("site_coordinator: {", "site_coordinator: {requires: [delegation, training], ")
    .replace(
        "form: [{id: ready, type: boolean, required: true, label: {fr: Prêt, en: Ready}}]\n",
        "form: [{id: ready, type: boolean, required: true, label: {fr: Prêt, en: Ready}}]\n"
        "      signatures: [{role: principal_investigator, meaning: {fr: Vu, en: Seen}, different_person: true}]\n",
    )
)


def launch_strict(ledger: Ledger, *sites: str, **options: Any) -> str:
    """Launch it; its code."""
    return str(ledger.launch("strict", list(sites or ("CAEN", "METZ")), {"target": 10}, "project_manager", **options)["code"])
