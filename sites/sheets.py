"""Files of sites, people and assignments: a YAML or CSV text becomes rows that know their lines, and every problem of their shape."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from protocols.clocks import known_place
from protocols.documents import Document, read_document
from protocols.errors import InvalidImport, InvalidInput, InvalidProtocol, Problem, did_you_mean, nearest
from protocols.forms import says_nothing
from protocols.model import LOCALES
from protocols.phrase import Phrase
from sites.mail_addresses import is_mail_address, unseen

KINDS = ("sites", "people", "assignments")
SEPARATORS = ";,\t"
BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))

# What the accented letters of other code pages (CP850 of a French DOS, Mac Roman) become when they are read as Windows-1252: signs that
# never stand behind a letter, marks within a word, a capital in the midst of small letters.
_NOT_CP1252 = re.compile(r"\w[‚ƒ„†‡ˆ‰‹˜]|[^\W\d_][“”•–—™›…€][^\W\d_]|[a-z][ŠŽŒŸ]|\b[‚ƒˆ‡](?=\w)")

# A site's code is part of a checkpoint's name, between colons, and of addresses of pages.
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_SLUG = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_CHANNEL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `expected` says what it takes when `fits` refuses; `required` columns may not be empty."""

    fits: Callable[[str], object]
    expected: str
    required: bool = True
    default: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One site, person or assignment as the file says it; every value a text ("" for none) but `channels`.

    These are a list, or None where the file has no word of them: they stay as they are.
    """

    kind: str
    values: Mapping[str, Any]
    line: int
    path: str


@dataclass(slots=True)
class Sheet:
    """The rows of a file by kind, and what is wrong with it."""

    file: str
    rows: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    problems: list[Problem] = field(default_factory=list)

    def blame(self, line: int, code: str, message: str, path: str = "", *, warn: bool = False) -> None:
        self.problems.append(Problem(line, code, message, path, self.file, "warning" if warn else "error"))


def _one_line(text: str) -> bool:
    """A name ends up in the header of a mail: a line break there would forge another one."""
    return len(text) <= 200 and not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)


def _iso_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text)) and len(text) == 10
    except ValueError:
        return False


def _name(text: str) -> bool:
    return _one_line(text) and not says_nothing(text)


_NAME = Column(_name, Phrase("one line of at most 200 characters"))
_DATE = Column(_iso_date, Phrase("a date such as 2026-03-31"), required=False)
_SITE_CODE = Column(_CODE.fullmatch, Phrase("a code of letters, digits, `-`, `_` and `.`, 32 at most, such as CAEN"))
_PERSON_ID = Column(_PERSON.fullmatch, Phrase("an id of letters, digits, `.`, `-`, `_` and `@`, 64 at most, such as a.martin"))

COLUMNS: dict[str, dict[str, Column]] = {
    "sites": {
        "code": _SITE_CODE,
        "name": _NAME,
        "kind": Column(_SLUG.fullmatch, Phrase("a word in lower case such as public_hospital, clinic, nursing_home or town_practice")),
        "territory": Column(bool, Phrase("the territory it stands in, such as FR or FR-974")),
        "timezone": Column(bool, Phrase("its time zone, such as Europe/Paris")),
    },
    "people": {
        "id": _PERSON_ID,
        "name": _NAME,
        "email": Column(is_mail_address, Phrase("an e-mail address such as a.martin@example.org")),
        "locale": Column(LOCALES.__contains__, Phrase("fr or en"), required=False, default="fr"),
        "channels": Column(_CHANNEL.fullmatch, Phrase("an Apprise address such as tgram://…"), required=False),
    },
    "assignments": {
        "person": _PERSON_ID,
        "role": Column(_SLUG.fullmatch, Phrase("a role of a protocol, such as site_coordinator")),
        "site": Column(_SITE_CODE.fits, _SITE_CODE.expected, required=False),
        "experiment": Column(_one_line, Phrase("the code of an experiment"), required=False),
        "from": _DATE,
        "until": _DATE,
    },
}
KEYS = {"sites": ("code",), "people": ("id",), "assignments": ("person", "role", "site", "experiment")}


def decoded(content: bytes, file: str = "") -> str:
    """The text of a file: UTF-8 or UTF-16 as its mark says, else UTF-8, else, for CSV only, Windows-1252 as Excel saves it.

    Raises InvalidImport for anything else.
    """
    marked = [name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)]
    line = 0
    for encoding in marked or (["utf-8", "cp1252"] if _is_csv(file) else ["utf-8"]):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            continue
        if encoding != "cp1252" or not (odd := _NOT_CP1252.search(text)):
            return text
        line = text[: odd.start()].count("\n") + 1
    message = Phrase("This is not UTF-8 text. Save the file as UTF-8 (in Excel: CSV UTF-8) and import it again.")
    raise InvalidImport([Problem(line, "not_utf8", message, "", file)])


def read(text: str, file: str = "") -> Sheet:
    """The rows of a text: CSV when `file` ends in .csv, .tsv or .txt, else YAML. Raises InvalidImport when it is neither."""
    sheet = Sheet(file)
    for row in _csv_rows(text, sheet) if _is_csv(file) else _yaml_rows(text, sheet):
        _check(row, sheet)
    return sheet


def row_of(kind: str, values: Mapping[str, Any]) -> Sheet:
    """A sheet of one row that came from no file, checked."""
    sheet = Sheet("")
    _check(Row(kind, {name: values.get(name, column.default) for name, column in COLUMNS[kind].items()}, 0, ""), sheet)
    return sheet


# ------------------------------------------------------------------ one row


def _check(row: Row, sheet: Sheet) -> None:
    """Keep the row; note what is wrong with each of its values."""
    sheet.rows[row.kind].append(row)
    for name, column in COLUMNS[row.kind].items():
        value, path = row.values[name], f"{row.path}.{name}".lstrip(".")
        if isinstance(value, list):
            for place, address in enumerate(value, 1):
                if not column.fits(address):  # an address can hold a password: it is not repeated
                    sheet.blame(
                        row.line, "bad_channel", Phrase("Channel {place} is not {expected}.", place=place, expected=column.expected), path
                    )
        elif not value and column.required:
            said = Phrase("`{name}` is missing: {expected}.", name=name, expected=column.expected)
            sheet.blame(row.line, "missing_value", said, path)
        elif value and not column.fits(value):
            words = {"name": name, "expected": column.expected, "value": value, "hint": _hint(column, value)}
            if hidden := unseen(value):
                said = Phrase("`{name}` holds characters that cannot be seen ({hidden}): type it anew.", **words, hidden=", ".join(hidden))
                sheet.blame(row.line, "unseen_character", said, path)
                continue
            sheet.blame(row.line, "bad_value", Phrase("`{name}` should be {expected}, not {value!r}.{hint}", **words), path)
    if row.kind == "sites":
        _check_place(row, sheet)
    if row.kind == "assignments" and "" < row.values["until"] < row.values["from"]:
        said = Phrase("It ends on {until}, before it begins.", until=row.values["until"])
        sheet.blame(row.line, "ends_before_it_begins", said, f"{row.path}.until".lstrip("."))


def _hint(column: Column, value: str) -> str:
    return did_you_mean(value, LOCALES) if column.expected == "fr or en" else ""


def _check_place(row: Row, sheet: Sheet) -> None:
    for name, territory, timezone in (("territory", row.values["territory"], "UTC"), ("timezone", "FR", row.values["timezone"])):
        if not row.values[name]:
            continue
        try:
            known_place(territory, timezone)
        except InvalidInput as error:
            sheet.blame(row.line, f"unknown_{name}", error.args[0], f"{row.path}.{name}".lstrip("."))


# ------------------------------------------------------------------ YAML


def _yaml_rows(text: str, sheet: Sheet) -> Iterator[Row]:
    try:
        document = read_document(text.removeprefix("\ufeff"), sheet.file)
    except InvalidProtocol as error:
        expected = Phrase("The file should be a map with the keys {keys}.", keys=", ".join(KINDS))
        shape = ("empty", "not_a_map")
        found = [Problem(one.line, one.code, expected if one.code in shape else one.message, one.path, one.file) for one in error.problems]
        raise InvalidImport(found) from None
    for kind, rows in document.value.items():
        if kind not in KINDS:
            said = Phrase("`{kind}` is not known here.{hint}", kind=kind, hint=did_you_mean(kind, KINDS))
            sheet.blame(document.line_of((kind,)), "unknown_key", said, kind)
        elif isinstance(rows, list):
            yield from _yaml_list(kind, rows, document, sheet)
        elif rows is not None:
            said = Phrase("`{kind}` should be a list, each item on a line with `- `.", kind=kind)
            sheet.blame(document.line_of((kind,)), "not_a_list", said, kind)


def _yaml_list(kind: str, rows: list[Any], document: Document, sheet: Sheet) -> Iterator[Row]:
    columns = COLUMNS[kind]
    for place, given in enumerate(rows):
        path = f"{kind}.{place}"
        line = document.line_of((kind, place))
        if not isinstance(given, dict):
            said = Phrase("An item of `{kind}` is written {{{names}}}.", kind=kind, names=", ".join(columns))
            sheet.blame(line, "not_a_map", said, path)
            continue
        for name in sorted(given.keys() - columns.keys()):
            at = document.line_of((kind, place, name))
            said = Phrase("`{name}` is not a key of {kind}.{hint}", name=name, kind=kind, hint=did_you_mean(name, columns))
            sheet.blame(at, "unknown_key", said, f"{path}.{name}")
            if meant := nearest(name, columns):  # so that it is not called missing as well
                given = {meant: given[name]} | given
        said_so = document.at((kind, place))
        values = {
            name: _yaml_value(name, given, document.written((kind, place, name)) if name in said_so else "", line, path, sheet)
            for name in columns
        }
        yield Row(kind, values, line, path)


def _yaml_value(name: str, given: Mapping[str, Any], text: str, line: int, path: str, sheet: Sheet) -> Any:
    """The value of a column; `text` is what stands in the file, "" where that is under another name."""
    value = given.get(name)
    if name == "channels":
        if name not in given:
            return None
        value = [value] if isinstance(value, str) else value or []
        fine = isinstance(value, list) and all(isinstance(one, str) for one in value)
    else:
        value = _default(path, name) if value is None else value
        fine = isinstance(value, str)
    if not fine:
        text = text or str(value)
        written = Phrase('`{name}` should be text: write "{value}" with quotes.', name=name, value=text)
        said = Phrase("`{name}` should be a list of texts.", name=name) if name == "channels" else written
        sheet.blame(line, "not_text", said, f"{path}.{name}")
        return [] if name == "channels" else text
    return value


def _default(path: str, name: str) -> str:
    return COLUMNS[path.partition(".")[0]][name].default


# ------------------------------------------------------------------ CSV


def _is_csv(file: str) -> bool:
    return file.lower().endswith((".csv", ".tsv", ".txt"))


def _csv_rows(text: str, sheet: Sheet) -> Iterator[Row]:
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    skipped = 1 if lines and lines[0].lower().startswith("sep=") else 0  # Excel's own note of the separator
    head = lines[skipped] if len(lines) > skipped else ""
    reader = csv.reader(lines[skipped:], delimiter=max(SEPARATORS, key=head.count), strict=True)
    names: list[str] = []
    try:
        for cells in reader:
            line = reader.line_num + skipped
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = _without_empty_end([cell.strip().lower() for cell in cells])
                kind = _kind_of(names, line, sheet)
            elif kind:
                yield from _csv_row(kind, names, cells, line, sheet)
    except csv.Error as error:
        said = Phrase("This is not a row of CSV: {why}. Is a quote left open?", why=str(error))
        sheet.blame(reader.line_num + skipped, "not_csv", said)
    if not names:
        sheet.blame(1, "empty", Phrase("The file is empty; its first line should name the columns."))


def _without_empty_end(names: list[str]) -> list[str]:
    """The names without the nameless columns that a spreadsheet adds behind the last."""
    while names and not names[-1]:
        names = names[:-1]
    return names


def _kind_of(names: list[str], line: int, sheet: Sheet) -> str:
    """The kind whose columns these are, "" when they are nobody's."""
    kind = max(KINDS, key=lambda kind: len(COLUMNS[kind].keys() & set(names)))
    columns = COLUMNS[kind]
    missing = [name for name, column in columns.items() if column.required and name not in names]
    if missing == [name for name, column in columns.items() if column.required]:
        wanted = "; ".join(f"{kind}: {', '.join(columns)}" for kind, columns in COLUMNS.items())
        sheet.blame(line, "unknown_columns", Phrase("The first line should name the columns of one of {wanted}.", wanted=wanted))
        return ""
    for name in names:
        if name not in columns:
            said = Phrase("`{name}` is not a column of {kind}.{hint}", name=name, kind=kind, hint=did_you_mean(name, columns))
            sheet.blame(line, "unknown_key", said, name)
    for name in {name for name in names if names.count(name) > 1}:
        sheet.blame(line, "duplicate_key", Phrase("The column `{name}` is there twice.", name=name), name)
    for name in missing:
        sheet.blame(line, "missing_key", Phrase("The column `{name}` is missing for {kind}.", name=name, kind=kind), name)
    return kind if not sheet.problems else ""


def _csv_row(kind: str, names: list[str], cells: list[str], line: int, sheet: Sheet) -> Iterator[Row]:
    if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
        said = Phrase(
            "The row has {cells} cells for {columns} columns. Is a separator inside a name unquoted?",
            cells=len(cells),
            columns=len(names),
        )
        sheet.blame(line, "too_many_cells", said)
        return
    given = dict(zip(names, (typed_cell(cell.strip()) for cell in cells), strict=False))
    values: dict[str, Any] = {name: given.get(name) or column.default for name, column in COLUMNS[kind].items()}
    if "channels" in values:
        values["channels"] = values["channels"].split() if "channels" in names else None
    yield Row(kind, values, line, f"{kind}.{line}")


# ------------------------------------------------------------------ the other way round

# A spreadsheet runs what begins so (OWASP, CSV injection). Apostrophes before it are counted in, so that `typed_cell` undoes `safe_cell`.
# Blanks before it, line breaks among them, and the wide forms of an East Asian keyboard do not keep it from running.
_RUNS = r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212\t\r]"
_FORMULA = re.compile(rf"'*{_RUNS}")
_DEFUSED = re.compile(rf"'+{_RUNS}")


def safe_cell(value: Any) -> str:
    """A value as a cell of a CSV file that no spreadsheet takes for a formula: such a text gets an apostrophe before it; "" for None."""
    text = "" if value is None else str(value)
    return f"'{text}" if _FORMULA.match(text) else text


def typed_cell(cell: str) -> str:
    """What `safe_cell` was given: an exported file that is imported again changes nothing."""
    return cell[1:] if _DEFUSED.match(cell) else cell


def as_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the CSV that a French Excel opens with a double click: a byte order mark, semicolons, every cell defused."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow([safe_cell(name) for name in names])
    writer.writerows([safe_cell(value) for value in row] for row in rows)
    return "\ufeff" + out.getvalue()
