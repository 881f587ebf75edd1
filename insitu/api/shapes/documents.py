"""Documents, files and signatures as the API shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from insitu.api.shapes.checkpoints import HASH
from insitu.api.shapes.common import Moment, Shown


class Document(Shown):
    """A document of an experiment: rendered by an action, or attached to answers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "hash": HASH,
                    "name": "ethics-dossier.pdf",
                    "origin": "rendered",
                    "step": "ethics",
                    "site": "",
                    "round": 1,
                    "media_type": "application/pdf",
                    "size": 48213,
                    "stored_at": "2026-03-04T10:00:00Z",
                }
            ]
        }
    )

    hash: str = Field(description="SHA-256 of its content; its address ends with it.")
    name: str
    origin: Literal["rendered", "attached"]
    step: str
    site: str
    round: int
    media_type: str
    size: int = Field(description="In bytes.")
    stored_at: Moment


class StoredFile(Shown):
    """A stored file, in the form that answers a file field."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"hash": HASH, "name": "opinion.pdf", "size": 48213}]})

    hash: str
    name: str
    size: int


class Signed(Shown):
    """A signature, and whether it still counts: `void` once answers changed or the gate reopened, `earlier` in an earlier round."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seq": 9,
                    "step": "ethics",
                    "site": "",
                    "round": 1,
                    "by": "s.garnier",
                    "role": "ethics_officer",
                    "at": "2026-03-05T09:00:00Z",
                    "meaning": "I certify this opinion.",
                    "answers_hash": HASH,
                    "fact_hash": HASH,
                    "validity": "valid",
                }
            ]
        }
    )

    seq: int = Field(description="The number of its fact in the journal.")
    step: str
    site: str
    round: int
    by: str
    role: str
    at: Moment
    meaning: str
    answers_hash: str
    fact_hash: str
    validity: Literal["valid", "void", "earlier"]
