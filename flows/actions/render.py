"""The `render` action: documents of an experiment, as standalone HTML and, where the machine can, as PDF."""

from __future__ import annotations

import difflib
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from flows.actions import ActionContext
from flows.actions.page import Page
from flows.actions.record import Record, read
from protocols.errors import InvalidInput
from protocols.model import LOCALES

SITE_TEMPLATE = "site-pack"
PDF_NOTE = {
    "fr": "PDF non produit : une bibliothèque du système manque (Pango). Le document HTML s'imprime aussi bien. Détail : {error}",
    "en": "No PDF was made: a system library is missing (Pango). The HTML document prints as well. Detail: {error}",
}


def known_templates() -> frozenset[str]:
    """The names that `render` accepts."""
    folder = resources.files("flows.actions") / "templates" / LOCALES[0]
    return frozenset(file.name.removesuffix(".html") for file in folder.iterdir() if file.name.endswith(".html"))


def render(context: ActionContext, template: str) -> dict[str, Any]:
    """The stored documents, and `pdf_note` where no PDF could be made.

    A site pack asked for by a step of the experiment is made for every active site. The same state gives the same bytes, so that
    rendering twice stores once: a document holds no time but those of the journal.
    Raises InvalidInput for an unknown template.
    """
    record = read(context.database, context.experiment)
    documents: list[dict[str, str]] = []
    notes: list[str] = []
    for site in _sites(context, record, template):
        page = Page(context.protocol, record, context.locale, context.step, site, context.round)
        html = to_html(template, page)
        name = "-".join(part for part in (context.experiment, site, template, str(context.round)) if part)
        documents.append(_stored(context, f"{name}.html", "text/html", html.encode()))
        pdf, problem = to_pdf(html)
        if pdf is not None:
            documents.append(_stored(context, f"{name}.pdf", "application/pdf", pdf))
        else:
            notes.append(PDF_NOTE[context.locale].format(error=problem))
    return {"documents": documents} | ({"pdf_note": notes[0]} if notes else {})


def to_html(template: str, page: Page) -> str:
    """The document as one HTML text that asks for nothing from elsewhere.

    Raises InvalidInput for an unknown template.
    """
    _require_known(template)
    return _environment().get_template(f"{page.locale}/{template}.html").render(page=page)


def to_pdf(html: str) -> tuple[bytes | None, str]:
    """The tagged PDF of an HTML text, or None and what is missing on this machine. The same text gives the same bytes."""
    try:
        import weasyprint
    except OSError as error:
        return None, str(error).partition("\n")[0]
    identity = hashlib.sha256(html.encode()).digest()[:16]
    nothing_from_elsewhere = weasyprint.urls.URLFetcher(allowed_protocols=())
    document = weasyprint.HTML(string=html, url_fetcher=nothing_from_elsewhere)
    pdf: bytes = document.write_pdf(pdf_identifier=identity, pdf_variant="pdf/ua-1")
    return pdf, ""


def _sites(context: ActionContext, record: Record, template: str) -> list[str]:
    _require_known(template)
    return [context.site] if context.site or template != SITE_TEMPLATE else record.state.active_sites()


def _stored(context: ActionContext, name: str, media_type: str, content: bytes) -> dict[str, str]:
    return {"name": name, "media_type": media_type, "hash": context.ledger.store_document(name, media_type, content)}


def _require_known(template: str) -> None:
    if template in (known := known_templates()):
        return
    near = difflib.get_close_matches(template, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(sorted(known))}."
    raise InvalidInput(f"There is no document template {template!r}; {hint}")


@cache
def _environment() -> Environment:
    loader = PackageLoader("flows.actions", "templates")
    return Environment(loader=loader, undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
