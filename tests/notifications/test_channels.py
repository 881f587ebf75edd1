"""Sending to real servers on this machine: which way was used, and why one failed."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from mail_server import Mailbox

from notifications.channels import Recipient, send
from notifications.render import Occasion, render
from protocols.errors import DeliveryFailed

MESSAGE = render(
    Occasion(
        "opened",
        "TELE-1",
        "https://insitu.example.org/checkpoints/TELE-1:ethics::1",
        step="Relecture à l’hôpital",
        site="CHU Caen (CAEN)",
        deadline=datetime(2026, 8, 1, 12, tzinfo=UTC),
    ),
    "fr",
)


ALICE = Recipient("Élodie Martin", "e.martin@example.org")


class Webhook(HTTPServer):
    """A web server that keeps what it was posted and answers with `status`."""

    status = 200

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Post)


class Post(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing on the console."""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    server = Webhook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_mail_has_text_and_html_in_french(mailbox: Mailbox) -> None:
    assert send(MESSAGE, ALICE, mailbox.url) == "email"
    [mail] = mailbox.mails
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert mailbox.recipients == ["e.martin@example.org"]
    assert mail["From"] == "insitu@example.org"
    assert mail["To"] == "Élodie Martin <e.martin@example.org>"
    assert mail["Subject"] == MESSAGE.subject
    assert html is not None
    assert html.get_content().split() == MESSAGE.html.split()
    assert text is not None
    for words in ("« Relecture à l’hôpital »", "https://insitu.example.org/checkpoints/TELE-1:ethics::1", "samedi 1er août 2026 à 14 h"):
        assert words in text.get_content()


@pytest.mark.parametrize("email", ["o'brien@example.org", "jeanne.d'arc+essai@example.org", "a@localhost", "x#y%z=1@ex-ample.org"])
def test_an_odd_address_gets_its_own_mail(mailbox: Mailbox, email: str) -> None:
    send(MESSAGE, replace(ALICE, name="Martin, Élodie <chef>", email=email), mailbox.url)
    assert mailbox.recipients == [email]


@pytest.mark.parametrize(
    "email",
    [
        "",
        "nobody",
        "a@b@c.org",
        "a@example.org, b@example.org",
        "a@example.org\r\nRCPT TO:<b@example.org>",
        "é@example.org",
        "a b@example.org",
    ],
)
def test_what_is_no_address_is_refused_for_good(mailbox: Mailbox, email: str) -> None:
    with pytest.raises(DeliveryFailed, match="is not a mail address") as failed:
        send(MESSAGE, replace(ALICE, email=email), mailbox.url)
    assert failed.value.permanent
    assert not mailbox.mails


@pytest.mark.parametrize(
    ("answers", "permanent", "said"),
    [
        ({"e.martin@example.org": "550 no such user"}, True, "refuses this address: 550 no such user"),
        ({"e.martin@example.org": "450 mailbox busy"}, False, "refuses this address: 450 mailbox busy"),
        ({"DATA": "554 looks like spam"}, True, "refuses this message: 554 looks like spam"),
        ({"DATA": "452 disk full"}, False, "refuses this message: 452 disk full"),
    ],
)
def test_the_servers_answer_says_whether_to_try_again(mailbox: Mailbox, answers: dict[str, str], permanent: bool, said: str) -> None:
    mailbox.answers = answers
    with pytest.raises(DeliveryFailed, match=said) as failed:
        send(MESSAGE, ALICE, mailbox.url)
    assert failed.value.permanent is permanent


@pytest.mark.parametrize(
    ("mail_url", "said"),
    [("", "set INSITU_MAIL_URL"), ("mailto://127.0.0.1", "cannot read INSITU_MAIL_URL"), ("nonsense", "cannot read INSITU_MAIL_URL")],
)
def test_a_mail_server_not_set_is_a_passing_failure(mail_url: str, said: str) -> None:
    with pytest.raises(DeliveryFailed, match=said) as failed:
        send(MESSAGE, ALICE, mail_url)
    assert not failed.value.permanent


def test_a_login_refused_is_ours_to_repair(mailbox: Mailbox) -> None:
    with pytest.raises(DeliveryFailed) as failed:
        send(MESSAGE, ALICE, f"mailto://user:hunter2@127.0.0.1:{mailbox.port}?from=insitu@example.org")
    assert not failed.value.permanent
    assert "hunter2" not in str(failed.value)


def test_a_server_that_is_away_is_a_passing_failure(mailbox: Mailbox) -> None:
    mailbox.stop()
    with pytest.raises(DeliveryFailed, match="Connection refused") as failed:
        send(MESSAGE, ALICE, mailbox.url)
    assert not failed.value.permanent


def test_ones_own_channel_comes_before_mail(mailbox: Mailbox, webhook: Webhook) -> None:
    assert send(MESSAGE, replace(ALICE, channels=[f"json://127.0.0.1:{webhook.server_port}/hook"]), mailbox.url) == "json"
    assert webhook.posted[0]["title"] == MESSAGE.subject
    assert webhook.posted[0]["message"].strip() == MESSAGE.text.strip()
    assert not mailbox.mails


@pytest.mark.parametrize("channel", ["nonsense://token@x", "json://127.0.0.1:{port}/token", "not an address"])
def test_mail_takes_over_when_a_channel_fails(mailbox: Mailbox, webhook: Webhook, channel: str) -> None:
    webhook.status = 500
    assert send(MESSAGE, replace(ALICE, channels=[channel.format(port=webhook.server_port)]), mailbox.url) == "email"


@pytest.mark.parametrize(("status", "permanent"), [(404, True), (403, True), (408, False), (429, False), (503, False)])
def test_a_failure_is_permanent_only_when_every_way_is(mailbox: Mailbox, webhook: Webhook, status: int, permanent: bool) -> None:
    webhook.status = status
    mailbox.answers = {"e.martin@example.org": "550 gone"}
    with pytest.raises(DeliveryFailed, match=f"json: HTTP status {status}; email: .*550 gone") as failed:
        send(MESSAGE, replace(ALICE, channels=[f"json://127.0.0.1:{webhook.server_port}/"]), mailbox.url)
    assert failed.value.permanent is permanent


@pytest.mark.parametrize("scheme", ["json", "nonsense"])
def test_a_channels_secret_is_never_told(mailbox: Mailbox, free_port: int, scheme: str) -> None:
    mailbox.stop()
    secret = f"{scheme}://bob:s3cret@127.0.0.1:{free_port}/s3cret/path?+Authorization=s3cret"
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(DeliveryFailed) as failed:
            send(MESSAGE, replace(ALICE, channels=[secret]), mailbox.url)
    finally:
        logging.getLogger().removeHandler(handler)
    assert "s3cret" not in str(failed.value) + logged.getvalue()


def test_failures_of_two_threads_are_not_mixed_up(mailbox: Mailbox) -> None:
    mailbox.answers = {f"p{number}@example.org": f"{450 + 100 * (number % 2)} number {number}" for number in range(8)}
    said: dict[int, DeliveryFailed] = {}

    def fail(number: int) -> None:
        try:
            send(MESSAGE, replace(ALICE, email=f"p{number}@example.org"), mailbox.url)
        except DeliveryFailed as failure:
            said[number] = failure

    threads = [threading.Thread(target=fail, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: (f"number {number}" in str(failure), failure.permanent) for number, failure in said.items()} == {
        number: (True, bool(number % 2)) for number in range(8)
    }
