"""A mail server of the demonstration's own: what is sent to it is kept as files, and goes no further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

HOST = "127.0.0.1"


class MailServer:
    """Takes every mail on a free port of this machine and keeps it in `folder`, one numbered file each. A context manager."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.count = folder, 0
        self._controller = Controller(self, hostname=HOST, port=port)

    @property
    def url(self) -> str:
        """The Apprise address that leads here."""
        return f"mailto://{HOST}:{self._controller.port}?from=insitu@example.org"

    def __enter__(self) -> MailServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Called by aiosmtpd with a whole mail."""
        self.count += 1
        (self.folder / f"{self.count:03}.eml").write_bytes(envelope.content)
        return "250 Kept"
