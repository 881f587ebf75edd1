"""The key that signs anchors: Ed25519, in a file of its own that is in no database and no backup."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from protocols.errors import InsituError

NAME = "anchor-key"
# What is signed begins with it, so that no signature made for another purpose passes for an anchor's.
_PURPOSE = b"insitu anchor\n"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key. `public` is the public key as base64 of its 32 bytes (RFC 8032)."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> str:
        return base64.b64encode(self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public)

    def sign(self, content: bytes) -> str:
        """The signature of an anchor's content, as base64."""
        return base64.b64encode(self.private.sign(_PURPOSE + content)).decode()


def fingerprint(public: str) -> str:
    """What people compare: the first 128 bits of the SHA-256 of a public key, in groups of four."""
    digest = hashlib.sha256(base64.b64decode(public)).hexdigest()[:32]
    return ":".join(digest[at : at + 4] for at in range(0, 32, 4))


def is_signed(public: str, signature: str, content: bytes) -> bool:
    """Whether a signature is that of this content under a public key; False for what is neither."""
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True)).verify(
            base64.b64decode(signature, validate=True), _PURPOSE + content
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def found_key(folder: Path) -> SigningKey | None:
    """The key kept in a data folder; None without one. Raises InsituError when it is there and cannot be read."""
    file = folder / NAME
    try:
        read = load_pem_private_key(file.read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InsituError(f"The key of the anchors in {file} cannot be read: {error}. Put back the file that was there.") from None
    if not isinstance(read, Ed25519PrivateKey):
        raise InsituError(f"The key of the anchors in {file} is not an Ed25519 key. Put back the file that was there.")
    return SigningKey(read)


def kept_key(folder: Path) -> SigningKey:
    """The key kept in a data folder, made on first use and readable by its owner only. Raises InsituError."""
    if key := found_key(folder):
        return key
    made = new_key(folder)
    with suppress(FileExistsError):  # whoever comes first makes it
        os.link(made, folder / NAME)
    made.unlink()
    return kept_key(folder)


def new_key(folder: Path) -> Path:
    """A new key, written whole to a file of its own beside the one in use. Raises InsituError."""
    draft = folder / f"{NAME}.{secrets.token_hex(4)}"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing:
            writing.write(pem)
            writing.flush()
            os.fsync(writing.fileno())
    except OSError as error:
        with suppress(OSError):  # it is tried again each ten minutes: nothing of each try may stay
            draft.unlink()
        raise InsituError(f"The key of the anchors cannot be written to {folder}: {error.strerror or error}.") from error
    return draft


def read_key(file: Path) -> SigningKey:
    """The key in a file that `new_key` wrote."""
    read = load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(read, Ed25519PrivateKey)
    return SigningKey(read)
