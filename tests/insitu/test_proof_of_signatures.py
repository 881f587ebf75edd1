"""A signature is never put without its proof, whatever else is sent under the same key at the same moment; a repeat asks for none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from caller import Caller, kind_of
from small import SMALL
from sqlalchemy import event
from visit import doors_on

from insitu.entrance.doors import Doors
from sites import commands, releases
from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import AccessKind, entries
from sites.identity.accounts import create_account
from sites.identity.proofs import FAILURES

PASSWORD = "the words that only I know"
SIGNER = "ethics_officer"


@pytest.fixture
def doors(database: Database, clock: SetClock, registry: None) -> Doors:
    releases.add(database, SMALL, clock)
    with database.write() as connection:
        create_account(connection, SIGNER, PASSWORD, clock.now(), by="")
    return doors_on(database, clock)


@pytest.fixture
def signer(doors: Doors) -> Caller:
    return Caller(doors, SIGNER)


@pytest.fixture
def checkpoint(doors: Doors) -> str:
    """A checkpoint whose answers wait for the signer."""
    code = doors.ledger.launch("small", ["CAEN"], {"target": 10}, "project_manager")["code"]
    doors.ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    doors.ledger.complete(f"{code}:ethics::1", {"opinion": "yes"}, SIGNER)
    return f"{code}:ethics::1"


def id_of(key: str, person: str = SIGNER) -> str:
    """Under which id the ledger knows a person's key."""
    return "api:" + hashlib.sha256(f"{person}\0{key}".encode()).hexdigest()


def once_the_key_is_looked_for(database: Database, do: Callable[[], Any]) -> None:
    """Do something right after the first statement that looks for a key: what a request of another thread may do at that moment."""
    waiting = [do]

    def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if waiting and statement.startswith("SELECT command."):
            waiting.pop()()

    event.listen(database.engine, "after_cursor_execute", look)


def lock_out(signer: Caller, checkpoint: str) -> None:
    for _ in range(FAILURES):
        assert signer.post(f"/checkpoints/{checkpoint}/sign", {"password": "a guess"}).status_code == 403


def signatures(signer: Caller, checkpoint: str) -> list[str]:
    return [one["by"] for one in signer.ok(signer.get(f"/checkpoints/{checkpoint}"))["signatures"]]


def test_a_refused_request_under_the_same_key_lets_nobody_sign_without_a_proof(signer: Caller, checkpoint: str) -> None:
    lock_out(signer, checkpoint)
    doors = signer.doors
    commands.claim(doors.database, id_of("k1"), {"decline": checkpoint, "reason": "x"}, doors.clock.now())
    once_the_key_is_looked_for(doors.database, lambda: commands.give_back(doors.database, id_of("k1")))
    assert kind_of(signer.post(f"/checkpoints/{checkpoint}/sign", {}, key="k1")) == (403, "NotProven")
    assert signatures(signer, checkpoint) == []


@pytest.mark.parametrize("described", [{"decline": "x"}, {"sign": "{checkpoint}", "by": SIGNER, "meaning": None}])
def test_a_key_whose_write_has_not_ended_lets_nobody_sign(signer: Caller, checkpoint: str, described: dict[str, Any]) -> None:
    doors = signer.doors
    same = {name: value and value.format(checkpoint=checkpoint) for name, value in described.items()}
    commands.claim(doors.database, id_of("k1"), same, doors.clock.now())
    assert signer.post(f"/checkpoints/{checkpoint}/sign", {}, key="k1").status_code == 409
    assert signatures(signer, checkpoint) == []


def test_a_repeat_of_a_signature_is_answered_without_a_proof_even_on_a_locked_account(signer: Caller, checkpoint: str) -> None:
    first = signer.post(f"/checkpoints/{checkpoint}/sign", {"password": PASSWORD}, key="k1")
    lock_out(signer, checkpoint)
    again = signer.post(f"/checkpoints/{checkpoint}/sign", {}, key="k1")
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (200, first.json(), "true")
    assert signatures(signer, checkpoint) == [SIGNER]


def test_a_key_that_a_refused_request_had_is_not_called_a_repeat(signer: Caller, checkpoint: str) -> None:
    doors = signer.doors
    commands.claim(doors.database, id_of("k1"), {"decline": checkpoint, "reason": "x"}, doors.clock.now())
    once_the_key_is_looked_for(doors.database, lambda: commands.give_back(doors.database, id_of("k1")))
    signed = signer.post(f"/checkpoints/{checkpoint}/sign", {"password": PASSWORD}, key="k1")
    assert (signed.status_code, "idempotency-replayed" in signed.headers) == (200, False)


@pytest.mark.parametrize("kind", ["delegations", "trainings"])
def test_a_record_is_signed_with_its_proof_whatever_its_key_was_used_for(signer: Caller, checkpoint: str, kind: str) -> None:
    doors, code = signer.doors, checkpoint.partition(":")[0]
    manager = signer.as_("project_manager")
    with doors.database.write() as connection:
        create_account(connection, "principal_investigator", PASSWORD, doors.clock.now(), by="")
    about = {
        "delegations": {"person": "nurse.caen", "role": "site_coordinator", "site": "CAEN", "experiment": code, "from": "2026-03-02"},
        "trainings": {"person": "nurse.caen", "protocol": "small", "version": "1.0.0", "site": "CAEN", "on": "2026-03-01"},
    }[kind]
    number = manager.ok(manager.post(f"/{kind}", about))["id"]
    doctor = signer.as_("principal_investigator")
    key = id_of("k1", "principal_investigator")
    commands.claim(doors.database, key, {"decline": checkpoint, "reason": "x"}, doors.clock.now())
    once_the_key_is_looked_for(doors.database, lambda: commands.give_back(doors.database, key))
    assert kind_of(doctor.post(f"/{kind}/{number}/sign", {}, key="k1")) == (403, "NotProven")
    assert manager.ok(manager.get(f"/{kind}/{number}"))["signed_by"] == ""
    signed = doctor.ok(doctor.post(f"/{kind}/{number}/sign", {"password": PASSWORD}, key="k1"))
    assert doctor.ok(doctor.post(f"/{kind}/{number}/sign", {}, key="k1")) == signed
    failed = [one for one in entries(doors.database) if one["kind"] == AccessKind.SIGN_IN_FAILED]
    assert len(failed) == 1
