"""Where this installation keeps things and how it reaches others: from the environment, with defaults for one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import quote, urlsplit

from protocols.errors import InvalidInput

Network = IPv4Network | IPv6Network


def sqlite_address(file: Path) -> str:
    """The address of an SQLite file, whatever characters its path has: `?`, `#` or `%` would mean something else as they are."""
    return f"sqlite:///{quote(str(file))}"


def without_password(url: str) -> str:
    """An address as it may be shown: whoever's name and password stand in it, before the “@”, is left out."""
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else url


# Services on the internet with an address of their own: none of them lets a person name a host for insitu to call.
CHANNELS = ("ntfys", "slack", "wxteams", "threema")
PUBLIC_URL = "http://127.0.0.1:8080"
ADDRESS_FILE = "address"  # where `insitu up` or `insitu serve` last listened


@dataclass(frozen=True, slots=True)
class Settings:
    """`database_url` is a SQLAlchemy address; `mail_url` an Apprise `mailto://` or `mailtos://` address without recipient, or "".

    `channels` are the schemes of Apprise that a person's channel may have; where a scheme leaves the host to whoever writes the
    address, the entry names it too: `ntfys://ntfy.example.org`, or `ntfys://*` for any. `anchors` is the folder of the anchors, None where
    another machine keeps them; `anchor_mail_to` the people they are mailed to.
    `trusted_proxies` are the networks whose word is taken for where a request comes from.
    """

    data: Path
    database_url: str = field(repr=False)
    public_url: str = PUBLIC_URL
    prefect_api_url: str = field(default="", repr=False)
    prefect_ui_url: str = ""
    mail_url: str = field(default="", repr=False)
    locale: str = "fr"
    key: str = field(default="", repr=False)
    channels: tuple[str, ...] = CHANNELS
    anchors: Path | None = None
    anchor_mail_to: tuple[str, ...] = ()
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_name: str = "OpenID Connect"
    oidc_claim: str = "email"
    oidc_scopes: tuple[str, ...] = ("openid", "email")
    oidc_acr_values: tuple[str, ...] = ()
    oidc_metadata_url: str = ""
    trusted_proxies: tuple[Network, ...] = ()

    @property
    def has_provider(self) -> bool:
        """Whether people may come in by an OpenID provider."""
        return bool(self.oidc_issuer and self.oidc_client_id)

    @classmethod
    def load(cls, data: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings in force: `data` (else INSITU_HOME, else `~/.local/share/insitu`) and the INSITU_… variables.

        Raises InvalidInput for an address that leads nowhere, by the name of its variable.
        """
        given = os.environ if environment is None else environment
        home = (data or Path(given.get("INSITU_HOME") or Path.home() / ".local" / "share" / "insitu")).expanduser().resolve()
        api = _web_address(given, "PREFECT_API_URL")
        return cls(
            data=home,
            database_url=given.get("INSITU_DATABASE_URL") or sqlite_address(home / "insitu.db"),
            public_url=_web_address(given, "INSITU_PUBLIC_URL", may_have_path=False) or _last_served(home) or PUBLIC_URL,
            prefect_api_url=api,
            prefect_ui_url=_web_address(given, "INSITU_PREFECT_UI_URL") or without_password(api.removesuffix("/api")),
            mail_url=given.get("INSITU_MAIL_URL", ""),
            locale=given.get("INSITU_LOCALE", "fr"),
            key=given.get("INSITU_KEY", ""),
            anchors=_anchors(given.get("INSITU_ANCHORS", "").strip(), home),
            anchor_mail_to=_words(given.get("INSITU_ANCHOR_MAIL_TO", "")),
            channels=_words(given["INSITU_CHANNELS"]) if "INSITU_CHANNELS" in given else CHANNELS,
            oidc_issuer=given.get("INSITU_OIDC_ISSUER", ""),
            oidc_client_id=given.get("INSITU_OIDC_CLIENT_ID", ""),
            oidc_client_secret=given.get("INSITU_OIDC_CLIENT_SECRET", ""),
            oidc_name=given.get("INSITU_OIDC_NAME") or "OpenID Connect",
            oidc_claim=given.get("INSITU_OIDC_CLAIM") or "email",
            oidc_scopes=_words(given.get("INSITU_OIDC_SCOPES", "")) or ("openid", "email"),
            oidc_acr_values=_words(given.get("INSITU_OIDC_ACR_VALUES", "")),
            oidc_metadata_url=given.get("INSITU_OIDC_METADATA_URL", ""),
            trusted_proxies=_networks(given, "INSITU_TRUSTED_PROXIES"),
        )

    def remember_public_url(self) -> None:
        """Let later commands on this data folder make their links with this address."""
        with suppress(OSError):  # their links are then those of the address before
            (self.data / ADDRESS_FILE).write_text(self.public_url, "ascii")


def _last_served(home: Path) -> str:
    try:
        found = (home / ADDRESS_FILE).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return found if _is_web_address(found, may_have_path=False) else ""


def _web_address(given: Mapping[str, str], variable: str, may_have_path: bool = True) -> str:
    """The variable's value without a slash at its end, "" when it is not set. Raises InvalidInput."""
    text = given.get(variable, "").strip().rstrip("/")
    if text and not _is_web_address(text, may_have_path):
        example = "https://prefect.example.org" if "PREFECT" in variable else "https://insitu.example.org"
        path = "" if may_have_path else " and no path"
        raise InvalidInput(f"{variable} is {text!r}. It needs http:// or https://, a host{path}, such as {example}.")
    return text


def _is_web_address(text: str, may_have_path: bool) -> bool:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment or (parts.path and not may_have_path) or (set(text) & set(" \\")))
    return parts.scheme in ("http", "https") and has_host and bare


def _networks(given: Mapping[str, str], variable: str) -> tuple[Network, ...]:
    """Addresses and networks, by blanks or commas. Raises InvalidInput for anything else."""
    found = []
    for one in given.get(variable, "").replace(",", " ").split():
        try:
            found.append(ip_network(one, strict=False))
        except ValueError:
            raise InvalidInput(
                f"{variable} names {one!r}. It takes addresses and networks, those of your proxies alone, such as `127.0.0.1 10.1.0.0/24`."
            ) from None
    return tuple(found)


def _words(text: str) -> tuple[str, ...]:
    """The words of a setting, by spaces or commas."""
    return tuple(text.replace(",", " ").split())


def _anchors(given: str, home: Path) -> Path | None:
    """The folder of the anchors: in the data folder unless it is said elsewhere, or `none`."""
    return None if given.lower() == "none" else Path(given or home / "anchors").expanduser().resolve()
