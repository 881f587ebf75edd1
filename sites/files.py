"""Files that answers refer to: what a field accepts by size and by content, a name that is safe anywhere, kept exactly as they came."""

from __future__ import annotations

import io
import unicodedata
import zipfile
from typing import TYPE_CHECKING, Any

from protocols.errors import InvalidInput, UnknownThing
from protocols.forms import kind_of
from protocols.model import FieldType, FormField
from protocols.phrase import Phrase
from protocols.plan import Plan

if TYPE_CHECKING:
    from sites.ledger import Ledger

LARGEST_MB = 20.0  # where the protocol sets no limit
LONGEST_NAME = 120

# What is accepted where the protocol names no kind, with the media type each is kept and sent under.
MEDIA_TYPES: dict[str, str] = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "md": "text/markdown",
    "json": "application/json",
    "xml": "application/xml",
}
_TEXTS = frozenset({"csv", "tsv", "txt", "md", "json", "xml"})
_PACKED = {"docx": "word/document.xml", "xlsx": "xl/workbook.xml", "pptx": "ppt/presentation.xml"}
_OPEN_DOCUMENTS = frozenset({"odt", "ods", "odp"})
_SAME = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tiff": "tif"}
# How a text begins that some program would run or show as something else.
_ACTIVE = (b"<!doctype html", b"<html", b"<script", b"<svg", b"<?php", b"#!", b"{\\rtf", b"%pdf", b"%!ps", b"mz")
_RESERVED = dict.fromkeys(map(ord, '<>:"|?*'), "_")


def store(ledger: Ledger, field: FormField, filename: str, content: bytes, media_type: str = "", *, by: str) -> dict[str, Any]:
    """Keep a file that a person hands in for a field: its reference `{"hash", "name", "size"}`, with the SHA-256 of the content and a
    safe name.

    What it is is read from its content, never from what the sender calls it (`media_type`). Raises as `check`.
    """
    name = safe_name(filename)
    check(field, name, content)
    key = ledger.store_file(name, media_type_of(name), content, by)
    return {"hash": key, "name": name, "size": len(content)}


def check(field: FormField, name: str, content: bytes) -> None:
    """Raise InvalidInput, which says what the field accepts, for a file that is empty, too large, of another kind, or not what its name
    says."""
    kind = kind_of(name)
    _check_size(field, name, len(content))
    _check_kind(field, name, kind)
    if not is_what_it_says(kind, content):
        raise InvalidInput(
            Phrase(
                "The content of “{name}” is not that of a {kind} file. Open it, save it as {kind} and send it again.", name=name, kind=kind
            )
        )


def file_field(plan: Plan, step: str, path: str) -> FormField:
    """A file field of a checkpoint's form by its path, `letter` or `table.column`. Raises UnknownThing."""
    asked = plan.steps[step].step.checkpoint if step in plan.steps else None
    fields, found = (asked.form if asked else ()), None
    for name in path.split("."):
        found = next((one for one in fields if one.id == name), None)
        fields = found.columns if found else ()
    if found is None or found.type is not FieldType.FILE:
        raise UnknownThing(Phrase("Checkpoint {checkpoint} has no file field {field!r}.", checkpoint=step, field=path))
    return found


def media_type_of(name: str) -> str:
    """Under which media type a file of this name is sent."""
    return MEDIA_TYPES.get(kind_of(name), "application/octet-stream")


def _check_size(field: FormField, name: str, size: int) -> None:
    most = field.max_mb or LARGEST_MB
    if size == 0:
        raise InvalidInput(Phrase("The file “{name}” is empty. Choose it again.", name=name))
    if size > most * 1024 * 1024:
        raise InvalidInput(Phrase("The file “{name}” is larger than {most} MB. Send a smaller one.", name=name, most=_plain(most)))


def _check_kind(field: FormField, name: str, kind: str) -> None:
    accepted = accepted_kinds(field)
    if kind not in accepted:
        raise InvalidInput(
            Phrase("“{name}” cannot be taken here: a file of type {kinds} is expected.", name=name, kinds=", ".join(sorted(accepted)))
        )


def accepted_kinds(field: FormField) -> frozenset[str]:
    """The endings of file names that a field accepts, in small letters."""
    return frozenset(field.kinds) or frozenset(MEDIA_TYPES)


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else number


# ------------------------------------------------------------------ names


def safe_name(filename: str) -> str:
    """A file's name without folders, without what could hide its ending or upset a system; `file` when nothing is left of it.

    Changes of direction are taken out: with one, `exe.pdf` may be shown for a name that ends in `fdp.exe`.
    """
    last = filename.replace("\\", "/").rpartition("/")[2]
    kept = "".join(char for char in unicodedata.normalize("NFC", last) if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    name = kept.translate(_RESERVED).strip(" .")
    stem, dot, ending = name.rpartition(".")
    if not dot:
        return name[:LONGEST_NAME] or "file"
    ending = ending[:20]
    return f"{stem[: LONGEST_NAME - len(ending) - 1].rstrip(' .') or 'file'}.{ending}"


# ------------------------------------------------------------------ content


def is_what_it_says(kind: str, content: bytes) -> bool:
    """Whether a content is of the kind that its name's ending says, read from the content itself."""
    if kind in _TEXTS:
        return _is_text(content)
    if kind in _PACKED or kind in _OPEN_DOCUMENTS:
        return _is_packed(kind, content)
    return _SAME.get(kind, kind) in _guessed(content)


def _guessed(content: bytes) -> set[str]:
    import puremagic  # 0.1 s that only a file need wait for

    try:
        found = puremagic.magic_string(content)
    except (puremagic.PureError, ValueError):
        return set()
    kinds = {guess.extension.lstrip(".").lower() for guess in found}
    return {_SAME.get(kind, kind) for kind in kinds}


def _is_text(content: bytes) -> bool:
    """Text without control characters, in UTF-8 or as older spreadsheets write it, that no program would run."""
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in content.translate(None, bytes(range(32, 256)))):
        return False
    return not content.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_ACTIVE)


def _is_packed(kind: str, content: bytes) -> bool:
    """An office document is a ZIP archive that holds its own main part, and no macros."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            if any(name.lower().endswith("vbaproject.bin") for name in names):
                return False
            if kind in _PACKED:
                return {"[Content_Types].xml", _PACKED[kind]} <= names
            return content[:4] == b"PK\x03\x04" and MEDIA_TYPES[kind].encode() in content[:200]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return False
