"""A sentence for a user that a door can say in another language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Phrase(str):
    """English text, made of a `template` (the key of the doors' catalogues) and the `values` that fill it.

    It is a string like any other, so whoever does not translate shows the English. A value that is a mapping, such as a message a
    field, is shown as a list.
    """

    __slots__ = ("template", "values")

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, **values: Any) -> Phrase:
        made = super().__new__(cls, template.format(**{name: _listed(value) for name, value in values.items()}))
        made.template, made.values = template, values
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        return (self.template,), self.values


def _listed(value: Any) -> Any:
    return "; ".join(f"{name}: {said}" for name, said in value.items()) if isinstance(value, Mapping) else value
