"""Prefect's server, kept running."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from flows.client import Prefect
from flows.keeper import Keeper, Kept, News


def test_it_starts_on_another_port_when_its_own_was_taken_meanwhile(tmp_path: Path) -> None:
    heard: list[News] = []
    is_up, stop = threading.Event(), threading.Event()

    def tell(news: News) -> None:
        heard.append(news)
        if news.now is Kept.UP:
            is_up.set()

    with socket.socket() as rival:
        rival.bind(("127.0.0.1", 0))
        rival.listen()
        taken = rival.getsockname()[1]
        ports = [taken, 0]
        keeper = threading.Thread(target=Keeper(tmp_path, lambda: ports.pop(0), tell).run, args=(stop,))
        keeper.start()
        assert is_up.wait(200)
    prefect = Prefect(heard[-1].api_url)
    assert prefect.is_up()
    stop.set()
    keeper.join(60)
    assert not prefect.is_up()
    prefect.close()
    assert [news.now for news in heard] == [Kept.STARTING, Kept.STARTING, Kept.UP]
    assert str(taken) not in heard[-1].api_url
