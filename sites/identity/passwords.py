"""Passwords: what makes one acceptable, and how it lies in the database."""

from __future__ import annotations

import secrets
import unicodedata
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from protocols.errors import InvalidInput
from protocols.phrase import Phrase

SHORTEST = 12  # with any characters: ANSSI's guide of 2021 and CNIL's recommendation of 2022 want length, not a mixture
LONGEST = 1000
ENOUGH_BESIDES = 8  # what must be left once the person's own words are taken out

# Argon2id with OWASP's parameters (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)
# Each takes its 19 MiB: a flood of sign-ins waits here, and never fills the memory.
_AT_ONCE = BoundedSemaphore(4)

_WORDS = """
password motdepasse azerty azertyuiop qwerty qwertyuiop qwertz bonjour soleil doudou loulou chouchou princesse marseille france
hopital hospital infirmiere infirmier medecin docteur sante clinique urgences nurse doctor welcome bienvenue letmein
admin administrateur administrator changeme changezmoi iloveyou jetaime football monkey dragon master secret insitu
"""
COMMON = frozenset(_WORDS.split())


def check(password: str, *own: str) -> None:
    """Let a password pass, or raise InvalidInput saying why not. `own` are words anyone would try first: the person's id, name, e-mail."""
    if len(password) < SHORTEST:
        raise InvalidInput(Phrase("A password has at least {shortest} characters; a sentence is easy to remember.", shortest=SHORTEST))
    if len(password) > LONGEST:
        raise InvalidInput(Phrase("A password has at most {longest} characters.", longest=LONGEST))
    if _is_made_of(password, own):
        raise InvalidInput(Phrase("This password is made of your name, id or e-mail. Choose words that have nothing to do with you."))
    if is_common(password):
        raise InvalidInput(Phrase("This password is one of those that are tried first. Choose several unusual words."))


def is_common(password: str) -> bool:
    """Whether it is a well-known word with a few figures, or one character or series over and over."""
    plain = _plain(password)
    letters = "".join(char for char in plain if char.isalpha())
    return len(set(plain)) < 5 or letters in COMMON or any(letters == word * 2 for word in COMMON) or _is_a_series(plain)


def _is_a_series(plain: str) -> bool:
    return any(plain in series * 3 for series in ("0123456789", "abcdefghijklmnopqrstuvwxyz", "9876543210"))


def _is_made_of(password: str, own: tuple[str, ...]) -> bool:
    left, words = _plain(password), {word for text in own for word in _words(text) if len(word) > 2}
    for word in sorted(words, key=len, reverse=True):
        left = left.replace(word, "")
    return len(left) < ENOUGH_BESIDES and len(left) < len(password)


def _words(text: str) -> list[str]:
    plain = _plain(text)
    return [plain, *"".join(char if char.isalnum() else " " for char in plain).split()]


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))


def hashed(password: str) -> str:
    """Its Argon2id hash, with salt and parameters."""
    with _AT_ONCE:
        return _HASHER.hash(_same_everywhere(password))


def is_right(password: str, kept: str) -> bool:
    """Whether a password is the one of a hash. "" for nobody's hash takes as long, and is never right."""
    nobodys = _nobodys()
    with _AT_ONCE:
        try:
            return _HASHER.verify(kept or nobodys, _same_everywhere(password[: LONGEST + 1])) and bool(kept)
        except (VerificationError, InvalidHashError):
            return False


def is_dated(kept: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_urlsafe(16))


def _same_everywhere(password: str) -> str:
    # A Mac and a PC may type the same é as one character or as two (NIST SP 800-63B §5.1.1.2).
    return unicodedata.normalize("NFKC", password)
