"""Settings come from the environment; what would lead nowhere is refused by the name of its variable."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from protocols.errors import InvalidInput
from sites.settings import PUBLIC_URL, Settings


def load(home: Path, **given: str) -> Settings:
    return Settings.load(home, given)


@pytest.mark.parametrize(
    "address",
    [
        "insitu.example.org",
        "insitu.example.org:8080",
        "//insitu.example.org",
        "ftp://insitu.example.org",
        "javascript:alert(1)",
        "https://",
        "https:///today",
        "https://insitu.example.org/here",  # the pages' addresses begin at the root
        "https://insitu.example.org?x=1",
        "https://insitu.example.org:port",
        "https://[::1",
        "https://in situ.example.org",
    ],
)
def test_a_public_address_that_leads_nowhere_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidInput, match="INSITU_PUBLIC_URL"):
        load(tmp_path, INSITU_PUBLIC_URL=address)


@pytest.mark.parametrize("variable", ["PREFECT_API_URL", "INSITU_PREFECT_UI_URL"])
def test_so_are_prefects_addresses(tmp_path: Path, variable: str) -> None:
    with pytest.raises(InvalidInput, match=variable):
        load(tmp_path, **{variable: "127.0.0.1:4200/api"})


@pytest.mark.parametrize(
    "address", ["https://insitu.example.org", "http://127.0.0.1:9000", "http://[::1]:9000", " https://a.example.org/ "]
)
def test_a_public_address_is_taken_without_its_last_slash(tmp_path: Path, address: str) -> None:
    assert load(tmp_path, INSITU_PUBLIC_URL=address).public_url == address.strip().rstrip("/")


def test_links_lead_to_where_the_pages_were_last_served(tmp_path: Path) -> None:
    assert load(tmp_path).public_url == PUBLIC_URL
    served = Settings(tmp_path, "", public_url="http://127.0.0.1:9000")
    served.remember_public_url()
    assert load(tmp_path).public_url == "http://127.0.0.1:9000"
    assert load(tmp_path, INSITU_PUBLIC_URL="https://insitu.example.org").public_url == "https://insitu.example.org"
    (tmp_path / "address").write_bytes(b"javascript:\xff")
    assert load(tmp_path).public_url == PUBLIC_URL


def test_trusted_proxies_are_addresses_and_networks(tmp_path: Path) -> None:
    assert load(tmp_path).trusted_proxies == ()
    found = load(tmp_path, INSITU_TRUSTED_PROXIES="127.0.0.1, ::1 10.1.2.3/24").trusted_proxies
    assert found == (ip_network("127.0.0.1"), ip_network("::1"), ip_network("10.1.2.0/24"))


@pytest.mark.parametrize("named", ["*", "proxy.example.org", "10.0.0.0/99", "127.0.0.1:80"])
def test_what_is_no_network_is_refused(tmp_path: Path, named: str) -> None:
    with pytest.raises(InvalidInput, match="INSITU_TRUSTED_PROXIES"):
        load(tmp_path, INSITU_TRUSTED_PROXIES=named)
