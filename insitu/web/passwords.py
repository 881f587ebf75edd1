"""What the pages where a password is chosen have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from insitu.entrance.language import N_
from insitu.entrance.page import language_of
from protocols.errors import InsituError


def differing(request: Request, form: Mapping[str, Any], field: str = "password") -> dict[str, str]:
    """The complaint about a new password that was not typed twice alike, by its field; nothing when it was."""
    if form.get(field) == form.get(f"{field}_again"):
        return {}
    return {f"{field}_again": language_of(request)(N_("The two passwords are not the same. Type the second one again."))}


def said_in(request: Request, error: InsituError) -> str:
    """An error's message in the reader's language."""
    return language_of(request).text(error.args[0] if error.args else str(error))
