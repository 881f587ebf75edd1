"""A sentence for a user that a door can say in another language."""

from __future__ import annotations

from typing import Any


class Phrase(str):
    """English text, made of a `template` (the key of the doors' catalogues) and the `values` that fill it.

    It is a string like any other, so whoever does not translate shows the English.
    """

    __slots__ = ("template", "values")

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, **values: Any) -> Phrase:
        made = super().__new__(cls, template.format(**values))
        made.template, made.values = template, values
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        return (self.template,), self.values
