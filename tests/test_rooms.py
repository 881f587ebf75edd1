"""The house's order: rooms import to their left only, `protocols/` is pure, and Prefect finds its flows."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

HOUSE = Path(__file__).parents[1]
ROOMS = ("protocols", "sites", "notifications", "flows", "insitu")
RANK = {room: number for number, room in enumerate(ROOMS)}
FILES = [path for room in ROOMS for path in sorted((HOUSE / room).rglob("*.py"))]

# What `protocols/` may use: values and text. No clock, file, network, process or database.
PURE = {
    *("__future__", "abc", "ast", "collections", "contextlib", "dataclasses", "datetime", "decimal", "difflib", "enum", "functools"),
    *("graphlib", "hashlib", "io", "itertools", "json", "math", "operator", "re", "string", "sys", "textwrap", "types", "typing"),
    *("unicodedata", "zoneinfo"),
    *("pydantic", "pydantic_core", "ruamel", "cel", "celpy", "lark", "holidays", "protocols"),  # lark: the trees that celpy gives
}
METHODS = {"now", "today", "utcnow", "read_text", "write_text", "read_bytes", "write_bytes", "getenv"}
FUNCTIONS = {"open", "input", "print", "exec", "eval"}


def imports(path: Path) -> Iterator[str]:
    """The absolute names a file imports, wherever in it, relative imports resolved."""
    package = path.relative_to(HOUSE).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join((*above, *((node.module or "").split(".") if node.module else ())))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
            yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_rooms_to_its_left(room: str) -> None:
    files = [path for path in FILES if path.relative_to(HOUSE).parts[0] == room]
    assert files
    upward = [
        f"{path.relative_to(HOUSE)} imports {name}"
        for path in files
        for name in imports(path)
        if RANK.get(name.split(".")[0], -1) > RANK[room]
    ]
    assert upward == []


def test_only_the_flows_and_the_doors_know_prefect() -> None:
    knowing = {path.relative_to(HOUSE).parts[0] for path in FILES for name in imports(path) if name.split(".")[0] == "prefect"}
    assert knowing <= {"flows", "insitu"}


def test_protocols_imports_nothing_but_values_and_text() -> None:
    found = {(str(path.relative_to(HOUSE)), name) for path in FILES if path.is_relative_to(HOUSE / "protocols") for name in imports(path)}
    assert {(file, name) for file, name in found if name.split(".")[0] not in PURE} == set()


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the name of each call of a clock or a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in METHODS:
            yield called.lineno, called.attr
        elif isinstance(called, ast.Name) and called.id in FUNCTIONS:
            yield called.lineno, called.id


def test_protocols_asks_no_clock_and_opens_no_file() -> None:
    pure = [path for path in FILES if path.is_relative_to(HOUSE / "protocols")]
    assert [f"{path.relative_to(HOUSE)}:{line} calls {name}" for path in pure for line, name in calls(path)] == []


def entrypoints() -> list[str]:
    document = YAML(typ="safe", pure=True).load((HOUSE / "prefect.yaml").read_text("utf-8"))
    return [deployment["entrypoint"] for deployment in document["deployments"]]


def test_prefect_entrypoints_name_modules_and_import() -> None:
    """In file form Prefect would load a module twice, and its types would not be themselves."""
    names = entrypoints()
    assert names
    for entrypoint in names:
        module, _, flow = entrypoint.partition(":")
        assert "/" not in entrypoint
        assert not module.endswith(".py")
        assert callable(getattr(importlib.import_module(module), flow))
        assert Path(str(sys.modules[module].__file__)).is_relative_to(HOUSE)
