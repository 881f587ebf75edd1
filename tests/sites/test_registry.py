"""Sites, people and assignments come from files people keep in Excel or in a text editor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from protocols.errors import InvalidImport
from sites import registry, releases
from sites.clock import SystemClock
from sites.database import Database
from sites.sheets import decoded

WHOLE = """\
sites:
  - {code: CAEN, name: CHU Caen Normandie, kind: public_hospital, territory: FR, timezone: Europe/Paris}
  - {code: RUN, name: CHU de La Réunion, kind: public_hospital, territory: FR-974, timezone: Indian/Reunion}
people:
  - {id: a.martin, name: Alice Martin, email: a.martin@example.org, locale: fr, channels: []}
  - {id: b.petit, name: Béa Petit, email: b.petit@example.org, channels: ["tgram://123:secret/456"]}
assignments:
  - {person: a.martin, role: site_coordinator, site: CAEN, from: 2026-01-01, until: 2026-12-31}
  - {person: b.petit, role: project_manager}
"""
NOTHING = {"added": 0, "changed": 0, "unchanged": 0}


@pytest.fixture
def sqlite(new_database: Callable[[str], Database]) -> Database:
    return new_database("sqlite")


def test_a_whole_file_is_written_once_and_changes_nothing_the_second_time(database: Database) -> None:
    first = registry.import_file(database, WHOLE, "house.yaml")
    again = registry.import_file(database, WHOLE, "house.yaml")
    assert [first[kind]["added"] for kind in ("sites", "people", "assignments")] == [2, 2, 2]
    assert [again[kind] for kind in ("sites", "people", "assignments")] == [{"added": 0, "changed": 0, "unchanged": 2}] * 3
    assert registry.sites(database)[1] == {
        "code": "RUN",
        "name": "CHU de La Réunion",
        "kind": "public_hospital",
        "territory": "FR-974",
        "timezone": "Indian/Reunion",
    }
    assert registry.assignments(database)[0] == {
        "person": "a.martin",
        "role": "site_coordinator",
        "site": "CAEN",
        "experiment": None,
        "from": "2026-01-01",
        "until": "2026-12-31",
    }


def test_a_channel_is_listed_without_its_secret(sqlite: Database) -> None:
    registry.import_file(sqlite, WHOLE, "house.yaml")
    assert [person["channels"] for person in registry.people(sqlite)] == [[], ["tgram://…"]]


def test_a_changed_row_is_changed_and_what_the_file_leaves_out_stays(database: Database) -> None:
    registry.import_file(database, WHOLE, "house.yaml")
    renamed = "people:\n  - {id: a.martin, name: Alice Durand, email: a.martin@example.org, locale: en}\n"
    assert registry.import_file(database, renamed, "people.yaml")["people"] == {"added": 0, "changed": 1, "unchanged": 0}
    assert [(person["name"], person["locale"]) for person in registry.people(database)] == [("Alice Durand", "en"), ("Béa Petit", "fr")]


def test_an_import_takes_only_its_part(sqlite: Database) -> None:
    counts = registry.import_file(sqlite, WHOLE, "house.yaml", {"sites"})
    assert counts == {"sites": {"added": 2, "changed": 0, "unchanged": 0}, "warnings": []}
    assert registry.people(sqlite) == []


CSV = {
    "semicolons, as a French Excel writes them": "code;name;kind;territory;timezone\nCAEN;CHU Caen;public_hospital;FR;Europe/Paris\n",
    "commas": 'code,name,kind,territory,timezone\nCAEN,"CHU Caen",public_hospital,FR,Europe/Paris\n',
    "a byte order mark": "\ufeffcode;name;kind;territory;timezone\r\nCAEN;CHU Caen;public_hospital;FR;Europe/Paris\r\n",
    "Excel's separator line, and empty rows": (
        "sep=;\ncode;name;kind;territory;timezone\n;;;;\nCAEN;CHU Caen;public_hospital;FR;Europe/Paris\n\n"
    ),
    "columns in another order, headed in capitals": (
        "Timezone;Code;Name;Kind;Territory\nEurope/Paris; CAEN ;CHU Caen;public_hospital;FR;\n"
    ),
}


@pytest.mark.parametrize("text", CSV.values(), ids=CSV.keys())
def test_a_sheet_of_sites_is_read_whoever_wrote_it(sqlite: Database, text: str) -> None:
    assert registry.import_file(sqlite, text, "sites.CSV")["sites"]["added"] == 1
    assert registry.sites(sqlite)[0]["name"] == "CHU Caen"


def test_people_and_their_roles_have_a_sheet_each(sqlite: Database) -> None:
    people = "id;name;email;locale;channels\na.martin;Alice Martin;a.martin@example.org;;tgram://1:2/3 ntfy://topic\n"
    roles = "person;role;site;experiment;from;until\na.martin;project_manager;;;2026-01-01;\n"
    registry.import_file(sqlite, people, "people.csv")
    assert registry.import_file(sqlite, roles, "roles.csv") == {
        "sites": NOTHING,
        "people": NOTHING,
        "assignments": {"added": 1, "changed": 0, "unchanged": 0},
        "warnings": [],
    }
    assert registry.people(sqlite)[0]["channels"] == ["tgram://…", "ntfy://…"]


def test_a_name_that_looks_like_a_formula_is_kept_as_it_is(sqlite: Database) -> None:
    registry.import_file(sqlite, "id,name,email\nx,=1+1,x@example.org\n", "people.csv")
    assert registry.people(sqlite)[0]["name"] == "=1+1"


SITE = "{{code: {code}, name: {name}, kind: {kind}, territory: {territory}, timezone: {timezone}}}"
GOOD = {"code": "CAEN", "name": "CHU", "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"}


def site(**changes: str) -> str:
    return "sites:\n  - " + SITE.format(**(GOOD | changes)) + "\n"


def person(row: str) -> str:
    return f"people:\n  - {{{row}}}\n"


BAD = [
    (site(territory="FRR"), 2, "unknown_territory", "sites.0.territory", "FRR"),
    (site(timezone="Europe/Pari"), 2, "unknown_timezone", "sites.0.timezone", "Europe/Paris"),
    (site(code="CA:EN"), 2, "bad_value", "sites.0.code", "such as CAEN"),
    (site(code="20"), 2, "not_text", "sites.0.code", "quotes"),
    (site(code="010780062"), 2, "not_text", "sites.0.code", 'write "010780062" with quotes'),
    (site(code="0x1F"), 2, "not_text", "sites.0.code", 'write "0x1F" with quotes'),
    (site(name="1e5"), 2, "not_text", "sites.0.name", 'write "1e5" with quotes'),
    (site(kind="Clinique privée"), 2, "bad_value", "sites.0.kind", "public_hospital"),
    (site(name='""'), 2, "missing_value", "sites.0.name", "missing"),
    (site(name='"CHU\\nBcc: x"'), 2, "bad_value", "sites.0.name", "one line"),
    (site() + "  - " + SITE.format(**GOOD) + "\n", 3, "duplicate", "sites.1", "first on line 2"),
    (site() + "sties: []\n", 3, "unknown_key", "sties", "Did you mean `sites`"),
    (
        "sites:\n  - {code: CAEN, nmae: x, kind: clinic, territory: FR, timezone: Europe/Paris}\n",
        2,
        "unknown_key",
        "sites.0.nmae",
        "`name`",
    ),
    ("sites: CAEN\n", 1, "not_a_list", "sites", "- "),
    ("sites: [CAEN]\n", 1, "not_a_map", "sites.0", "{code, name"),
    ("", 1, "empty", "", "sites, people, assignments"),
    (person("id: a, name: A, email: a.example.org"), 2, "bad_value", "people.0.email", "a.martin@example.org"),
    (person("id: a, name: A, email: 'a@example.org, b@example.org'"), 2, "bad_value", "people.0.email", "e-mail"),
    (person("id: a, name: A, email: a@example.org, locale: de"), 2, "bad_value", "people.0.locale", "fr or en"),
    (person("id: a, name: A, email: a@example.org, channels: [hunter2]"), 2, "bad_channel", "people.0.channels", "Channel 1"),
    (person("id: a, name: A, email: a@example.org, channels: 5"), 2, "not_text", "people.0.channels", "list of texts"),
    ("assignments:\n  - {person: nobody, role: sponsor}\n", 2, "unknown_person", "assignments.0.person", "'nobody'"),
    (WHOLE + "  - {person: b.petti, role: sponsor}\n", 10, "unknown_person", "assignments.2.person", "`b.petit`"),
    (WHOLE + "  - {person: b.petit, role: sponsor, site: CAN}\n", 10, "unknown_site", "assignments.2.site", "`CAEN`"),
    (WHOLE + "  - {person: b.petit, role: sponsor, experiment: X-1}\n", 10, "unknown_experiment", "assignments.2.experiment", "X-1"),
    (WHOLE + "  - {person: b.petit, role: sponsor, from: 01/02/2026}\n", 10, "bad_value", "assignments.2.from", "2026-03-31"),
    (
        WHOLE + "  - {person: b.petit, role: sponsor, from: 2026-02-01, until: 2026-01-01}\n",
        10,
        "ends_before_it_begins",
        "assignments.2.until",
        "before it begins",
    ),
]


@pytest.mark.parametrize(("text", "line", "code", "path", "said"), BAD)
def test_a_bad_row_is_named_by_its_line_and_nothing_is_written(
    sqlite: Database, text: str, line: int, code: str, path: str, said: str
) -> None:
    with pytest.raises(InvalidImport) as caught:
        registry.import_file(sqlite, text, "house.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.code, problem.path) == (line, code, path)
    assert said in problem.message
    assert "hunter2" not in str(caught.value)
    assert registry.sites(sqlite) == registry.people(sqlite) == []


BAD_CSV = [
    ("nom;ville\nx;y\n", 1, "unknown_columns"),
    ("code;name;kind;territory\nCAEN;x;clinic;FR\n", 1, "missing_key"),
    ("code;name;kind;territory;timezone;phone\n", 1, "unknown_key"),
    ("id,name,email\na,Martin, Alice,a@example.org\n", 2, "too_many_cells"),
    ('id,name,email\na,"Martin,a@example.org\n', 2, "not_csv"),
    ("\n\n", 1, "empty"),
    ("id,name,email\na,A,a@example.org\n\na,B,b@example.org\n", 4, "duplicate"),
]


@pytest.mark.parametrize(("text", "line", "code"), BAD_CSV)
def test_a_bad_sheet_is_named_by_its_line(sqlite: Database, text: str, line: int, code: str) -> None:
    with pytest.raises(InvalidImport) as caught:
        registry.import_file(sqlite, text, "sheet.csv")
    assert [(problem.line, problem.code) for problem in caught.value.problems] == [(line, code)]


def test_every_problem_is_told_at_once_in_the_order_of_the_lines(sqlite: Database) -> None:
    text = "id,name,email,locale\na,A,nowhere,de\nb,,b@example.org,fr\n"
    with pytest.raises(InvalidImport) as caught:
        registry.import_file(sqlite, text, "people.csv")
    assert [(problem.line, problem.path.partition(".")[2]) for problem in caught.value.problems] == [
        (2, "2.email"),
        (2, "2.locale"),
        (3, "3.name"),
    ]


def test_a_role_no_protocol_has_is_only_a_warning(sqlite: Database) -> None:
    releases.add_library(sqlite, SystemClock())
    text = WHOLE.replace("project_manager", "projet_manager").replace("site_coordinator", "methodologist")
    warnings = registry.import_file(sqlite, text, "house.yaml")["warnings"]
    assert len(warnings) == 2
    assert "house.yaml:8: warning: 'methodologist' is a role of the whole experiment" in warnings[0]
    assert "Did you mean `project_manager`?" in warnings[1]


def test_a_person_is_assigned_once_and_their_dates_may_change(database: Database) -> None:
    registry.import_file(database, WHOLE, "house.yaml")
    first = registry.assign(database, "b.petit", "site_coordinator", "CAEN")
    again = registry.assign(database, "b.petit", "site_coordinator", "CAEN")
    dated = registry.assign(database, "b.petit", "site_coordinator", "CAEN", None, date(2026, 1, 1))
    assert [one["result"] for one in (first, again, dated)] == ["added", "unchanged", "changed"]
    with pytest.raises(InvalidImport, match=r"no site 'CEAN'.*`CAEN`"):
        registry.assign(database, "b.petit", "site_coordinator", "CEAN")
    with pytest.raises(InvalidImport, match=r"no person 'b.petti'"):
        registry.assign(database, "b.petti", "site_coordinator")


@pytest.mark.parametrize("encoding", ["cp850", "mac_roman"])
@pytest.mark.parametrize("name", ["Hôpital de Zoé", "Clinique Sainte-Hélène", "Maison médicale à Évreux", "Centre hospitalisé"])
def test_the_accents_of_another_code_page_are_not_guessed_at(encoding: str, name: str) -> None:
    with pytest.raises(InvalidImport, match=r"people\.csv:2: .*UTF-8"):
        decoded(f"id;name;email\nx;{name};z@example.org\n".encode(encoding), "people.csv")


@pytest.mark.parametrize("name", ["L’Hôpital « Sœur Marguerite »", "Œuvre – Škoda, Žofie", "CHU (20 €…)", "“Les Tilleuls”"])
def test_a_french_excel_may_write_what_it_likes(name: str) -> None:
    assert name in decoded(f"id;name;email\nx;{name};z@example.org\n".encode("cp1252"), "people.csv")


def test_the_nameless_columns_that_a_spreadsheet_adds_are_left_out(sqlite: Database) -> None:
    found = registry.import_file(sqlite, "id;name;email;;\nx;Zoé;z@example.org;;\n", "people.csv")
    assert found["people"]["added"] == 1


@pytest.mark.parametrize(
    ("email", "said"),
    [("a\u200b@example.org", "U+200B ZERO WIDTH SPACE"), ("é@example.org", "an e-mail address"), ("a@b@c.org", "an e-mail")],
)
def test_an_address_that_no_mail_reaches_is_not_imported(sqlite: Database, email: str, said: str) -> None:
    with pytest.raises(InvalidImport) as refused:
        registry.import_file(sqlite, f"id;name;email\nx;Zoé;{email}\n", "people.csv")
    assert said in str(refused.value)
    assert registry.people(sqlite) == []


@pytest.mark.parametrize("name", ["\u200b\u2060", "\u00ad \u2066"])
def test_a_name_of_characters_that_cannot_be_seen_is_none(sqlite: Database, name: str) -> None:
    with pytest.raises(InvalidImport, match="`name` holds characters that cannot be seen"):
        registry.import_file(sqlite, f"id;name;email\nx;{name};z@example.org\n", "people.csv")


def test_bytes_are_read_as_the_programs_of_a_hospital_save_them() -> None:
    text = "id;name;email\nx;Zoé;z@example.org\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert decoded(text.encode(encoding), "people.csv") == text
    with pytest.raises(InvalidImport, match=r"house\.yaml:2: .*UTF-8"):
        decoded("people:\n  - {name: Zoé}\n".encode("cp1252"), "house.yaml")
