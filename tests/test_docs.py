"""The documentation, held to the code: its commands run, its links lead somewhere, its lists are complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from insitu.cli.manual import manual
from notifications.render import KINDS, known_notices
from protocols.facts import FactKind
from protocols.model import LOCALES, Calendar, FieldType, Phase
from protocols.state import ExperimentState, SiteState, StepStatus
from sites.clock import SystemClock
from sites.database import Database
from sites.readiness import make_ready

ROOT = Path(__file__).parent.parent
ROOMS = ("protocols", "sites", "notifications", "flows", "insitu")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BIN = Path(sys.executable).parent

# Lines of `console` and `sh` blocks that are not run here, by how they begin, with the reason.
NOT_RUN = {
    "git clone": "the checkout is what is tested",
    "make ": "it installs and runs everything; that the target exists is checked",
    "source .venv/bin/activate": "the tests run inside the environment already",
    "insitu up": "it runs until Ctrl-C; tests/journey starts it",
    "insitu demo": "it runs for a minute; tests/journey plays it",
    "insitu serve": "it runs until Ctrl-C",
    "insitu dispatch": "it runs until Ctrl-C",
    "insitu worker": "it runs until Ctrl-C",
    "prefect ": "it needs a Prefect server; tests/flows deploys to one",
    "sudo ": "it changes the machine",
    "python -m bench": "it takes minutes and wants a quiet machine",
    "curl ": "it needs a running server",
}
POSTGRESQL_IN_DOCS = "postgresql+psycopg://insitu:secret@db.example.org/insitu"
VARYING = [
    (re.compile(r"\b\d{4}-\d\d-\d\d( \d\d:\d\d)?"), "DATE"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"[─ \t]+"), " "),
]


@dataclass
class Shown:
    """A command as a page shows it: `output` is empty when the page shows none."""

    command: str
    output: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        said = re.search(r"# exit status (\d)$", self.command)
        return int(said[1]) if said else 0

    @property
    def is_run(self) -> bool:
        return not self.command.startswith(tuple(NOT_RUN))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def blocks(page: Path) -> list[tuple[str, str, str]]:
    """The fenced blocks of a page: language, what follows it on the fence, and the text."""
    found = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, rest.strip(), text) for language, rest, text in found]


def commands(page: Path) -> list[Shown]:
    found: list[Shown] = []
    for language, _, text in blocks(page):
        if language == "sh":
            found += [Shown(line) for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
        elif language == "console":
            found += read_session(text)
    return found


def read_session(text: str) -> list[Shown]:
    found: list[Shown] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Shown(line[2:]))
        elif line.startswith("> "):
            found[-1].command = found[-1].command.removesuffix("\\") + line[2:]
        else:
            found[-1].output.append(line)
    return found


def plain(text: str) -> list[str]:
    """The lines without what differs from day to day, from file to file and from terminal to terminal."""
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def is_like(shown: list[str], printed: str) -> bool:
    """Whether the output is as shown, `…` standing for anything."""
    pattern = re.escape("\n".join(plain("\n".join(shown)))).replace("…", ".*?")
    return re.fullmatch(pattern, "\n".join(plain(printed)), re.DOTALL) is not None


@pytest.fixture(scope="module")
def fresh_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the first command makes in a new data folder, made once: it takes two seconds."""
    file = tmp_path_factory.mktemp("fresh") / "insitu.db"
    database = Database(f"sqlite:///{file}")
    make_ready(database, SystemClock())
    database.dispose()
    return file


def run(page: Path, folder: Path, database: str, fresh_ledger: Path) -> Iterator[tuple[Shown, int, str]]:
    """Run a page's commands in one shell, in order; each with its exit status and all it printed. Its data folders are new."""
    for home in re.findall(r"INSITU_HOME=(\S+)", page.read_text("utf-8")):
        data = folder / home.removeprefix("~/")
        data.mkdir()
        shutil.copy(fresh_ledger, data)
    (folder / "insitu" / "demo").mkdir(parents=True)
    shutil.copy(ROOT / "insitu" / "demo" / "sites.yaml", folder / "insitu" / "demo")
    shutil.copytree(ROOT / "protocols" / "library", folder / "protocols" / "library")
    for _, rest, text in blocks(page):
        if rest.startswith("file="):
            (folder / rest.removeprefix("file=")).write_text(text, "utf-8")
    asked = [one for one in commands(page) if one.is_run]
    script = "".join(f"{one.command}\nprintf '\\036%s\\036' $?\n" for one in asked).replace(POSTGRESQL_IN_DOCS, database)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_", "LC_"))}
    environment = kept | {"HOME": str(folder), "LANG": "C.UTF-8", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    parts = done.stdout.split("\x1e")
    assert len(parts) == 2 * len(asked) + 1, done.stdout
    for one, printed, status in zip(asked, parts[::2], parts[1::2], strict=False):
        yield one, int(status), printed


@pytest.mark.parametrize("page", [page for page in PAGES if any(one.is_run for one in commands(page))], ids=name_of)
def test_the_commands_of_a_page_run_in_order_and_print_what_it_shows(
    page: Path, tmp_path: Path, fresh_ledger: Path, request: pytest.FixtureRequest
) -> None:
    database = ""
    if POSTGRESQL_IN_DOCS in page.read_text("utf-8"):
        postgres = request.getfixturevalue("postgres")
        database = postgres.url(postgres.fresh())
    for one, status, printed in run(page, tmp_path, database, fresh_ledger):
        assert status == one.status, f"{one.command}\n{printed}"
        assert not one.output or is_like(one.output, printed), f"{one.command}\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_too_long_to_run_here_exist(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^## insitu (\w+)$", manual(), re.MULTILINE)
    for one in commands(page):
        words = one.command.split()
        if not one.is_run and words[0] in ("make", "insitu"):
            assert words[1] in (targets if words[0] == "make" else listed), one.command


def test_a_session_is_compared_with_what_is_printed() -> None:
    assert is_like(["due 2026-01-31 22:59", "…", "end"], "due   2027-02-28 22:59\nmore\n\nmore\nend\n")
    assert not is_like(["status open"], "status passed\n")


# ------------------------------------------------------------------ links


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} leads nowhere"
        assert not fragment or fragment in anchors(file), f"{target}: no such heading"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    missing = [name_of(page) for page in PAGES[2:] if f"({page.relative_to(ROOT / 'docs')})" not in index]
    assert missing == ["docs/index.md"]


# ------------------------------------------------------------------ completeness


def test_the_reference_of_commands_is_their_own_help() -> None:
    page = ROOT / "docs" / "reference" / "commands.md"
    assert page.read_text("utf-8") == manual(), "run: python -m insitu.cli.manual > docs/reference/commands.md"


@cache
def sources() -> str:
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*")) if file.suffix in (".py", ".j2", ".yaml")]
    return "\n".join(file.read_text("utf-8") for file in files)


def terms() -> list[str]:
    glossary = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    return re.findall(r"^- \*\*(.+?)\*\*", glossary, re.MULTILINE)


NOT_YET = {"delegation", "amendment", "close-out"}  # the glossary says so of each
WORDS_OF_THE_HOUSE = (
    "protocol experiment phase step gate checkpoint round site person role assignment delegation fact journal notice deadline "
    "incident hold amendment evaluation close-out"
)


def test_the_glossary_has_every_word_of_the_house_once() -> None:
    assert set(WORDS_OF_THE_HOUSE.split()) <= set(terms())
    assert len(terms()) == len(set(terms()))


@pytest.mark.parametrize("term", terms())
def test_the_code_uses_the_words_of_the_glossary(term: str) -> None:
    assert term in NOT_YET or term.replace(" ", "_") in sources() or term in sources()


@pytest.mark.parametrize("kind", [FactKind, StepStatus, ExperimentState, SiteState], ids=lambda kind: kind.__name__)
def test_every_fact_and_state_is_in_the_glossary(kind: type[FactKind | StepStatus | ExperimentState | SiteState]) -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    assert [member for member in kind if f"`{member.value}`" not in glossary] == []


@pytest.mark.parametrize("kind", [FieldType, Phase, Calendar], ids=lambda kind: kind.__name__)
def test_every_word_of_the_format_is_in_its_reference(kind: type[FieldType | Phase | Calendar]) -> None:
    reference = (ROOT / "docs" / "reference" / "protocol.md").read_text("utf-8")
    assert [member for member in kind if f"`{member.value}`" not in reference] == []


def test_every_notice_is_in_its_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "notices.md").read_text("utf-8")
    assert [kind for kind in KINDS | known_notices() if f"`{kind}`" not in reference] == []


def test_every_setting_is_in_its_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    read = set(re.findall(r'"((?:INSITU|PREFECT)_[A-Z_]*[A-Z])"', sources()))
    assert [name for name in sorted(read) if f"`{name}`" not in reference] == []


def test_every_message_in_the_table_of_errors_is_one_of_ours() -> None:
    page = (ROOT / "docs" / "how-to" / "when-something-goes-wrong.md").read_text("utf-8")
    messages = re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)
    pieces = [piece.strip() for message in messages for piece in message.split("…") if len(piece.strip()) > 3]
    assert len(messages) > 15
    assert [piece for piece in pieces if piece not in sources()] == []


@pytest.mark.parametrize("folder", ["notifications/templates", "flows/actions/templates"])
def test_every_template_is_there_in_french_and_in_english(folder: str) -> None:
    french, english = ({file.name for file in (ROOT / folder / locale).iterdir()} for locale in LOCALES)
    assert french == english != set()


# ------------------------------------------------------------------ what must not be in the repository


# In two halves, so that this file does not find itself.
HOSTS = [first + second for first, second in (("pypi", ".org"), ("pythonhosted", ".org"), ("conda.", "anaconda"))]
MACHINE = re.compile(r"(?<![\w.$/~-])/(?:work|home|root|Users)/[\w.-]+/")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_no_tracked_file_names_a_package_index_or_a_folder_of_one_machine() -> None:
    found = []
    for file in tracked():
        text = file.read_bytes().decode("utf-8", "ignore")
        found += [f"{name_of(file)}: {host}" for host in HOSTS if host in text]
        found += [f"{name_of(file)}: {path}" for path in MACHINE.findall(text)]
    assert found == []


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text("utf-8")))
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)}
    assert named
    assert named - there == set()
