"""The programs that run until they are told to stop, as real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from keyboard import Terminal
from sqlalchemy import make_url

from insitu import services
from insitu.demo.mail import MailServer
from protocols.errors import InsituError


@contextmanager
def running(home: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A program of insitu's; it must end well within its time when it is told to."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INSITU_", "PREFECT_"))}
    command = [sys.executable, "-c", "from insitu.cli import main; main()", *words, "--data", str(home)]
    env = clean | {"INSITU_LOCALE": "en"} | environment
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=hear_of_the_terminal
    ) as program:
        try:
            yield program
        finally:
            if program.poll() is None:
                program.kill()


def hear_of_the_terminal() -> None:
    """As in a terminal, even where these tests run under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def first_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline()


def told_to_stop(program: subprocess.Popen[str], how: signal.Signals) -> tuple[int, str]:
    program.send_signal(how)
    _, errors = program.communicate(timeout=60)
    return program.returncode, errors


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_answers_on_a_free_port_until_told_to_stop(terminal: Terminal, how: signal.Signals) -> None:
    with running(terminal.data, "serve", "--port", "0") as program:
        found = re.search(r"http://\S+", first_line(program))
        assert found is not None
        answer = httpx.get(f"{found[0]}/api/v1/health", trust_env=False)
        assert (answer.status_code, answer.json()["database"]) == (200, True)
        assert told_to_stop(program, how) == (0, "")


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with services.until_told_to_stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(30)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_link_leads_to_the_port_that_is_served(terminal: Terminal) -> None:
    """What serve prints, a calendar's address on its pages, and what another command prints meanwhile and afterwards."""
    with running(terminal.data, "serve", "--port", "0") as program:
        found = re.search(r"http://\S+", first_line(program))
        assert found is not None
        invited = terminal.type("account", "invite", "m.leroy", "--as", "b.petit").out.splitlines()[-1]
        assert invited.startswith(f"{found[0]}/")
        with httpx.Client(base_url=found[0], trust_env=False) as browser:
            chosen = {"password": "the tram stops at seven", "password_again": "the tram stops at seven"}
            browser.post(invited, data=chosen | {"csrf": csrf_in(browser.get(invited).text)})
            asked = browser.post("/account/calendar", data={"csrf": csrf_in(browser.get("/account/calendar").text)}, follow_redirects=True)
        assert re.findall(r'value="(http://[^/]+)/calendar/', asked.text) == [found[0]]
        told_to_stop(program, signal.SIGINT)
    assert terminal.type("account", "recover", "m.leroy", "--as", "b.petit").out.splitlines()[-1].startswith(found[0])


def csrf_in(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def test_prefects_password_is_printed_for_a_server_of_ours_alone(terminal: Terminal) -> None:
    with running(terminal.data, "prefect", "password") as program:
        said, _ = program.communicate(timeout=60)
    assert said.strip() == (terminal.data / "prefect" / "server" / "password").read_text()
    with running(terminal.data, "prefect", "password", PREFECT_API_URL="http://prefect.example.org/api") as program:
        said, errors = program.communicate(timeout=60)
    assert (program.returncode, said, "Whoever runs it" in errors) == (2, "", True)


def test_a_public_address_without_its_scheme_starts_nothing(terminal: Terminal) -> None:
    with running(terminal.data, "serve", "--port", "0", INSITU_PUBLIC_URL="insitu.example.org") as program:
        said, errors = program.communicate(timeout=60)
    assert (program.returncode, said, "INSITU_PUBLIC_URL" in errors, errors.count("\n")) == (2, "", True, 1)


def test_a_backup_is_not_restored_while_the_pages_are_served(terminal: Terminal, tmp_path: Path) -> None:
    terminal.json("backup", str(tmp_path / "monday.zip"))
    with running(terminal.data, "serve", "--port", "0") as program:
        assert first_line(program)
        refused = terminal.type("restore", str(tmp_path / "monday.zip"), "--replace")
        assert (refused.status, "is at work" in refused.err) == (3, True)
        told_to_stop(program, signal.SIGTERM)
    assert terminal.type("restore", str(tmp_path / "monday.zip"), "--replace").status == 0
    over = terminal.type("backup", str(terminal.data / "insitu.db"))
    assert (over.status, "choose another name" in over.err) == (2, True)


@contextmanager
def passed_on(file: str, at: int) -> Iterator[None]:
    """A server's socket, reachable at a port while the block runs."""
    with socket.create_server(("127.0.0.1", at)) as door:

        def accept() -> None:
            while True:
                try:
                    near, _ = door.accept()
                except OSError:
                    return
                far = socket.socket(socket.AF_UNIX)
                far.connect(file)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=(one, other), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield


def pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while got := one.recv(65536):
            other.sendall(got)
        other.shutdown(socket.SHUT_WR)


def test_serve_started_before_its_database_waits_and_says_so(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    from flows.server import free_port

    postgres = request.getfixturevalue("postgres")
    real, port = make_url(postgres.url(postgres.fresh())), free_port()
    url = real.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    with running(tmp_path, "serve", "--port", "0", INSITU_DATABASE_URL=url) as program:
        assert "insitu waits up to 120 s" in first_line(program)
        with passed_on(f"{real.query['host']}/.s.PGSQL.{real.port or 5432}", port):
            assert "Pages: http://" in first_line(program)
            assert told_to_stop(program, signal.SIGTERM)[0] == 0


def test_what_does_not_pass_by_itself_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "insitu.db").write_text("Not a database at all, but long enough to look like something. " * 20)
    with running(tmp_path, "dispatch") as program:
        _, errors = program.communicate(timeout=60)
    assert (program.returncode, "not one of insitu's" in errors) == (1, True)


def test_a_taken_port_is_reported(terminal: Terminal) -> None:
    with services.listening("127.0.0.1", 0) as door:
        port = str(door.getsockname()[1])
        said = terminal.type("serve", "--port", port)
    assert said.status == 1
    assert said.err == f"Port {port} on 127.0.0.1 is taken by another program. Choose another with --port, or --port 0 for a free one.\n"


def test_a_data_folder_is_up_once(tmp_path: Path) -> None:
    with services.alone_in(tmp_path), pytest.raises(InsituError, match="already up"), services.alone_in(tmp_path):
        pass
    with services.alone_in(tmp_path):
        pass


def test_dispatch_sends_what_is_owed_and_the_log_says_so(terminal: Terminal, tmp_path: Path) -> None:
    arrived = threading.Event()

    class Box(MailServer):
        async def handle_DATA(self, *given: object) -> str:
            answer = await super().handle_DATA(*given)
            arrived.set()
            return answer

    from flows.server import free_port

    with Box(tmp_path / "mail", free_port()) as box, running(terminal.data, "dispatch", INSITU_MAIL_URL=box.url) as program:
        code = terminal.launch()
        assert arrived.wait(60)
        assert told_to_stop(program, signal.SIGINT) == (0, "")
    (sent,) = terminal.json("notices", code)
    assert (sent["person"], sent["kind"], sent["state"], sent["channel"]) == ("m.leroy", "opened", "sent", "email")
    mail = (tmp_path / "mail" / "001.eml").read_text()
    assert "m.leroy@example.org" in mail
    assert "m.leroy" in terminal.type("notices").out
