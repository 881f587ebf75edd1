"""Where this installation keeps things and how it reaches others: from the environment, with defaults for one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote


def sqlite_address(file: Path) -> str:
    """The address of an SQLite file, whatever characters its path has: `?`, `#` or `%` would mean something else as they are."""
    return f"sqlite:///{quote(str(file))}"


def without_password(url: str) -> str:
    """An address as it may be shown: whoever's name and password stand in it, before the “@”, is left out."""
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else url


# Services on the internet with an address of their own: none of them lets a person name a host for insitu to call.
CHANNELS = ("ntfys", "slack", "wxteams", "threema")


@dataclass(frozen=True, slots=True)
class Settings:
    """`database_url` is a SQLAlchemy address; `mail_url` an Apprise `mailto://` or `mailtos://` address without recipient, or "".

    `channels` are the schemes of Apprise that a person's channel may have; where a scheme leaves the host to whoever writes the
    address, the entry names it too: `ntfys://ntfy.example.org`, or `ntfys://*` for any.
    """

    data: Path
    database_url: str = field(repr=False)
    public_url: str = "http://127.0.0.1:8080"
    prefect_api_url: str = field(default="", repr=False)
    prefect_ui_url: str = ""
    mail_url: str = field(default="", repr=False)
    locale: str = "fr"
    key: str = field(default="", repr=False)
    channels: tuple[str, ...] = CHANNELS
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_name: str = "OpenID Connect"
    oidc_claim: str = "email"

    @property
    def has_provider(self) -> bool:
        """Whether people may come in by an OpenID provider."""
        return bool(self.oidc_issuer and self.oidc_client_id)

    @classmethod
    def load(cls, data: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings in force: `data` (else INSITU_HOME, else `~/.local/share/insitu`) and the INSITU_… variables."""
        given = os.environ if environment is None else environment
        home = (data or Path(given.get("INSITU_HOME") or Path.home() / ".local" / "share" / "insitu")).expanduser().resolve()
        api = given.get("PREFECT_API_URL", "")
        return cls(
            data=home,
            database_url=given.get("INSITU_DATABASE_URL") or sqlite_address(home / "insitu.db"),
            public_url=given.get("INSITU_PUBLIC_URL", "http://127.0.0.1:8080").rstrip("/"),
            prefect_api_url=api,
            prefect_ui_url=given.get("INSITU_PREFECT_UI_URL") or without_password(api.removesuffix("/api")),
            mail_url=given.get("INSITU_MAIL_URL", ""),
            locale=given.get("INSITU_LOCALE", "fr"),
            key=given.get("INSITU_KEY", ""),
            channels=tuple(given["INSITU_CHANNELS"].replace(",", " ").split()) if "INSITU_CHANNELS" in given else CHANNELS,
            oidc_issuer=given.get("INSITU_OIDC_ISSUER", ""),
            oidc_client_id=given.get("INSITU_OIDC_CLIENT_ID", ""),
            oidc_client_secret=given.get("INSITU_OIDC_CLIENT_SECRET", ""),
            oidc_name=given.get("INSITU_OIDC_NAME") or "OpenID Connect",
            oidc_claim=given.get("INSITU_OIDC_CLAIM") or "email",
        )
