"""Every command that touches the ledger: the shapes it prints, the exit status, the sentence of each error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest
from keyboard import LAUNCH, Terminal
from small import SMALL
from sqlalchemy import insert

from protocols.model import canonical, content_hash
from protocols.parsing import parse
from sites.database import Database, table
from sites.tables import Release

EXAMPLE = str(files("insitu.demo") / "sites.yaml")
REVIEW = {"synopsis_version": "1", "sample_size_justified": True}
ASSESSMENT = {"reference_methodology": "MR-001", "residual_risk": "low"}


# ------------------------------------------------------------------ words


def test_a_word_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """A shell hands bytes over as they are; Python makes half characters of what is not UTF-8."""
    command = [
        sys.executable,
        "-c",
        "from insitu.cli import main; main()",
        "--data",
        str(tmp_path),
        "hold",
        "X-1",
        "--as",
        "b",
        "--reason",
        b"\xe9",
    ]
    for locale, said in (("en", "is not UTF-8 text. Set"), ("fr", "n’est pas du texte UTF-8. Réglez")):
        tongue = {**os.environ, "INSITU_LOCALE": locale, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=tongue)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"b'\\xe9' {said} ")


# ------------------------------------------------------------------ shapes


def test_launch_prints_the_code_alone_so_that_a_script_can_take_it(terminal: Terminal) -> None:
    said = terminal.type("launch", "telerehab-hip", *LAUNCH, "--as", "b.petit")
    assert (said.status, said.out) == (0, "TELEREHAB-HIP-1\n")
    assert "telerehab-hip 1.1.0" in said.err


def test_the_same_command_id_launches_once(terminal: Terminal) -> None:
    first, again = (terminal.json("launch", "telerehab-hip", *LAUNCH, "--as", "b.petit", "--command-id", "x") for _ in range(2))
    assert first == again
    assert {"code", "protocol", "version", "state"} <= first.keys()
    assert len(terminal.json("status")) == 1


def test_status_has_the_shape_scripts_rely_on(terminal: Terminal) -> None:
    board = terminal.json("status", terminal.launch())
    assert {"code", "protocol", "version", "state", "phase", "sites", "gates"} <= board.keys()
    assert [{"code": site["code"], "state": site["state"]} for site in board["sites"]] == [
        {"code": "CAEN", "state": "active"},
        {"code": "METZ", "state": "active"},
    ]
    first, *others = board["gates"]
    assert {"step", "site", "round", "status", "opened_at", "due_at", "waiting_for"} <= first.keys()
    assert (first["step"], first["site"], first["round"], first["status"]) == ("protocol_review", None, 1, "open")
    assert first["due_at"].endswith("Z")
    assert [one["role"] for one in first["waiting_for"]] == ["methodologist"]
    assert {"what", "role", "since"} <= first["waiting_for"][0].keys()
    assert {gate["status"] for gate in others} == {"waiting"}


def test_inbox_lists_what_a_person_may_do_and_nothing_else(terminal: Terminal) -> None:
    code = terminal.launch()
    (item,) = terminal.json("inbox", "--as", "m.leroy")
    assert {"id", "experiment", "step", "site", "round", "due_at", "late", "needs"} <= item.keys()
    assert (item["id"], item["needs"], item["late"]) == (f"{code}:protocol_review::1", "answers", False)
    assert terminal.json("inbox", "--as", "a.martin") == []


def test_a_checkpoint_is_answered_signed_and_its_gate_passes(terminal: Terminal) -> None:
    code = terminal.launch()
    assert terminal.complete(f"{code}:protocol_review::1", "m.leroy", REVIEW)["gate"] == "passed"
    answered = terminal.complete(f"{code}:data_protection::1", "d.nguyen", ASSESSMENT)
    assert (answered["status"], "gate" in answered) == ("open", False)
    assert [one["role"] for one in answered["waiting_for"]] == ["data_protection_officer"]
    changed = terminal.complete(f"{code}:data_protection::1", "d.nguyen", ASSESSMENT | {"residual_risk": "medium"}, "--change")
    assert changed["status"] == "open"
    signed = terminal.json("sign", f"{code}:data_protection::1", "--as", "d.nguyen")
    assert (signed["status"], signed["gate"]) == ("passed", "passed")
    shown = terminal.json("checkpoint", "show", f"{code}:data_protection::1")
    assert shown["answers"]["residual_risk"] == "medium"
    assert shown["signatures"][0]["by"] == "d.nguyen"


def test_a_site_is_held_released_and_stopped(terminal: Terminal) -> None:
    code = terminal.launch()
    by = ("--as", "b.petit", "--reason", "test")
    assert terminal.json("hold", code, *by) == {"code": code, "state": "on_hold"}
    assert terminal.json("inbox", "--as", "m.leroy")[0]["blocked"] is True
    assert terminal.json("release", code, *by)["state"] == "running"
    assert terminal.json("stop", code, "--site", "METZ", *by)["state"] == "running"
    assert [site["state"] for site in terminal.json("status", code)["sites"]] == ["active", "stopped"]
    assert terminal.json("stop", code, *by)["state"] == "stopped"


def test_the_journal_is_listed_and_verifies(terminal: Terminal) -> None:
    code = terminal.launch()
    facts = terminal.json("journal", code)
    assert [fact["kind"] for fact in facts] == ["ExperimentLaunched", "StepOpened"]
    found = terminal.json("verify")
    assert {name: found[name] for name in ("ok", "experiments", "facts", "first_bad")} == {
        "ok": True,
        "experiments": 1,
        "facts": 2,
        "first_bad": None,
    }
    assert (found["findings"], found["anchors"]["last"]) == ([], None)
    assert terminal.json("verify", code)["facts"] == 2


def test_verify_leaves_with_1_when_a_fact_was_changed(terminal: Terminal) -> None:
    import sqlite3

    terminal.launch()
    with sqlite3.connect(terminal.data / "insitu.db") as connection:
        connection.execute("UPDATE fact SET by = 'x' WHERE seq = 1")
    said = terminal.type("verify", "--json")
    assert (said.status, said.json["ok"], said.json["first_bad"]["seq"]) == (1, False, 1)
    assert "fact 1" in terminal.type("verify").err


def test_what_verifying_finds_is_said_where_it_is(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    code = terminal.launch()
    with sqlite3.connect(terminal.data / "insitu.db") as connection:
        connection.execute("UPDATE step SET status = 'passed'")
    assert f"{code}, protocol_review: its status is kept as passed, its facts give open." in terminal.type("verify").err
    monkeypatch.setenv("INSITU_LOCALE", "fr")
    assert f"{code}, protocol_review : son statut est noté franchi, ses faits donnent ouvert." in terminal.type("verify").err


def test_an_anchor_is_made_by_hand_and_verified(terminal: Terminal, tmp_path: Path) -> None:
    terminal.launch()
    assert "No anchors here" in terminal.type("verify").out
    made = terminal.json("anchor")
    assert (made["number"], made["count"], made["next_key"]) == (1, 2, "")
    said = terminal.type("verify").out
    assert f"All 1 anchors hold; the last, number 1 of {made['date']}, has the hash {made['hash']}." in said
    assert f"Key {made['signer']}: anchors 1 to 1." in said
    assert terminal.json("anchor", "--new-key")["next_key"] != ""
    (terminal.data / "anchors").rename(tmp_path / "share")
    assert terminal.type("verify", "--anchors", str(tmp_path / "share")).status == 0
    lost = terminal.type("verify")
    assert (lost.status, "the access journal tells of anchor 2" in lost.err) == (1, True)
    assert terminal.type("verify", "--anchors", str(tmp_path / "none")).status == 2


def test_a_ledger_is_backed_up_and_restored_elsewhere(terminal: Terminal, tmp_path: Path) -> None:
    code = terminal.launch()
    made = terminal.json("backup", str(tmp_path / "kept.zip"))
    elsewhere = Terminal(tmp_path / "elsewhere")
    assert elsewhere.json("restore", str(tmp_path / "kept.zip")) == made
    assert elsewhere.json("status", code) == terminal.json("status", code)
    assert elsewhere.type("restore", str(tmp_path / "kept.zip")).status == 3
    assert elsewhere.type("restore", str(tmp_path / "kept.zip"), "--replace").status == 0


def test_sites_and_people_are_imported_once(tmp_path: Path) -> None:
    fresh = Terminal(tmp_path / "fresh")
    assert fresh.json("site", "import", EXAMPLE)["sites"] == {"added": 3, "changed": 0, "unchanged": 0}
    counts = fresh.json("person", "import", EXAMPLE)
    assert (counts["people"]["added"], counts["assignments"]["added"]) == (12, 12)
    assert fresh.json("person", "import", EXAMPLE)["people"]["unchanged"] == 12
    assert [site["code"] for site in fresh.json("site", "list")] == ["CAEN", "METZ", "STDENIS"]
    assert fresh.json("person", "list")[0]["assignments"][0]["role"] == "site_coordinator"


def test_a_person_is_assigned_and_may_act_at_once(terminal: Terminal) -> None:
    terminal.launch()
    given = terminal.json("assign", "a.martin", "methodologist", "--until", "2099-12-31")
    assert (given["result"], given["until"], given["warnings"]) == ("added", "2099-12-31", [])
    assert len(terminal.json("inbox", "--as", "a.martin")) == 1
    assert "project_manager" in terminal.type("assign", "a.martin", "projet_manager").err


def test_protocols_are_listed_shown_drawn_and_added(terminal: Terminal, tmp_path: Path) -> None:
    listed = terminal.json("protocol", "list")
    assert {"id", "version", "title", "hash", "added_at"} <= listed[0].keys()
    source = terminal.type("protocol", "show", "telerehab-hip").out
    assert source.rstrip() == (files("protocols") / "library" / "telerehab-hip.yaml").read_text("utf-8").rstrip()
    assert terminal.json("protocol", "show", "telerehab-hip")["content"]["id"] == "telerehab-hip"
    assert "s_ethics --> s_site_agreement" in terminal.type("protocol", "diagram", "telerehab-hip").out
    (tmp_path / "new.yaml").write_text(source.replace("version: 1.1.0", "version: 1.2.0"), "utf-8")
    assert terminal.json("protocol", "add", str(tmp_path / "new.yaml"))["version"] == "1.2.0"
    assert terminal.json("protocol", "show", "telerehab-hip")["version"] == "1.2.0"
    assert terminal.json("protocol", "show", "telerehab-hip", "--version", "1.1.0")["version"] == "1.1.0"


def test_lint_says_nothing_of_the_library_and_names_the_line_of_a_mistake(terminal: Terminal, tmp_path: Path) -> None:
    library = [str(file) for file in (files("protocols") / "library").iterdir()]
    assert terminal.json("protocol", "lint", *library) == []
    text = (files("protocols") / "library" / "telerehab-hip.yaml").read_text("utf-8")
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace("after: [protocol_review]", "after: [protocol_revew]", 1), "utf-8")
    said = terminal.type("protocol", "lint", str(bad), "--json")
    assert said.status == 2
    first = said.json[0]
    assert {"file", "line", "code", "message"} <= first.keys()
    assert (first["file"], first["line"]) == (str(bad), text[: text.index("after: [protocol_review]")].count("\n") + 1)


def test_notices_are_empty_before_anything_was_sent(terminal: Terminal) -> None:
    terminal.launch()
    assert terminal.json("notices") == []


def test_an_empty_command_id_is_refused_however_often_it_is_given(terminal: Terminal) -> None:
    for _ in range(2):
        said = terminal.type("launch", "telerehab-hip", *LAUNCH, "--as", "b.petit", "--command-id", "")
        assert (said.status, said.out) == (2, "")
        assert "cannot be empty" in said.err
    assert terminal.json("status") == []


def test_a_file_is_attached_to_a_file_field(terminal: Terminal, tmp_path: Path) -> None:
    from sites.clock import SystemClock
    from sites.database import Database
    from sites.ledger import Ledger

    code = terminal.launch()
    terminal.complete(f"{code}:protocol_review::1", "m.leroy", REVIEW)
    database = Database(f"sqlite:///{terminal.data / 'insitu.db'}")
    Ledger(database, SystemClock()).record_action(f"{code}:ethics::1", 0, {})
    (tmp_path / "opinion.pdf").write_bytes(b"%PDF-1.7 signed")
    opinion = {"opinion": "favourable", "opinion_date": "2026-01-05", "reference": "CPP 1"}
    terminal.complete(f"{code}:ethics::1", "s.garnier", opinion, "--attach", f"letter={tmp_path / 'opinion.pdf'}")
    letter = terminal.json("checkpoint", "show", f"{code}:ethics::1")["answers"]["letter"]
    assert letter["name"] == "opinion.pdf"
    assert Ledger(database, SystemClock()).document(letter["hash"])["content"] == b"%PDF-1.7 signed"
    database.dispose()


@pytest.mark.parametrize(("content", "said"), [(b"MZ\x90\x00 a program", "is not that of a pdf file"), (b"", "is empty")])
def test_a_file_that_its_field_does_not_accept_is_not_attached(terminal: Terminal, tmp_path: Path, content: bytes, said: str) -> None:
    from sites.clock import SystemClock
    from sites.database import Database
    from sites.ledger import Ledger

    code = terminal.launch()
    terminal.complete(f"{code}:protocol_review::1", "m.leroy", REVIEW)
    database = Database(f"sqlite:///{terminal.data / 'insitu.db'}")
    Ledger(database, SystemClock()).record_action(f"{code}:ethics::1", 0, {})
    database.dispose()
    (tmp_path / "evil.pdf").write_bytes(content)
    (tmp_path / "answers.json").write_text('{"opinion": "favourable", "opinion_date": "2026-01-05", "reference": "CPP 1"}', "utf-8")
    given = ("complete", f"{code}:ethics::1", "--as", "s.garnier", "--answers", str(tmp_path / "answers.json"))
    refused = terminal.type(*given, "--attach", f"letter={tmp_path / 'evil.pdf'}")
    assert (refused.status, said in refused.err) == (2, True)
    assert terminal.type(*given, "--attach", f"reference={tmp_path / 'evil.pdf'}").status == 2
    assert terminal.json("checkpoint", "show", f"{code}:ethics::1")["status"] == "open"


# ------------------------------------------------------------------ tables


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("status",), "TELEREHAB-HIP-1"),
        (("status", "TELEREHAB-HIP-1"), "Answers awaited (methodologist)"),
        (("inbox", "--as", "m.leroy"), "TELEREHAB-HIP-1:protocol_review::1"),
        (("inbox", "--as", "r.faure"), "Nothing to do for r.faure."),
        (("checkpoint", "show", "TELEREHAB-HIP-1:protocol_review::1"), "sample_size_justified"),
        (("journal", "TELEREHAB-HIP-1"), "ExperimentLaunched"),
        (("site", "list"), "Clinique des Remparts"),
        (("person", "list"), "site_coordinator@CAEN"),
        (("protocol", "list"), "pre-admission-econsent"),
        (("notices",), "Nothing to show."),
        (("verify",), "intact"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_people_read_tables(terminal: Terminal, words: tuple[str, ...], shown: str) -> None:
    terminal.launch()
    said = terminal.type(*words)
    assert said.status == 0
    assert shown in said.out


def test_a_french_terminal_is_spoken_to_in_french(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.launch()
    monkeypatch.delenv("INSITU_LOCALE")
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    assert "Prochaine échéance" in terminal.type("status").out
    assert "Réponses attendues" in terminal.type("status", "TELEREHAB-HIP-1").out


# ------------------------------------------------------------------ mistakes

MISTAKES = [
    (("status", "NOPE-1"), 2, "no experiment 'NOPE-1'"),
    (("inbox", "--as", "nobody"), 2, "no person 'nobody'"),
    (("inbox",), 2, "--as"),
    (("launch", "telerehab", "--site", "CAEN", "--as", "b.petit"), 2, "no protocol 'telerehab'"),
    (("launch", "telerehab-hip", "--site", "CEAN", *LAUNCH[4:], "--as", "b.petit"), 2, "CEAN"),
    (("launch", "telerehab-hip", "--site", "CAEN", "--as", "b.petit"), 2, "planned_start"),
    (("launch", "telerehab-hip", *LAUNCH[:6], "--set", "target_participants=many", "--as", "b.petit"), 2, "a whole number"),
    (("launch", "telerehab-hip", *LAUNCH, "--set", "grant=1", "--as", "b.petit"), 2, "`grant_eur`"),
    (("launch", "telerehab-hip", *LAUNCH, "--set", "grant_eur", "--as", "b.petit"), 2, "field=value"),
    (("protocol", "add", "/dev/null"), 2, "empty"),
    (("launch", "telerehab-hip", *LAUNCH, "--as", "m.leroy"), 3, "project_manager"),
    (("complete", "X", "--as", "m.leroy", "--answers", "/nowhere.json"), 2, "/nowhere.json"),
    (("sign", "TELEREHAB-HIP-1:protocol_review::1", "--as", "m.leroy"), 3, "protocol_review"),
    (("sign", "TELEREHAB-HIP-1", "--as", "m.leroy"), 2, "not a checkpoint"),
    (("hold", "TELEREHAB-HIP-1", "--as", "m.leroy", "--reason", "x"), 3, "project_manager"),
    (("hold", "TELEREHAB-HIP-1", "--as", "b.petit", "--reason", " "), 2, "reason"),
    (("assign", "b.petti", "sponsor"), 2, "`b.petit`"),
    (("assign", "b.petit", "sponsor", "--from", "31/12/2026"), 2, "31/12/2026"),
    (("site", "import", "/nowhere.yaml"), 2, "/nowhere.yaml"),
    (("protocol", "show", "nope"), 2, "no protocol 'nope'"),
    (("protocol", "add", "/nowhere.yaml"), 2, "/nowhere.yaml"),
    (("restore", "/nowhere.zip"), 2, "/nowhere.zip"),
    (("worker",), 2, "PREFECT_API_URL"),
    (("nonsense",), 2, "nonsense"),
]


@pytest.mark.parametrize(("words", "status", "said"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else None)
def test_a_mistake_is_a_sentence_on_standard_error(terminal: Terminal, words: tuple[str, ...], status: int, said: str) -> None:
    terminal.launch()
    got = terminal.type(*words)
    assert got.status == status
    assert said in got.err
    assert "Traceback" not in got.err
    assert got.out == ""


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ("{", 2, "not JSON"),
        ("[1]", 2, "JSON object"),
        ("[" * 100_000, 2, "nested more than 32 deep"),
        ('{"synopsis_version": "1",\n "synopsis_version": "2"}', 2, "the key synopsis_version is given twice"),
        ('{"synopsis_version": 3, "sample_size_justified": "maybe"}', 2, "sample_size_justified"),
        ('{"synopsis_version": "1", "sample_size_justified": true, "more": 1}', 2, "more"),
    ],
)
def test_answers_that_cannot_be_used_complete_nothing(terminal: Terminal, typed: str, status: int, said: str) -> None:
    code = terminal.launch()
    got = terminal.type("complete", f"{code}:protocol_review::1", "--as", "m.leroy", "--answers", "-", typed=typed)
    assert (got.status, said in got.err) == (status, True)
    assert terminal.json("status", code)["gates"][0]["status"] == "open"


def test_the_second_to_answer_is_refused(terminal: Terminal) -> None:
    code = terminal.launch()
    terminal.complete(f"{code}:protocol_review::1", "m.leroy", REVIEW)
    again = terminal.type("complete", f"{code}:protocol_review::1", "--as", "m.leroy", "--answers", "-", typed=json.dumps(REVIEW))
    assert again.status == 3
    assert "m.leroy" in again.err


def test_lint_only_warns_of_what_was_released_here_before_the_rule(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "older.yaml"
    file.write_text(SMALL.replace("id: small", "id: older") + "evaluation: {a: 1}\n", "utf-8")
    fresh = terminal.type("protocol", "lint", str(file))
    assert (fresh.status, "without_effect" in fresh.out) == (2, True)
    protocol = parse(file.read_text("utf-8")).protocol
    row = {"hash": content_hash(protocol), "id": "older", "version": "1.0.0", "content": canonical(protocol), "source": ""}
    database = Database(f"sqlite:///{terminal.data / 'insitu.db'}")
    with database.write() as connection:
        connection.execute(insert(table(Release)), row | {"added_at": datetime(2026, 1, 1, tzinfo=UTC)})
    database.dispose()
    again = terminal.type("protocol", "lint", str(file))
    assert (again.status, "warning" in again.out and "without_effect" in again.out) == (0, True)
    assert terminal.type("protocol", "add", str(file)).status == 0


def test_every_problem_of_an_import_is_told_with_its_line(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id;name;email\nx;;nowhere\n", "utf-8")
    said = terminal.type("person", "import", str(tmp_path / "people.csv"))
    assert said.status == 2
    assert [line.partition(": ")[0] for line in said.err.splitlines()] == [f"{tmp_path / 'people.csv'}:2"] * 2


def test_a_data_folder_that_cannot_be_made_is_an_error_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = Terminal(tmp_path / "file" / "home").type("status")
    assert (said.status, "Traceback" in said.err, bool(said.err)) == (1, False, True)


# ------------------------------------------------------------------ the real program


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_"))}
    command = [sys.executable, "-c", "from insitu.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, env=clean | environment, check=False)


def test_the_data_folder_may_be_named_before_the_command_after_it_or_by_the_environment(terminal: Terminal) -> None:
    code, home = terminal.launch(), str(terminal.data)
    for done in (
        program("--data", home, "status", "--json"),
        program("status", "--json", "--data", home),
        program("status", "--json", INSITU_HOME=home),
    ):
        assert [one["code"] for one in json.loads(done.stdout)] == [code], done.stderr


def test_a_refusal_of_the_real_program_has_its_exit_status_and_one_sentence(terminal: Terminal) -> None:
    done = program("launch", "telerehab-hip", *LAUNCH, "--as", "m.leroy", "--data", str(terminal.data))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


SLOW = ("prefect", "apprise", "alembic", "matplotlib", "numpy", "jinja2", "fastapi", "prompt_toolkit", "ruamel", "holidays", "rich.table")


@pytest.mark.parametrize("words", [("--help",), ("inbox", "--as", "m.leroy", "--json"), ("status", "TELEREHAB-HIP-1", "--json")])
def test_a_daily_command_loads_nothing_slow(terminal: Terminal, words: tuple[str, ...]) -> None:
    terminal.launch()
    watched = f"""
import sys
from insitu.cli import main
try:
    main()
finally:
    print([name for name in {SLOW!r} if name in sys.modules], file=sys.stderr)
"""
    command = [sys.executable, "-c", watched, "--data", str(terminal.data), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
