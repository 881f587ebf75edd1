"""Files: what a field accepts is read from the content, whatever the file is called."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

import pytest

from protocols.errors import InvalidInput
from protocols.model import FormField
from sites.files import MEDIA_TYPES, is_what_it_says, safe_name, store
from sites.ledger import Ledger

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9"
PROGRAM = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"


def packed(*names: str, first: bytes = b"") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        if first:
            archive.writestr("mimetype", first)
        for name in names:
            archive.writestr(name, "<x/>")
    return content.getvalue()


DOCX = packed("[Content_Types].xml", "word/document.xml")
XLSX = packed("[Content_Types].xml", "xl/workbook.xml")
ODT = packed("content.xml", first=MEDIA_TYPES["odt"].encode())


def field(**parts: Any) -> FormField:
    return FormField.model_validate({"id": "letter", "type": "file"} | parts)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.pdf", PDF),
        ("LETTER.PDF", PDF),
        ("scan.png", PNG),
        ("scan.jpg", JPEG),
        ("scan.jpeg", JPEG),
        ("letter.docx", DOCX),
        ("scores.xlsx", XLSX),
        ("letter.odt", ODT),
        ("scores.csv", b"participant;score\nA-01;72,5\n"),
        ("scores.csv", "prénom;âge\n".encode("cp1252")),
        ("notes.txt", "مرحبا 🏥 =1+1".encode()),
        ("answers.json", b'{"a": 1}'),
    ],
)
def test_a_file_is_kept_exactly_under_the_hash_of_its_content(ledger: Ledger, name: str, content: bytes) -> None:
    kept = store(ledger, field(), name, content, "application/x-whatever", by="nurse")
    assert kept == {"hash": hashlib.sha256(content).hexdigest(), "name": name, "size": len(content)}
    document = ledger.document(kept["hash"])
    assert document["content"] == content
    assert document["media_type"] == MEDIA_TYPES[name.rpartition(".")[2].lower()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.pdf", PROGRAM),
        ("letter.pdf", b"<html><script>alert(1)</script></html>"),
        ("scan.png", PDF),
        ("scan.jpg", PNG),
        ("letter.docx", XLSX),
        ("letter.docx", b"PK\x03\x04 broken"),
        ("letter.docx", packed("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")),
        ("letter.odt", DOCX),
        ("notes.txt", PROGRAM),
        ("notes.txt", b"\xef\xbb\xbf <HTML><body onload=x>"),
        ("notes.txt", b"#!/bin/sh\nrm -rf /\n"),
        ("scores.csv", PDF),
        ("scores.csv", b"a;b\x00c"),
    ],
)
def test_a_disguised_file_is_refused(name: str, content: bytes) -> None:
    assert not is_what_it_says(name.rpartition(".")[2], content)


def test_what_is_refused_is_not_kept_and_says_why(sqlite_ledger: Ledger) -> None:
    refusals = [
        (field(accept=["pdf"]), "letter.pdf", PROGRAM, "is not that of a pdf"),
        (field(accept=["pdf"]), "letter.docx", DOCX, "type pdf is expected"),
        (field(accept=["pdf"]), "letter.pdf.exe", PDF, "type pdf is expected"),
        (field(), "letter.exe", PROGRAM, "is expected"),
        (field(), "letter", PDF, "is expected"),
        (field(max_mb=0.5), "letter.pdf", PDF + b" " * 600_000, "larger than 0.5 MB"),
        (field(), "letter.pdf", b"", "is empty"),
    ]
    for one, name, content, said in refusals:
        with pytest.raises(InvalidInput, match=said):
            store(sqlite_ledger, one, name, content, by="nurse")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("letter.pdf", "letter.pdf"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\x\\scan.png", "scan.png"),
        ("\u202egpj.exe.pdf", "gpj.exe.pdf"),
        ("a\x00b\r\nc.pdf", "abc.pdf"),
        ("..pdf", "pdf"),
        ("  .hidden.pdf. ", "hidden.pdf"),
        ('<b>"x"|y?.pdf', "_b__x__y_.pdf"),
        ("", "file"),
        ("..", "file"),
        ("x" * 10_000 + ".pdf", "x" * 116 + ".pdf"),
        ("تقرير 🏥.pdf", "تقرير 🏥.pdf"),
    ],
)
def test_a_name_is_made_safe_and_keeps_what_it_can(given: str, kept: str) -> None:
    assert safe_name(given) == kept


@pytest.fixture
def sqlite_ledger(sqlite_database: Any, clock: Any) -> Ledger:
    return Ledger(sqlite_database, clock)
