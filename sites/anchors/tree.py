"""The Merkle tree of RFC 6962 §2.1: one hash for any number of leaves. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def leaf_hash(content: bytes) -> bytes:
    """A leaf is hashed behind a zero byte, so that no node can pass for one."""
    return hashlib.sha256(b"\x00" + content).digest()


def root(leaves: Iterable[bytes]) -> str:
    """The root over the hashes of leaves, in their order, in hexadecimal; of nothing, the hash of nothing.

    Pairing neighbours level by level, and letting an odd last one rise, splits at the largest power of two as the RFC does.
    """
    level = list(leaves)
    if not level:
        return hashlib.sha256().hexdigest()
    while len(level) > 1:
        level = [_joined(level[at : at + 2]) for at in range(0, len(level), 2)]
    return level[0].hex()


def _joined(pair: Sequence[bytes]) -> bytes:
    return hashlib.sha256(b"\x01" + pair[0] + pair[1]).digest() if len(pair) == 2 else pair[0]
