"""The page on the API: its commands run against a real server, its tables are complete."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from caller import Caller
from keyboard import Terminal
from visit import doors_on

from insitu.api import ROUTERS
from insitu.api.document import describe
from insitu.app import create_app
from insitu.entrance.refusals import KNOWN, STATUSES
from insitu.services import address, listening, serving
from insitu.supervision import Parts
from sites.clock import SystemClock
from sites.database import Database

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text("utf-8")
SHOWN = "http://127.0.0.1:8080"


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [line for line in lines if line.startswith("curl ")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_run_in_order(terminal: Terminal, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{terminal.data / 'insitu.db'}")
    doors = doors_on(database, SystemClock())  # type: ignore[arg-type]
    for name, text in re.findall(r"^```json file=(\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text, "utf-8")
    environment = {"TOKEN": Caller(doors, "b.petit").token, "PATH": "/usr/bin:/bin"}
    with listening("127.0.0.1", 0) as door, serving(create_app(doors), door, Parts()):
        for command in commands():
            asked = command.replace("curl ", "curl -sS --fail-with-body --noproxy '*' ").replace(SHOWN, address(door))
            done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout[:1] in ("{", "[")) == (0, True), f"{command}\n{done.stdout}{done.stderr}"
    assert len(commands()) >= 5
    database.dispose()


def test_every_request_is_in_the_table() -> None:
    listed = re.findall(r"^\| `([A-Z]+ /\S*)` \|", PAGE, re.MULTILINE)
    paths = describe(ROUTERS)["paths"]
    there = [f"{method.upper()} {path.removeprefix('/api/v1')}" for path, operations in paths.items() for method in operations]
    assert sorted(listed) == sorted(there)


def test_every_refusal_is_in_the_table() -> None:
    rows = re.findall(r"^\| (\d{3}) \|.*\| (.*) \|$", PAGE, re.MULTILINE)
    listed = {(int(status), kind.strip("` ")) for status, kinds in rows for kind in kinds.split(",")}
    ours = {(status, error.__name__) for error, status, _ in STATUSES if status != 500}
    # An import has no request yet.
    assert {one for one in ours if one not in listed} <= {(422, "InvalidImport")}
    assert {(status, kind) for status, (kind, _) in KNOWN.items() if status not in (405,)} <= listed
