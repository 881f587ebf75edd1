"""A protocol drawn as a Mermaid flowchart."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from protocols.diagram import mermaid
from protocols.model import Protocol
from protocols.parsing import parse

LIBRARY = sorted((file for file in (files("protocols") / "library").iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)


def protocol(name: str) -> Protocol:
    return parse((files("protocols") / "library" / name).read_text("utf-8"), name).protocol


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: file.name)
@pytest.mark.parametrize("locale", ["fr", "en"])
def test_every_step_is_a_node_in_its_phase_and_every_predecessor_an_arrow(file: object, locale: str) -> None:
    drawn = protocol(file.name)  # type: ignore[attr-defined]
    text = mermaid(drawn, locale)
    nodes = set(re.findall(r"^    (s_\w+)[\[(]", text, re.MULTILINE))
    arrows = set(re.findall(r"^  (s_\w+) -->(?:\|.*?\|)? (s_\w+)$", text, re.MULTILINE))
    assert nodes == {f"s_{step.id}" for step in drawn.steps}
    assert arrows == {(f"s_{after.step}", f"s_{step.id}") for step in drawn.steps for after in step.after}


def test_ways_back_stops_and_gatherings_of_sites_are_drawn() -> None:
    text = mermaid(protocol("telerehab-hip.yaml"), "fr")
    assert "s_ethics -. \"answers.opinion == 'changes_requested'\" .-> s_protocol_review" in text
    assert '.-> stopped(("Arrêt"))' in text
    assert 's_follow_up -->|"tous les sites"| s_evaluation' in text
    assert 's_site_agreement(["Convention"])' in text


def test_words_cannot_end_their_quotes_or_begin_markup() -> None:
    drawn = protocol("telerehab-hip.yaml")
    step = drawn.steps[0].model_copy(update={"title": 'A "quoted" <b>#1</b>\nstep'})
    text = mermaid(drawn.model_copy(update={"steps": (step, *drawn.steps[1:])}), "fr")
    assert '["A &quot;quoted&quot; &lt;b&gt;&num;1&lt;/b&gt; step"]' in text
