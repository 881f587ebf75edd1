"""The installation's key: it signs what leaves the house and must come back unchanged, and seals what lies in the database."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadSignature, URLSafeSerializer

from protocols.errors import DatabaseUnavailable, InvalidInput
from sites.private import make_folder
from sites.settings import Settings

SHORTEST = 32


@dataclass(frozen=True)
class Key:
    """A secret of at least 32 characters. Several machines behind one address need the same (INSITU_KEY)."""

    secret: str

    @classmethod
    def of(cls, settings: Settings) -> Key:
        """The key of INSITU_KEY, else of the file `key` in the data folder, made on first use and readable by its owner only.

        Raises InvalidInput for a key too short to be one, DatabaseUnavailable when the file can be neither read nor made.
        """
        secret = settings.key or kept_secret(settings.data / "key", "set INSITU_KEY")
        if len(secret) < SHORTEST:
            raise InvalidInput(f"INSITU_KEY is {len(secret)} characters long; it needs {SHORTEST} or more of random text.")
        return cls(secret)

    def sign(self, purpose: str, text: str) -> str:
        """A text to send out, that `opened` gives back for the same purpose only."""
        return str(self._serializer(purpose).dumps(text))

    def opened(self, purpose: str, token: str) -> str | None:
        """The text that was signed for this purpose; None for anything else."""
        try:
            found = self._serializer(purpose).loads(token)
        except BadSignature:
            return None
        return found if isinstance(found, str) else None

    def seal(self, text: str) -> str:
        """A text as it may lie in the database: unreadable without the key."""
        return self._box.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str | None:
        """What `seal` was given; None when it was sealed with another key."""
        try:
            return self._box.decrypt(sealed.encode()).decode()
        except InvalidToken:
            return None

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(self.secret, salt=f"insitu.{purpose}", signer_kwargs={"digest_method": hashlib.sha256})

    @cached_property
    def _box(self) -> Fernet:
        derived = HKDF(SHA256(), 32, salt=None, info=b"insitu.seal").derive(self.secret.encode())
        return Fernet(base64.urlsafe_b64encode(derived))


def fingerprint(secret: str) -> str:
    """SHA-256 of a secret that is random and long: what the database keeps of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def kept_secret(file: Path, instead: str, begins: str = "") -> str:
    """The random text that a file keeps, made on first use and readable by its owner only; it begins with `begins`.

    Raises DatabaseUnavailable, which says what to do `instead`, when the file can be neither read nor made.
    """
    try:
        make_folder(file.parent)
        if not file.exists():
            _make(file, begins + secrets.token_urlsafe(48))
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DatabaseUnavailable(f"The key in {file} cannot be read or made: {error}. Make it readable, or {instead}.") from None


def _make(file: Path, secret: str) -> None:
    """Whoever comes first makes it, whole and at once: a second process never reads half a key."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as writing:
        writing.write(secret)
    with suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()
