"""The folder of the anchors: one file of lines that only grows, and for each line a file of heads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from protocols.errors import InsituError, Refused
from protocols.phrase import Phrase
from sites.anchors.heads import Head
from sites.anchors.line import Line, read

LINES, LEAVES, LOCK = "anchors.jsonl", "leaves", "lock"
_DRAFT = ".draft"


class DamagedLeaves(InsituError):
    """The heads of a line are not there, or are not what the line signs."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where anchors are kept. Nothing in it is ever written over."""

    path: Path

    @property
    def file(self) -> Path:
        return self.path / LINES

    def lines(self) -> Iterator[Line | None]:
        """Every line, oldest first; None for a text that is no line. Raises InsituError when the file cannot be read."""
        return (read(text.removesuffix(b"\n")) for text in self._texts() if text.strip())

    def last(self) -> Line | None:
        """The last line that can be read; None without one."""
        found = None
        for line in self.lines():
            found = line or found
        return found

    def leaves(self, line: Line) -> list[Head]:
        """The heads of a line. Raises DamagedLeaves."""
        file = self.leaves_file(line.number)
        file = file if file.exists() else file.with_suffix(_DRAFT)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DamagedLeaves(Phrase("the heads in {file} cannot be read: {error}", file=file, error=error.strerror or error)) from None
        if hashlib.sha256(content).hexdigest() != line.leaves:
            raise DamagedLeaves(Phrase("the heads in {file} are not those that were signed", file=file))
        found = [_head(text) for text in content.splitlines()]
        if None in found:
            raise DamagedLeaves(Phrase("the lines in {file} are not heads", file=file))
        return [head for head in found if head]

    def leaves_file(self, number: int) -> Path:
        return self.path / LEAVES / f"{number:06}.jsonl"

    def numbers_of_leaves(self) -> list[int]:
        """The numbers of the lines whose heads are here."""
        return sorted(int(file.stem) for file in (self.path / LEAVES).glob("*.jsonl") if file.stem.isdecimal())

    def _texts(self) -> Iterator[bytes]:
        try:
            with self.file.open("rb") as reading:
                yield from reading
        except FileNotFoundError:
            return
        except OSError as error:
            raise InsituError(f"The anchors in {self.file} cannot be read: {error.strerror or error}.") from error

    # ------------------------------------------------------------------ writing

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder: one process writes at a time. Raises Refused while another does, InsituError when it cannot be written."""
        import fcntl

        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.path / LEAVES).mkdir(exist_ok=True, mode=0o700)
            held = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InsituError(f"The anchors cannot be written to {self.path}: {error.strerror or error}.") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(Phrase("Another process is writing an anchor to {folder} now.", folder=self.path)) from None
        else:
            yield
        finally:
            os.close(held)

    def put(self, number: int, found: list[Head]) -> str:
        """Write the heads of a line to come, as a draft; their SHA-256. What an interrupted try left is replaced. Raises InsituError."""
        content = b"".join(orjson.dumps(list(head)) + b"\n" for head in sorted(found))
        draft = self.leaves_file(number).with_suffix(_DRAFT)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writing:
                writing.write(content)
                writing.flush()
                os.fsync(writing.fileno())
        except OSError as error:
            raise InsituError(f"The anchors cannot be written to {self.path}: {error.strerror or error}.") from error
        return hashlib.sha256(content).hexdigest()

    def settle(self, number: int) -> None:
        """Give the heads of a line that is written their name: heads of that name without a line are the trace of one that was cut."""
        file = self.leaves_file(number)
        os.replace(file.with_suffix(_DRAFT), file)

    def append(self, line: Line) -> None:
        """Add a line, on the disk once this returns. A text that an interrupted try left without an end gets one. Raises InsituError."""
        try:
            kept = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(kept).st_size
                is_torn = size > 0 and os.pread(kept, 1, size - 1) != b"\n"
                os.write(kept, (b"\n" if is_torn else b"") + line.text + b"\n")
                os.fsync(kept)
            finally:
                os.close(kept)
        except OSError as error:
            raise InsituError(f"The anchors cannot be written to {self.file}: {error.strerror or error}.") from error


def _head(text: bytes) -> Head | None:
    """The head in a line of leaves; None for what is none: a line that nobody signed may name any file."""
    try:
        name, seq, kept = orjson.loads(text)
    except (TypeError, ValueError):
        return None
    return Head(name, seq, kept) if (type(name), type(seq), type(kept)) == (str, int, str) else None
