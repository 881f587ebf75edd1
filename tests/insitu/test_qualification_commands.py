"""Delegations, trainings, deputies and conflicts of interest by the command line: a site is made fit to act, and acts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keyboard import Terminal

from sites.clock import SystemClock
from sites.database import Database
from sites.ledger import Ledger

REVIEW = {"synopsis_version": "1", "sample_size_justified": True}
TODAY = datetime.now(UTC).date()  # the commands run on the machine's own clock


@pytest.fixture
def code(terminal: Terminal) -> str:
    return terminal.launch()


def delegate(terminal: Terminal, code: str, person: str, role: str, by: str, *words: str) -> int:
    given = ("--site", "CAEN", "--experiment", code, "--as", by, *words)
    return int(terminal.json("delegation", "record", person, role, *given)["id"])


def test_a_delegation_is_recorded_signed_listed_and_ended(terminal: Terminal, code: str, tmp_path: Path) -> None:
    (tmp_path / "sheet.pdf").write_bytes(b"%PDF-1.7")
    evidence = ("--evidence", str(tmp_path / "sheet.pdf"), "--until", "2099-12-31")
    number = delegate(terminal, code, "e.lambert", "principal_investigator", "b.petit", *evidence)
    said = terminal.type("delegation", "sign", str(number), "--as", "b.petit")
    assert "Je délègue à Étienne Lambert les tâches du rôle « Investigateur principal » au site CAEN" in said.out
    (shown,) = terminal.json("delegation", "list", "--as", "e.lambert")
    assert (shown["person"], shown["state"], shown["until"], shown["signed_by"]) == ("e.lambert", "in_force", "2099-12-31", "b.petit")
    assert len(shown["evidence"]) == 64
    assert "in force" in terminal.type("delegation", "list", "--as", "b.petit").out
    end = ("delegation", "end", str(number), "--as", "b.petit", "--reason", "Moved")
    assert terminal.json(*end)["id"] == number
    assert terminal.type(*end).status == 3
    assert terminal.json("delegation", "list", "--as", "b.petit")[0]["ended_why"] == "Moved"


def test_a_training_is_recorded_on_the_latest_version_and_signed(terminal: Terminal, code: str) -> None:
    given = ("training", "record", "e.lambert", "telerehab-hip", "--site", "CAEN", "--as", "b.petit")
    assert "telerehab-hip 1.1.0" in terminal.type(*given).out
    number = str(terminal.json(*given)["id"])
    assert terminal.type("training", "sign", number, "--as", "e.lambert").status == 3
    (waiting,) = terminal.json("training", "list", "--as", "b.petit", "--site", "CAEN")
    assert terminal.type("training", "sign", number, "--as", "b.petit", "--meaning", "Trained, under protest").status == 2
    assert terminal.json("training", "sign", number, "--as", "b.petit", "--meaning", waiting["means"])["id"] == 1
    (shown,) = terminal.json("training", "list", "--as", "b.petit", "--site", "CAEN")
    assert (shown["version"], shown["meaning"], shown["means"]) == ("1.1.0", waiting["means"], "")
    end = ("training", "end", number, "--as", "b.petit", "--reason", "To be taken again", "--on", str(TODAY - timedelta(days=1)))
    assert terminal.json(*end)["id"] == 1
    assert terminal.json("training", "list", "--as", "b.petit")[0]["state"] == "over"


def test_a_refusal_names_the_commands_that_help(terminal: Terminal, code: str) -> None:
    number = delegate(terminal, code, "a.martin", "site_coordinator", "b.petit")
    said = terminal.type("delegation", "sign", str(number), "--as", "e.lambert")
    assert said.status == 3
    assert "insitu delegation" in said.err
    assert terminal.type("delegation", "sign", "99", "--as", "e.lambert").status == 2


def test_a_deputy_acts_until_their_time_is_ended(terminal: Terminal, code: str) -> None:
    given = ("deputy", "name", "m.leroy", "r.faure", "--until", str(TODAY + timedelta(days=9)), "--as", "m.leroy")
    assert "r.faure" in terminal.type(*given).out
    (item,) = terminal.json("inbox", "--as", "r.faure")
    assert (item["id"], item["of"]) == (f"{code}:protocol_review::1", "m.leroy")
    assert "in the place of m.leroy" in terminal.type("inbox", "--as", "r.faure").out
    number = str(terminal.json("deputy", "list", "--as", "r.faure")[0]["id"])
    assert terminal.json("deputy", "end", number, "--as", "m.leroy")["id"] == int(number)
    assert terminal.json("inbox", "--as", "r.faure") == []
    assert terminal.type("deputy", "name", "m.leroy", "r.faure", "--until", str(TODAY), "--as", "r.faure").status == 3


def test_a_conflict_of_interest_forbids_until_a_manager_lifts_it(terminal: Terminal, code: str) -> None:
    given = ("conflict", "declare", "m.leroy", "--experiment", code, "--reason", "Shares in ReHip", "--as", "m.leroy")
    number = str(terminal.json(*given)["id"])
    assert terminal.json("inbox", "--as", "m.leroy") == []
    assert terminal.json("conflict", "list", "--as", "b.petit")[0]["reason"] == "Shares in ReHip"
    assert terminal.type("conflict", "withdraw", number, "--as", "m.leroy").status == 3
    assert terminal.json("conflict", "withdraw", number, "--as", "b.petit")["id"] == int(number)
    assert len(terminal.json("inbox", "--as", "m.leroy")) == 1


def test_the_inbox_says_which_record_is_missing(terminal: Terminal, code: str) -> None:
    terminal.complete(f"{code}:protocol_review::1", "m.leroy", REVIEW)
    opinion = {"opinion": "favourable", "opinion_date": "2026-01-15", "reference": "CPP 1"}
    Ledger(Database(f"sqlite:///{terminal.data / 'insitu.db'}"), SystemClock()).record_action(f"{code}:ethics::1", 0, {})
    terminal.complete(f"{code}:ethics::1", "s.garnier", opinion)
    for signer in ("s.garnier", "b.petit"):
        terminal.json("sign", f"{code}:ethics::1", "--as", signer)
    said = terminal.type("inbox", "--as", "a.martin").out
    assert "a signed delegation is missing, a signed training is missing" in " ".join(said.split())
    refused = terminal.type("complete", f"{code}:site_agreement:CAEN:1", "--as", "a.martin", "--answers", "-", typed="{}")
    assert (refused.status, "insitu training" in refused.err) == (3, True)
