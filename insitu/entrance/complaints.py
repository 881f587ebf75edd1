"""What a request's shape is refused for, as a sentence of the catalogues instead of the library's English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insitu.entrance.language import N_
from protocols.phrase import Phrase

# By pydantic's own names of its errors; the blanks are those of its context.
SENTENCES: dict[str, str] = {
    "missing": N_("this is required"),
    "extra_forbidden": N_("there is no such key here"),
    "string_type": N_("this should be text"),
    "string_too_short": N_("this should have at least {min_length} characters"),
    "string_too_long": N_("this should have at most {max_length} characters"),
    "string_pattern_mismatch": N_("this is not written as expected"),
    "int_type": N_("this should be a whole number"),
    "int_parsing": N_("this should be a whole number"),
    "int_parsing_size": N_("this number is too large"),
    "int_from_float": N_("this should be a whole number"),
    "float_type": N_("this should be a number"),
    "float_parsing": N_("this should be a number"),
    "finite_number": N_("this should be a number"),
    "bool_type": N_("this should be true or false"),
    "bool_parsing": N_("this should be true or false"),
    "greater_than_equal": N_("this should be at least {ge}"),
    "less_than_equal": N_("this should be at most {le}"),
    "list_type": N_("this should be a list"),
    "dict_type": N_("this should be an object"),
    "model_type": N_("this should be an object"),
    "model_attributes_type": N_("this should be an object"),
    "too_short": N_("this should have at least {min_length} entries"),
    "too_long": N_("this should have at most {max_length} entries"),
    "literal_error": N_("this should be one of {expected}"),
    "enum": N_("this should be one of {expected}"),
    "date_type": N_("this should be a date such as 2026-01-31"),
    "date_parsing": N_("this should be a date such as 2026-01-31"),
    "date_from_datetime_parsing": N_("this should be a date such as 2026-01-31"),
    "date_from_datetime_inexact": N_("this should be a date such as 2026-01-31"),
    "datetime_from_date_parsing": N_("this should be a time such as 2026-01-31T09:30:00Z"),
    "datetime_parsing": N_("this should be a time such as 2026-01-31T09:30:00Z"),
    "unknown_parameter": N_("there is no such parameter here; known: {known}"),
    "null_character": N_("a null character cannot be kept; take it out"),
}

# What a text that should match a pattern should be: a pattern itself is no sentence.
PATTERNS: dict[str, str] = {
    r"\S": N_("this should hold more than blanks"),
    r"^[0-9a-f]{64}$": N_("this should be a SHA-256: 64 digits and letters from a to f"),
    r"^([0-9a-f]{64})?$": N_("this should be a SHA-256: 64 digits and letters from a to f"),
    r"^[!-~]+$": N_("this should hold printable ASCII characters and no blank"),
}


def complaint(error: Mapping[str, Any]) -> Phrase:
    """What is wrong with one value, from an entry of a validation error."""
    context = {name: str(value) for name, value in (error.get("ctx") or {}).items()}
    sentence = PATTERNS.get(context.get("pattern", "")) or SENTENCES.get(error["type"])
    if sentence is None:
        return Phrase("this cannot be used ({why})", why=str(error.get("msg", "")))
    return Phrase(sentence, **context)
