"""Whatever somebody changes in the database behind insitu's back, verifying finds it, and says it in words a person understands.

Each change is made by SQL in a transaction that is taken back at the end, on an installation where everything has happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import old_installation as old
import pytest
from sqlalchemy import Connection, select, update

from sites.anchors.keeper import Keeper
from sites.clock import SetClock
from sites.database import Database, table
from sites.journal import facts_of, row_hash
from sites.ledger import Ledger
from sites.releases import AlteredProtocol, read_plan
from sites.settings import Settings
from sites.tables import Experiment, FactRow, Release, Step
from sites.verification import verify, verify_in

HIP, HELD, TRIAGE, CLOSED = "TELEREHAB-HIP-1", "SWALLOWING-SENSOR-NURSING-HOME-1", "ED-TRIAGE-AI-1", "PRE-ADMISSION-ECONSENT-1"
NEW = "PRE-ADMISSION-ECONSENT-2"
TABLES_OF_EXPERIMENTS = (
    *("draft", "incident", "remark", "timer", "track", "tally", "past_round", "step", "fact", "experiment_site"),
    "notice",
)


@dataclass(frozen=True)
class Installation:
    """The old installation, anchored, lived in for a day more, and anchored again."""

    database: Database
    settings: Settings


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("tampering")
    if request.param == "sqlite":
        database = old.unpack_sqlite(folder / "insitu.db")
    else:
        postgres = request.getfixturevalue("postgres")
        database = old.unpack_postgresql(postgres.url(postgres.empty()))
    database.migrate()
    settings = Settings(folder, database.url, anchors=folder / "anchors")
    clock = SetClock(datetime(2026, 12, 1, 9, tzinfo=UTC))
    keeper, ledger = Keeper(database, clock, settings), Ledger(database, clock)
    keeper.anchor()
    clock.advance(timedelta(days=1))
    code = ledger.launch("pre-admission-econsent", ["CAEN"], {"involves_vulnerable_adults": False}, "second.manager")["code"]
    assert code == NEW
    ledger.complete(f"{NEW}:data_protection::1", {"notice_approved": True}, "data_protection_officer")
    keeper.anchor()
    yield Installation(database, settings)
    database.dispose()


class TakenBack(Exception):
    """Ends a transaction without a trace."""


def found_by(connection: Connection, installation: Installation, *, anchors: bool = True) -> dict[str, Any]:
    return verify_in(connection, anchors=installation.settings.anchors if anchors else None, data=installation.settings.data)


def after(installation: Installation, change: Callable[[Connection], Any], *, anchors: bool = True) -> dict[str, Any]:
    """What verifying finds once somebody has made a change, which is taken back."""
    found: dict[str, Any] = {}
    with suppress(TakenBack), installation.database.write() as connection:
        change(connection)
        found = found_by(connection, installation, anchors=anchors)
        raise TakenBack
    return found


def test_what_nobody_touched_verifies(installation: Installation) -> None:
    found = verify(installation.database, anchors=installation.settings.anchors, data=installation.settings.data)
    assert (found["ok"], found["first_bad"], found["findings"]) == (True, None, [])
    assert (found["experiments"], found["documents"], found["protocols"]) == (7, 10, 5)
    assert (found["anchors"]["lines"], found["anchors"]["last"]["date"]) == (2, "2026-12-02")
    assert verify(installation.database, HIP, anchors=installation.settings.anchors)["ok"]


def of(code: str, where: str = "") -> str:
    return f"experiment_id = (SELECT id FROM experiment WHERE code = '{code}')" + (f" AND {where}" if where else "")


def step(changes: str, name: str, code: str = HIP, site: str = "") -> str:
    return alter("step", changes, code, f"step = '{name}' AND site = '{site}'")


def alter(what: str, changes: str, code: str, where: str = "") -> str:
    return f"UPDATE {what} SET {changes} WHERE {of(code, where)}"


def take(what: str, code: str, where: str = "") -> str:
    return f"DELETE FROM {what} WHERE {of(code, where)}"


def experiment(changes: str, code: str = HIP) -> str:
    return f"UPDATE experiment SET {changes} WHERE code = '{code}'"


def whole(code: str) -> list[str]:
    """An experiment and every row that hangs on it, taken out."""
    delivered = f"DELETE FROM delivery WHERE notice_id IN (SELECT id FROM notice WHERE {of(code)})"
    return [delivered, *(take(name, code) for name in TABLES_OF_EXPERIMENTS), f"DELETE FROM experiment WHERE code = '{code}'"]


SIGNERS = '[{"by":"sponsor","role":"ethics_officer","at":"2026-03-01T10:00:00+00:00","meaning":"Seen","answers_hash":"0"}]'
REVIEW = '{"synopsis_version":"1","sample_size_justified":1}'

REPLACED = """
UPDATE document SET content = (SELECT content FROM document WHERE name = 'PRE-ADMISSION-ECONSENT-1-evaluation-report-1.html')
WHERE name = 'avis-cpp.pdf'"""

# What is done; where it must be named (experiment, step, site), and words that must be said.
CHANGES: dict[str, tuple[list[str], tuple[str, str, str], str]] = {
    # the present state that lists and gates read
    "a forged passed": (
        [step("status = 'passed', awaits = '', awaits_role = ''", "baseline", site="CAEN")],
        (HIP, "baseline", "CAEN"),
        "kept as passed, its facts give open",
    ),
    "a gate taken back": ([step("status = 'open'", "ethics")], (HIP, "ethics", ""), "kept as open, its facts give passed"),
    "other answers": (
        [step("""answers = '{"screened":70,"included":60,"consents_checked":true}'""", "baseline", site="CAEN")],
        (HIP, "baseline", "CAEN"),
        "answers are not those that were completed",
    ),
    "a yes that is a one": ([step(f"answers = '{REVIEW}'", "protocol_review")], (HIP, "protocol_review", ""), "answers are not"),
    "no answers any more": ([step("answers = NULL", "protocol_review")], (HIP, "protocol_review", ""), "answers are not"),
    "another signer": ([step(f"signatures = '{SIGNERS}'", "ethics")], (HIP, "ethics", ""), "signatures are not those that were given"),
    "a signature taken away": ([step("signatures = '[]'", "data_protection")], (HIP, "data_protection", ""), "signatures are not"),
    "another who completed": ([step("completed_by = 'sponsor'", "ethics")], (HIP, "ethics", ""), "`completed_by` is not"),
    "a later deadline": (
        [step("due_at = '2028-01-01 00:00:00.000000'", "site_agreement", site="METZ")],
        (HIP, "site_agreement", "METZ"),
        "deadline is kept as 202",
    ),
    "nothing is late": ([step("overdue = false", "site_agreement", site="METZ")], (HIP, "site_agreement", "METZ"), "`overdue` is not"),
    "an earlier round": ([step("round = 1", "ethics")], (HIP, "ethics", ""), "`round` is not"),
    "asked of another role": (
        [step("awaits_role = 'sponsor'", "baseline", site="CAEN")],
        (HIP, "baseline", "CAEN"),
        "`awaits_role` is not",
    ),
    "another result of an action": (
        [step("results = '[]'", "onboarding", site="CAEN")],
        (HIP, "onboarding", "CAEN"),
        "results of its actions",
    ),
    "why it was skipped": ([step("why = 'because'", "cnil_authorisation")], (HIP, "cnil_authorisation", ""), "`why` is not"),
    "a step that is gone": ([take("step", HIP, "step = 'ethics'")], (HIP, "ethics", ""), "present state is missing"),
    "a step from nowhere": (
        [
            "INSERT INTO step (experiment_id, site, step, round, status, overdue, awaits, awaits_role, actions_done, results, leads_to, "
            "completed_by, signatures, why, version) SELECT id, '', 'closure', 1, 'passed', false, '', '', 0, '[]', '', '', '[]', '', 1 "
            f"FROM experiment WHERE code = '{HIP}'"
        ],
        (HIP, "closure", ""),
        "no fact tells of it",
    ),
    "other answers in a past round": (
        [alter("past_round", """snapshot = '{"answers":{}}'""", HIP, "step = 'ethics'")],
        (HIP, "ethics", ""),
        "earlier round is not as its facts give it",
    ),
    "a past round that is gone": ([take("past_round", HIP, "step = 'ethics'")], (HIP, "ethics", ""), "earlier round is missing"),
    "an experiment that goes on": (
        [experiment("state = 'running', held_at = NULL", HELD)],
        (HELD, "", ""),
        "`state` running, its facts give on_hold",
    ),
    "another launch": ([experiment("""launch = '{"target_participants":9}'""")], (HIP, "", ""), "`launch`"),
    "another title": ([experiment("title = 'Something else'")], (HIP, "", ""), "`title` Something else"),
    "another launcher": ([experiment("launched_by = 'sponsor'")], (HIP, "", ""), "`launched_by` sponsor, its facts give project_manager"),
    "fewer steps to go": ([experiment("pending = 1")], (HIP, "", ""), "`pending` 1"),
    "a site that stays": (
        [alter("experiment_site", "state = 'active'", HELD, "site = 'METZ'")],
        (HELD, "", "METZ"),
        "`state` active, the facts give stopped",
    ),
    "a site of another name": ([alter("experiment_site", "name = 'Clinique'", HIP, "site = 'METZ'")], (HIP, "", "METZ"), "`name` Clinique"),
    "a site that is gone": ([take("experiment_site", CLOSED, "site = 'VIRE'")], (CLOSED, "", "VIRE"), "site VIRE is missing"),
    "more sites done": ([alter("tally", "through = 2", HIP, "step = 'follow_up'")], (HIP, "follow_up", ""), "counted as done at 2 sites"),
    "another question": ([alter("remark", "text = 'Nothing'", HIP)], (HIP, "baseline", "CAEN"), "is not what was said"),
    "a question that is gone": ([take("remark", TRIAGE)], (TRIAGE, "retro_validation", ""), "remark 2 is missing"),
    "a deadline nobody watches": (
        [take("timer", NEW, "step = 'accessibility'")],
        (NEW, "accessibility", ""),
        "no timer watches its deadline",
    ),
    # the journal
    "other words in a fact": (
        [alter("fact", "data = replace(data, 'favourable', 'unfavourable')", HIP, "kind = 'CheckpointCompleted'")],
        (HIP, "", ""),
        "content does not match its hash",
    ),
    "a fact that is gone": ([take("fact", HIP, "seq = 9")], (HIP, "", ""), "fact 9 is missing"),
    "the last fact is gone": (
        [take("fact", TRIAGE, "seq = (SELECT max(seq) FROM fact AS last WHERE last.experiment_id = fact.experiment_id)")],
        (TRIAGE, "", ""),
        "the journal ends at",
    ),
    "a tail cut, with seq and head set back": (
        [
            take("fact", CLOSED, "seq > 35"),
            experiment("seq = 35, head = (SELECT hash FROM fact WHERE experiment_id = experiment.id AND seq = 35)", CLOSED),
        ],
        (CLOSED, "", ""),
        "`state` closed, its facts give running",
    ),
    "more shown than there is": ([experiment("projected_seq = 999")], (HIP, "", ""), "Prefect was shown 999 facts"),
    # what is kept whole
    "another condition in a protocol": (
        ["UPDATE protocol SET content = replace(content, 'answers.included >= 1', 'answers.included >= 0') WHERE id = 'telerehab-hip'"],
        ("", "", ""),
        "protocol telerehab-hip 1.1.0 was changed",
    ),
    "another text of a protocol": (
        ["UPDATE protocol SET source = replace(source, 'answers.included >= 1', 'answers.included >= 0') WHERE id = 'telerehab-hip'"],
        ("", "", ""),
        "its text as added is another protocol's",
    ),
    "another version of a protocol": (
        ["UPDATE protocol SET version = '9.0.0' WHERE id = 'telerehab-hip'"],
        ("", "", ""),
        "protocol telerehab-hip 9.0.0 holds the content of telerehab-hip 1.1.0",
    ),
    "an experiment under another protocol": (
        [experiment("protocol = (SELECT hash FROM protocol WHERE id = 'ed-triage-ai')")],
        (HIP, "", ""),
        "decided under another protocol",
    ),
    "an experiment of another version": ([experiment("version = '9.0.0'")], (HIP, "", ""), "names the protocol telerehab-hip 9.0.0"),
    "a replaced document": (
        [REPLACED],
        ("", "", ""),
        "document “avis-cpp.pdf”",
    ),
    "a document that is gone": (
        ["DELETE FROM document WHERE name = 'TELEREHAB-HIP-1-CAEN-site-pack-1.html'"],
        (HIP, "onboarding", "CAEN"),
        "its document “TELEREHAB-HIP-1-CAEN-site-pack-1.html”",
    ),
    "an attached letter that is gone": (
        ["DELETE FROM document WHERE name = 'avis-cpp.pdf'"],
        (HIP, "ethics", ""),
        "its document “avis-cpp.pdf”",
    ),
    # whole experiments
    "an experiment that is gone": (
        whole(HIP),
        (HIP, "", ""),
        "the experiment is gone",
    ),
    "the newest experiment is gone": (
        whole(NEW),
        (NEW, "", ""),
        "the experiment is gone; entry 7 of the register",
    ),
    "an experiment of another code": ([experiment("code = 'X-1'", CLOSED)], ("X-1", "", ""), "content does not match its hash"),
    "another code in the register": (
        [f"UPDATE register SET code = 'X-9' WHERE code = '{CLOSED}'"],
        ("", "", ""),
        "entry 2 of the register of experiments was changed",
    ),
    "an entry of the register that is gone": (
        [f"DELETE FROM register WHERE code = '{CLOSED}'"],
        ("", "", ""),
        "entry 2 of the register of experiments is missing",
    ),
    "an experiment that nobody launched": (
        [f"DELETE FROM register WHERE code = '{NEW}'"],
        (NEW, "", ""),
        "no entry of the register of experiments tells of its launch",
    ),
    # who may do what
    "another entry of the access journal": (
        ["UPDATE access SET by = 'sponsor' WHERE seq = 12"],
        ("", "", ""),
        "entry 12 of the access journal was changed",
    ),
    "an entry that is gone": (["DELETE FROM access WHERE seq = 12"], ("", "", ""), "entry 12 of the access journal is missing"),
    "the last entries are gone": (["DELETE FROM access WHERE seq > 30"], ("", "", ""), "access journal"),
    "no access journal any more": (["DELETE FROM access"], ("", "", ""), "is told by no entry of the access journal"),
    "another who signed a delegation": (
        ["UPDATE delegation SET signed_by = 'sponsor' WHERE id = 1"],
        ("", "", ""),
        "delegation 1 has `signed_by` 'sponsor', the access journal tells 'project_manager'",
    ),
    "a delegation at another site": (["UPDATE delegation SET site = 'VIRE' WHERE id = 1"], ("", "", ""), "delegation 1 has `site` 'VIRE'"),
    "a delegation that has not ended": (
        ["UPDATE delegation SET ended_on = NULL WHERE id = 5"],
        ("", "", ""),
        "delegation 5 has `ended_on` ''",
    ),
    "a delegation from nowhere": (
        [
            "INSERT INTO delegation (id, person, role, site, experiment, from_date, evidence, recorded_by, recorded_at, signed_by, "
            "signed_role, meaning, ended_by, ended_why) SELECT 999, 'sponsor', role, site, experiment, from_date, evidence, recorded_by, "
            "recorded_at, signed_by, signed_role, meaning, ended_by, ended_why FROM delegation WHERE id = 1"
        ],
        ("", "", ""),
        "delegation 999 is told by no entry",
    ),
    "a delegation that is gone": (["DELETE FROM delegation WHERE id = 1"], ("", "", ""), "delegation 1 is missing"),
    "a training signed by SQL": (
        ["UPDATE training SET signed_by = 'project_manager', signed_at = '2026-08-04 09:00:00.000000' WHERE signed_at IS NULL"],
        ("", "", ""),
        "training 5 has `signed_by` 'project_manager'",
    ),
    "a conflict of interest withdrawn by SQL": (
        ["UPDATE conflict SET withdrawn_by = 'sponsor', withdrawn_at = '2026-08-04 09:00:00.000000'"],
        ("", "", ""),
        "conflict of interest 1 has `withdrawn_by` 'sponsor'",
    ),
    "a deputy for longer": (["UPDATE deputy SET until_date = '2027-07-01'"], ("", "", ""), "deputy 1 has `until_date` '2027-07-01'"),
    "an emergency look that is gone": (["DELETE FROM broken_glass"], ("", "", ""), "emergency look 1 is missing"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_behind_the_ledgers_back_is_named(installation: Installation, name: str) -> None:
    statements, place, words = CHANGES[name]

    def change(connection: Connection) -> None:
        assert [one for one in statements if connection.exec_driver_sql(one).rowcount < 1 and "DELETE" not in one] == []

    found = after(installation, change)
    said = [(one["experiment"], one.get("step", ""), one.get("site", ""), one["why"]) for one in found["findings"]]
    assert not found["ok"]
    assert found["first_bad"] == found["findings"][0]
    assert any(where == place and words in why for *where_, why in said if (where := tuple(where_))), said


# ------------------------------------------------------------------ what only the anchors see


BYTES = {
    "a fact of bytes": "UPDATE fact SET data = x'fffe' WHERE seq = 3",
    "an entry of bytes": "UPDATE access SET data = x'fffe' WHERE seq = 3",
    "a protocol of bytes": "UPDATE protocol SET content = x'fffe'",
    "a title of bytes": "UPDATE experiment SET title = x'fffe'",
    "a step of bytes": "UPDATE step SET awaits = x'fffe'",
    "an earlier round of a word": "UPDATE past_round SET round = 'x'",
    "a count that is a word": "UPDATE experiment SET projected_seq = 'x'",
}


@pytest.mark.parametrize("name", BYTES)
def test_what_only_sqlite_lets_stand_in_a_column_is_a_finding_too(installation: Installation, name: str) -> None:
    if installation.database.file is None:
        pytest.skip("PostgreSQL lets nothing else than text stand in a text")
    found = after(installation, lambda connection: connection.exec_driver_sql(BYTES[name]))
    assert not found["ok"]
    assert found["experiments"] == 7, "the others are looked at all the same"


def cut_the_tail(connection: Connection) -> None:
    """The last fact told of an emergency look, and changed nothing else: it goes, and nothing is left that contradicts."""
    fact, experiment = table(FactRow), table(Experiment)
    row = connection.execute(select(experiment).where(experiment.c.code == HIP)).mappings().one()
    last = list(facts_of(connection, row["id"]))[-2]
    assert connection.execute(fact.delete().where(fact.c.experiment_id == row["id"], fact.c.seq == row["seq"])).rowcount == 1
    set_back = {"seq": last["seq"], "head": last["hash"], "changed_at": last["at"], "projected_seq": 0}
    connection.execute(update(experiment).where(experiment.c.code == HIP).values(set_back))


def write_anew(connection: Connection) -> None:
    """Other answers in a fact, in the state it gives, and in every hash from there on."""
    fact, experiment, kept = table(FactRow), table(Experiment), table(Step)
    row = connection.execute(select(experiment).where(experiment.c.code == HIP)).mappings().one()
    head = ""
    for one in list(facts_of(connection, row["id"])):
        data = one["data"]
        if (one["kind"], one["step"]) == ("CheckpointCompleted", "baseline"):
            data = data.replace('"screened":70', '"screened":700')
            answers = {"screened": 700, "included": 0, "consents_checked": True}
            baseline = (kept.c.experiment_id == row["id"], kept.c.step == "baseline", kept.c.site == "CAEN")
            connection.execute(update(kept).where(*baseline).values(answers=answers))
        forged = one | {"data": data, "previous": head}
        forged["hash"] = head = row_hash(HIP, forged)
        place = (fact.c.experiment_id == row["id"], fact.c.seq == one["seq"])
        connection.execute(update(fact).where(*place).values(data=data, previous=forged["previous"], hash=head))
    assert head != row["head"]
    connection.execute(update(experiment).where(experiment.c.code == HIP).values(head=head))


def take_the_newest(connection: Connection) -> None:
    """The newest experiment, with its entry of the register."""
    for statement in [*whole(NEW), f"DELETE FROM register WHERE code = '{NEW}'"]:
        connection.exec_driver_sql(statement)


ANCHORED: dict[str, tuple[Callable[[Connection], None], str, str]] = {
    "a tail cut clean": (
        cut_the_tail,
        HIP,
        "holds the journal of TELEREHAB-HIP-1 up to number 54; that row is gone",
    ),
    "a journal written anew": (write_anew, HIP, "another row stands there: the journal was written anew"),
    "an experiment and its traces": (
        take_the_newest,
        NEW,
        "the experiment is gone",
    ),
}


@pytest.mark.parametrize("name", ANCHORED)
def test_what_was_made_to_fit_is_found_by_the_anchors_and_by_nothing_else(installation: Installation, name: str) -> None:
    change, code, words = ANCHORED[name]
    found = after(installation, change)
    assert [(one["experiment"], words in one["why"]) for one in found["findings"] if one["experiment"]] == [(code, True)]
    assert after(installation, change, anchors=False)["ok"], "the limit that docs/security.md tells of"


def test_an_altered_protocol_decides_nothing(installation: Installation) -> None:
    """Whatever a process has compiled before stays; one that starts now refuses."""

    def change(connection: Connection) -> None:
        forged = (
            "UPDATE protocol SET content = replace(content, 'answers.included >= 1', 'answers.included >= 0') WHERE id = 'telerehab-hip'"
        )
        connection.exec_driver_sql(forged)
        with pytest.raises(AlteredProtocol, match="nothing is decided on it"):
            read_plan(connection, select_hash(connection, "telerehab-hip"))

    assert not after(installation, change)["ok"]


def select_hash(connection: Connection, protocol: str) -> str:
    release = table(Release)
    return str(connection.execute(select(release.c.hash).where(release.c.id == protocol)).scalar_one())
