"""kill -9 at random moments of launch, completion, signing, dispatch, projection and restart: nothing is lost, nothing happens twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash import House, until
from mail_server import Mailbox
from town import settle

from flows.server import PrefectServer
from sites import releases
from sites.clock import SystemClock
from sites.database import Database
from sites.settings import Settings

SEED = 20261122
AGREED_S = 30  # Prefect shows what the ledger says so soon after the last crash
CLIENTS = ["client-a", "client-b"]
MARCHING = Path(__file__).with_name("marching.yaml")


def house_on(database: Database, folder: Path, mailbox: Mailbox, server: PrefectServer | None, launches: int) -> House:
    settle(database)
    releases.add(database, MARCHING.read_text(encoding="utf-8"), SystemClock())
    settings = Settings(
        data=folder, database_url=database.url, mail_url=mailbox.url, prefect_api_url=server.api_url if server else "", locale="en"
    )
    return House(settings, database, mailbox, server, launches)


def crash(house: House, kills: dict[str, int]) -> None:
    """Let the house live through the kills, in an order drawn by lot, and finish its work."""
    chance = random.Random(SEED)
    victims = [name for name, times in kills.items() for _ in range(times)]
    chance.shuffle(victims)
    import time; t=time.time()
    house.crash(victims, chance)
    print('kills', time.time()-t); t=time.time()
    until(lambda: house.is_worked_off(len(CLIENTS)), 90, "every gate but the last is passed")
    print('rest', time.time()-t); t=time.time()
    house.let_mail_arrive()
    print('mail', time.time()-t); t=time.time()


@pytest.mark.journey
def test_nothing_is_lost_or_doubled_with_prefect(sqlite_database: Database, tmp_path: Path, mailbox: Mailbox, prefect: PrefectServer) -> None:
    house = house_on(sqlite_database, tmp_path, mailbox, prefect, launches=5)
    kills = {"client-a": 30, "client-b": 30, "dispatcher": 10, "timer": 5, "projector": 6, "worker": 2, "server": 2}
    with house.inhabited_by(*CLIENTS, "dispatcher", "timer", "projector", "worker"):
        crash(house, kills)
        import time; t=time.time()
        assert until(lambda: not house.disagreements(), AGREED_S), house.disagreements()
        print('agreed', time.time()-t)
        assert house.answer_every_open_gate() == len(house.experiments())
        house.let_mail_arrive()
        import time; t=time.time()
        assert until(lambda: not house.disagreements(), AGREED_S), house.disagreements()
        print('agreed', time.time()-t)
    assert house.check_commands(CLIENTS) > 100
    house.check_facts()
    print(house.kills, house.check_mail())


def test_nothing_is_lost_or_doubled_on_postgresql(postgresql_database: Database, tmp_path: Path, mailbox: Mailbox) -> None:
    house = house_on(postgresql_database, tmp_path, mailbox, None, launches=5)
    kills = {"client-a": 20, "client-b": 20, "dispatcher": 6, "timer": 4, "machine": 4}
    with house.inhabited_by(*CLIENTS, "dispatcher", "timer", "machine"):
        crash(house, kills)
        assert house.answer_every_open_gate() == len(house.experiments())
        house.let_mail_arrive()
    assert house.check_commands(CLIENTS) > 100
    house.check_facts()
    print(house.kills, house.check_mail())
