"""A French terminal is told in French what is refused."""

from __future__ import annotations

import pytest
from keyboard import LAUNCH, Terminal


def test_a_refusal_is_in_the_terminals_language(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSITU_LOCALE", "fr")
    said = terminal.type("status", "NOWHERE-1")
    assert (said.status, said.err) == (2, "Il n’y a pas d’expérimentation 'NOWHERE-1' ; `insitu status` en donne la liste.\n")
    said = terminal.type("launch", "telerehab-hip", *LAUNCH, "--as", "a.martin")
    assert said.status == 3
    assert "a.martin n’exerce pas le rôle" in said.err
