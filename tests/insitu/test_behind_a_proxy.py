"""Behind the proxies of the how-to, each a real one with the settings that stand there."""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from shutil import which

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from visit import doors_on

from flows.server import free_port
from insitu import services
from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.visitor import COOKIE
from insitu.supervision import Parts
from sites.clock import SystemClock
from sites.database import Database
from sites.identity import accounts
from sites.identity.access import entries

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "put-behind-a-proxy.md").read_text("utf-8")
NAME = "insitu.example.org"
NURSE, GOOD = "nurse.caen", "the tram stops at seven"


def as_documented(kind: str, folder: Path, port: int, behind: int) -> str:
    """The how-to's settings, for this port, certificate and installation."""
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    text = found[1].replace("/etc/ssl/insitu", str(folder / "insitu")).replace("127.0.0.1:8080", f"127.0.0.1:{behind}")
    return text.replace("listen 443", f"listen 127.0.0.1:{port}") if kind == "nginx" else text.replace(f"{NAME} {{", f"{NAME}:{port} {{")


def certify(folder: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    (folder / "insitu.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    shape = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "insitu.key").write_bytes(key.private_bytes(*shape))


def nginx(folder: Path, text: str) -> list[str]:
    kept = "".join(f"{name}_temp_path {folder / name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    alone = f"daemon off;\nmaster_process off;\npid {folder / 'pid'};\nerror_log stderr warn;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{alone}http {{\naccess_log off;\n{kept}{text}}}\n")
    return ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, text: str) -> list[str]:
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system {folder}\n}}\n{text}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@dataclass
class Behind:
    """An installation behind a proxy, and browsers at several addresses of this machine."""

    doors: Doors
    port: int

    @contextmanager
    def browser(self, address: str, **headers: str) -> Iterator[httpx.Client]:
        """A browser at that address, which asks the proxy by the installation's name."""
        unverified = ssl._create_unverified_context()  # the name is not this machine's; what is tried is what the proxy passes on
        host = {"host": f"{NAME}:{self.port}", "origin": f"https://{NAME}:{self.port}"}
        transport = httpx.HTTPTransport(verify=unverified, local_address=address)
        with httpx.Client(base_url=f"https://127.0.0.1:{self.port}", transport=transport, headers=host | headers) as client:
            yield client

    def get(self, address: str, path: str, **headers: str) -> httpx.Response:
        with self.browser(address, **headers) as client:
            return client.get(path, extensions={"sni_hostname": NAME})


@pytest.fixture(params=[nginx, caddy])
def behind(request: pytest.FixtureRequest, sqlite_database: Database, registry_on_sqlite: None, tmp_path: Path) -> Iterator[Behind]:
    program = request.param.__name__
    if which(program) is None:
        pytest.skip(f"{program} is not on this machine")
    with sqlite_database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, SystemClock().now(), by="project_manager")
    certify(tmp_path)
    port = free_port()
    public = {"public_url": f"https://{NAME}:{port}", "trusted_proxies": (ip_network("127.0.0.1"),)}
    doors = doors_on(sqlite_database, SystemClock(), **public)  # type: ignore[arg-type]
    with services.listening("127.0.0.1", 0) as door, services.serving(create_app(doors), door, Parts()):
        command = request.param(tmp_path, as_documented(program, tmp_path, port, door.getsockname()[1]))
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as proxy:
            found = Behind(doors, port)
            wait_for(found, proxy)
            yield found
            proxy.terminate()
            proxy.communicate(timeout=30)


def wait_for(found: Behind, proxy: subprocess.Popen[str]) -> None:
    pause = threading.Event()
    for _ in range(200):
        assert proxy.poll() is None, proxy.stderr.read() if proxy.stderr else ""
        try:
            assert found.get("127.0.0.1", "/api/v1/health").status_code == 200
            return
        except httpx.TransportError:
            pause.wait(0.05)
    raise AssertionError("the proxy did not come to answer")


def test_a_person_signs_in_by_the_proxy_and_the_journal_has_their_own_address(behind: Behind) -> None:
    with behind.browser("127.0.0.2") as browser:
        sni = {"sni_hostname": NAME}
        shown = browser.get("/sign-in", extensions=sni)
        csrf = re.search(r'name="csrf" value="([^"]+)"', shown.text)
        assert csrf is not None
        jar = "; ".join(one.partition(";")[0] for one in shown.headers.get_list("set-cookie"))
        form = {"csrf": csrf[1], "name": NURSE, "password": GOOD}
        answer = browser.post("/sign-in", data=form, headers={"cookie": jar}, extensions=sni)
    assert answer.status_code == 303, answer.text
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}="))
    assert "Secure" in cookie
    assert answer.headers["strict-transport-security"]
    (noted,) = entries(behind.doors.database, kind="SignedIn")
    assert noted["address"] == "127.0.0.2"


def test_behind_the_proxy_nobody_escapes_the_limits_and_nobody_locks_out_another(behind: Behind) -> None:
    guess = {"authorization": "Bearer guessed"}
    for number in range(50):
        assert behind.get("127.0.0.2", "/api/v1/me", **guess, **{"x-forwarded-for": f"192.0.2.{number}"}).status_code == 401
    assert behind.get("127.0.0.2", "/api/v1/me", **guess, **{"x-forwarded-for": "192.0.2.99"}).status_code == 429
    assert behind.get("127.0.0.3", "/api/v1/me", **guess).status_code == 401


def test_what_the_proxy_passes_on_is_named_and_its_own_machine_is_not_taken_for_the_visitors(behind: Behind) -> None:
    assert behind.get("127.0.0.1", "/api/v1/health").json()["unnamed_proxy"] is False
    assert behind.get("127.0.0.1", "/api/v1/metrics").status_code == 401
    head = behind.get("127.0.0.2", "/sign-in")
    with behind.browser("127.0.0.2") as browser:
        assert browser.head("/sign-in", extensions={"sni_hostname": NAME}).status_code == head.status_code == 200
