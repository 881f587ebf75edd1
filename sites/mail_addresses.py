"""Mail addresses: one rule for what is typed, imported and written to."""

from __future__ import annotations

import re
import unicodedata

# Handed to the mail server as it is: letters of ASCII only, as most servers take no others (RFC 5321; RFC 6531 is an extension).
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


def is_mail_address(text: str) -> bool:
    """Whether a mail can be sent to the text as it stands."""
    return _ADDRESS.fullmatch(text) is not None


def unseen(text: str) -> list[str]:
    """The characters of a text that nobody sees, by number and name: `U+200B ZERO WIDTH SPACE`."""
    hidden = dict.fromkeys(one for one in text if unicodedata.category(one) == "Cf" or one in "\u00a0\u202f")
    return [f"U+{ord(one):04X} {unicodedata.name(one)}" for one in hidden]
