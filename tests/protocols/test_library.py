"""The library protocols, read as documents: both languages everywhere, and nothing that could name a person."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from protocols.lint import load
from protocols.model import content_hash

LIBRARY = sorted((Path(__file__).parents[2] / "protocols" / "library").glob("*.yaml"))
WRITTEN_HERE = [path for path in LIBRARY if path.stem not in ("telerehab-hip", "pre-admission-econsent")]
TEXTS = {"title", "summary", "help", "label", "meaning", "description"}


def document(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, part in value.items():
            yield from walk(part, f"{path}.{key}")
    elif isinstance(value, list):
        for part in value:
            name = part.get("id", part.get("value", "")) if isinstance(part, dict) else part
            yield from walk(part, f"{path}.{name}")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_every_translated_text_is_in_french_and_in_english(path: Path) -> None:
    halves = [where for where, value in walk(document(path)) if isinstance(value, dict) and len({"fr", "en"} & set(value)) == 1]
    assert halves == []


@pytest.mark.parametrize("path", WRITTEN_HERE, ids=lambda path: path.stem)
def test_every_text_a_person_reads_is_translated(path: Path) -> None:
    read_by_people = [(where, value) for where, value in walk(document(path)) if where.rsplit(".", 1)[-1] in TEXTS]
    assert [where for where, value in read_by_people if not (isinstance(value, dict) and value["fr"] and value["en"])] == []


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_a_protocol_asks_for_codes_and_counts_never_for_a_name_or_a_birth_date(path: Path) -> None:
    asked = {field["id"] for _, field in walk(document(path)) if isinstance(field, dict) and {"id", "type"} <= set(field)}
    assert asked
    assert [name for name in asked if {"name", "surname", "birth", "address", "phone", "nir", "ins", "ipp"} & set(name.split("_"))] == []


@pytest.mark.parametrize("path", WRITTEN_HERE, ids=lambda path: path.stem)
def test_every_question_has_a_deadline_and_a_reminder(path: Path) -> None:
    asked = [step for step in document(path)["steps"] if "checkpoint" in step]
    assert [step["id"] for step in asked if not (step.get("due") and step.get("remind"))] == []


def test_a_released_version_keeps_its_hash_whatever_the_format_learns() -> None:
    text = (Path(__file__).parent / "released" / "telerehab-hip-1.0.0.yaml").read_text(encoding="utf-8")
    protocol = load(text)
    assert (protocol.version, content_hash(protocol)) == ("1.0.0", "3fdfb4d99b983edea288bdefefe52b3ed852f92ce71587f0b59085f797b0cfbf")
    assert not any(role.requires for role in protocol.roles.values())


def test_the_site_roles_of_the_reference_protocol_ask_for_delegation_and_training() -> None:
    path = next(path for path in LIBRARY if path.stem == "telerehab-hip")
    roles = load(path.read_text(encoding="utf-8")).roles
    assert {role.requires for role in roles.values() if role.scope == "site"} == {("delegation", "training")}
    assert {role.requires for role in roles.values() if role.scope == "experiment"} == {()}
