"""A real mail server on a free port, which remembers what it took and refuses what it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """What the server took, oldest first; `answers` gives an address another reply than 250."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.recipients: list[str] = []
        self.mails: list[EmailMessage] = []
        self.answers: dict[str, str] = {}
        self.when_mail_comes: Callable[[], object] = lambda: None
        self.arrived = threading.Semaphore(0)
        self._controller: Controller | None = None

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=insitu@example.org"

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[Any]) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.answers:
            return self.answers["DATA"]
        mail = message_from_bytes(bytes(envelope.content or b""), policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients += envelope.rcpt_tos
        self.arrived.release()
        await asyncio.get_running_loop().run_in_executor(None, self.when_mail_comes)
        return "250 OK"
