"""`insitu account`: invitations for a centre without mail, and accounts closed and opened."""

from __future__ import annotations

from keyboard import Terminal

MANAGER = "b.petit"


def test_an_invitation_prints_its_link_and_lists_nobody_without_one(terminal: Terminal) -> None:
    said = terminal.type("account", "invite", MANAGER, "--as", MANAGER)
    assert said.status == 0, said.err
    assert "http://127.0.0.1:8080/invitation/" in said.out
    listed = terminal.json("account", "list")
    assert {one["has_account"] for one in listed} == {False}
    assert "no account" in terminal.type("account", "list").out


def test_only_a_manager_invites(terminal: Terminal) -> None:
    other = next(one["person"] for one in terminal.json("account", "list") if one["person"] != MANAGER)
    said = terminal.type("account", "invite", MANAGER, "--as", other)
    assert said.status == 3
    assert "project_manager" in said.err
    assert terminal.type("account", "invite", "who.ever", "--as", MANAGER).status == 2


def test_an_account_is_closed_and_opened_and_nothing_is_recovered_without_one(terminal: Terminal) -> None:
    other = next(one["person"] for one in terminal.json("account", "list") if one["person"] != MANAGER)
    assert terminal.type("account", "recover", other, "--as", MANAGER).status == 3
    assert terminal.json("account", "disable", other, "--as", MANAGER)["changed"] is True
    assert "closed" in terminal.type("account", "list").out
    assert terminal.type("account", "invite", other, "--as", MANAGER).status == 3
    assert terminal.json("account", "enable", other, "--as", MANAGER)["changed"] is True
    assert terminal.json("account", "reset-second-factor", other, "--as", MANAGER)["changed"] is False
    assert terminal.type("account", "disable", MANAGER, "--as", MANAGER).status == 3


def test_a_provider_subject_is_introduced_once(terminal: Terminal) -> None:
    assert terminal.type("account", "link", MANAGER, "899700000000", "--as", MANAGER).status == 0
    other = next(one["person"] for one in terminal.json("account", "list") if one["person"] != MANAGER)
    assert terminal.type("account", "link", other, "899700000000", "--as", MANAGER).status == 3


def test_a_link_to_the_provider_is_taken_away_and_put_right(terminal: Terminal) -> None:
    other = next(one["person"] for one in terminal.json("account", "list") if one["person"] != MANAGER)
    assert terminal.json("account", "unlink", other, "--as", MANAGER)["changed"] is False
    terminal.type("account", "link", other, "not theirs", "--as", MANAGER)
    assert terminal.type("account", "link", other, "theirs", "--as", MANAGER).status == 3
    said = terminal.type("account", "unlink", other, "--as", MANAGER)
    assert said.status == 0
    assert "no longer taken" in said.out
    assert terminal.type("account", "link", other, "theirs", "--as", MANAGER).status == 0
    assert terminal.type("account", "unlink", "who.ever", "--as", MANAGER).status == 2
    assert terminal.type("account", "unlink", MANAGER, "--as", other).status == 3
    assert terminal.type("account", "link", MANAGER, "two\nlines", "--as", MANAGER).status == 2
