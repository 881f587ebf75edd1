"""The page on how one is told, its tests of channels, and the way out of a message."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from mail_server import Mailbox
from sqlalchemy import select
from visit import Visit, doors_on

from insitu.app import THREADS, create_app
from insitu.entrance.guard import FIELD
from insitu.entrance.visitor import COOKIE
from insitu.services import serving
from insitu.supervision import Parts
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.access import entries
from sites.identity.links import create_link, path_of
from sites.preferences import preference_of
from sites.tables import Person

WHO = "methodologist"
HERE = "/account/notices"
FORM = {"timezone": "Europe/Paris", "quiet_from": "20:00", "quiet_until": "07:00", "digest_at": "08:00", "told": ["opened", "closed"]}


class Hook(HTTPServer):
    """A web server that counts what it is posted."""

    def __init__(self) -> None:
        self.posted = 0
        super().__init__(("127.0.0.1", 0), Post)


class Post(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.posted += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing on the console."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    box = Mailbox(port)
    box.start()
    yield box
    box.stop()


@pytest.fixture
def visit(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None, mailbox: Mailbox) -> Visit:
    return Visit(doors_on(sqlite_database, clock, mail_url=mailbox.url))


def channels_of(visit: Visit, person: str = WHO) -> list[str]:
    with visit.doors.database.read() as connection:
        return list(connection.execute(select(table(Person).c.channels).where(table(Person).c.id == person)).scalar_one())


def unsubscribe_address(visit: Visit, kind: str) -> str:
    with visit.doors.database.write() as connection:
        nonce = create_link(connection, "unsubscribe", WHO, visit.doors.clock.now(), by="", target=kind, lasts=None)
    return path_of(visit.doors.key, "unsubscribe", nonce)


def muted(visit: Visit) -> frozenset[str]:
    with visit.doors.database.read() as connection:
        return preference_of(connection, WHO).muted


def test_the_page_is_for_whoever_is_signed_in(visit: Visit) -> None:
    assert visit.get(HERE).headers["location"].startswith("/sign-in")


def test_wishes_are_kept_and_shown(visit: Visit) -> None:
    visit.sign_in(WHO)
    answer = visit.post(HERE, FORM | {"digest": "on"}, of=HERE)
    assert answer.status_code == 303
    page = visit.get(HERE).text
    assert 'value="20:00"' in page
    assert "Your choices are kept" in page
    with visit.doors.database.read() as connection:
        wishes = preference_of(connection, WHO)
    assert (wishes.quiet_from, wishes.quiet_until, wishes.digest, wishes.working_days) == ("20:00", "07:00", True, False)
    assert wishes.muted == {"reminder", "question", "answer", "notify"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"quiet_from": "30:00"}, "quiet_from"),
        ({"quiet_until": ""}, "quiet_until"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"digest_at": "<b>"}, "digest_at"),
    ],
)
def test_a_wish_refused_is_said_beside_its_field_and_all_typed_is_kept(visit: Visit, wrong: dict[str, str], field: str) -> None:
    answer = visit.sign_in(WHO).post(HERE, FORM | {"digest_at": "11:11"} | wrong, of=HERE)
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    assert f'href="#{field}"' in answer.text
    assert "<b>" not in answer.text
    assert field == "digest_at" or 'value="11:11"' in answer.text


def test_a_duty_is_named_and_cannot_be_unticked(visit: Visit) -> None:
    page = visit.sign_in(WHO).get(HERE).text
    assert "Always sent" in page
    assert "overdue" not in page
    visit.post(HERE, FORM | {"told": []}, of=HERE)
    assert "overdue" not in muted(visit)


def test_a_channel_is_added_shown_by_its_kind_and_taken_away(visit: Visit) -> None:
    visit.sign_in(WHO)
    assert visit.post(f"{HERE}/channels", {"channel": "ntfys://s3cret-topic"}, of=HERE).status_code == 303
    assert channels_of(visit) == ["ntfys://s3cret-topic"]
    page = visit.get(HERE).text
    assert "ntfys://…" in page
    assert "s3cret" not in page
    mark = page.split('name="way" value="')[1].split('"')[0]
    visit.post(f"{HERE}/channels/remove", {"way": mark}, of=HERE)
    assert channels_of(visit) == []


INSIDE = {
    "a host inside the hospital": "json://10.0.0.1/admin",
    "one's own mail server": "mailto://user:s3cret@10.0.0.1",
    "an ntfy of any host": "ntfys://10.0.0.1/s3cret",
    "a local file": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#s3cret?template=/etc/passwd",
    "the machine's own desktop": "syslog://",
    "nonsense": "s3cret",
    "nothing": "",
    "too long": "ntfys://" + "s3cret" * 400,
}


@pytest.mark.parametrize("address", INSIDE.values(), ids=INSIDE)
def test_a_channel_that_could_reach_into_the_house_is_refused(visit: Visit, address: str) -> None:
    answer = visit.sign_in(WHO).post(f"{HERE}/channels", {"channel": address}, of=HERE)
    assert answer.status_code == 422
    assert 'id="channel-error"' in answer.text
    assert "s3cret" not in answer.text
    assert channels_of(visit) == []


def test_the_test_button_sends_for_real(visit: Visit, mailbox: Mailbox) -> None:
    answer = visit.sign_in(WHO).post(f"{HERE}/test", {"way": "email"}, of=HERE)
    assert answer.status_code == 200
    assert f"A test was sent by {WHO}@example.org" in answer.text
    assert mailbox.recipients == [f"{WHO}@example.org"]


def test_the_test_button_says_in_words_why_it_failed(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> None:
    visit = Visit(doors_on(sqlite_database, clock)).sign_in(WHO)
    assert "no mail server is set" in visit.post(f"{HERE}/test", {"way": "email"}, of=HERE).text


def test_a_channel_is_tested_where_the_installation_names_its_host(
    sqlite_database: Database, clock: SetClock, registry_on_sqlite: None, hook: Hook
) -> None:
    address = f"json://127.0.0.1:{hook.server_port}"
    visit = Visit(doors_on(sqlite_database, clock, channels=(address,))).sign_in(WHO)
    assert visit.post(f"{HERE}/channels", {"channel": f"{address}/s3cret"}, of=HERE).status_code == 303
    mark = visit.get(HERE).text.split('name="way" value="')[1].split('"')[0]
    assert "A test was sent by json://…" in visit.post(f"{HERE}/test", {"way": mark}, of=HERE).text
    assert hook.posted == 1


def test_pages_are_answered_while_more_tests_wait_for_a_silent_server_than_there_are_threads(
    sqlite_database: Database, clock: SetClock, registry_on_sqlite: None
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=20) as mute:
        doors = doors_on(sqlite_database, clock, mail_url=f"mailto://127.0.0.1:{mute.getsockname()[1]}?from=insitu@example.org")
        with socket.create_server(("127.0.0.1", 0)) as door, serving(create_app(doors), door, Parts()):
            here = f"http://127.0.0.1:{door.getsockname()[1]}"
            visit = Visit(doors).sign_in(WHO)
            form = {FIELD: visit.token(HERE), "way": "email"}
            cookies = {COOKIE: str(visit.client.cookies[COOKIE])}
            testing = [
                threading.Thread(target=httpx.post, args=(f"{here}{HERE}/test",), kwargs={"data": form, "cookies": cookies, "timeout": 120})
                for _ in range(THREADS + 2)
            ]
            for one in testing:
                one.start()
            held = [mute.accept()[0] for _ in range(4)]  # so many wait for it at once
            assert httpx.get(f"{here}/help", timeout=60).status_code == 200
            assert all(one.is_alive() for one in testing)
            mute.close()
            for one in held:
                one.close()
            for one in testing:
                one.join(60)


def test_a_channel_that_is_no_longer_allowed_is_not_called(
    sqlite_database: Database, clock: SetClock, registry_on_sqlite: None, hook: Hook
) -> None:
    visit = Visit(doors_on(sqlite_database, clock, channels=(f"json://127.0.0.1:{hook.server_port}",))).sign_in(WHO)
    visit.post(f"{HERE}/channels", {"channel": f"json://127.0.0.1:{hook.server_port}/x"}, of=HERE)
    strict = Visit(doors_on(sqlite_database, clock)).sign_in(WHO)
    mark = strict.get(HERE).text.split('name="way" value="')[1].split('"')[0]
    assert "Messages cannot go to json:// here" in strict.post(f"{HERE}/test", {"way": mark}, of=HERE).text
    assert hook.posted == 0


def test_tests_are_counted(visit: Visit) -> None:
    visit.sign_in(WHO)
    statuses = [visit.post(f"{HERE}/test", {"way": "email"}, of=HERE).status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]


def test_looking_at_the_way_out_changes_nothing_and_pressing_mutes(visit: Visit) -> None:
    address = unsubscribe_address(visit, "reminder")
    page = visit.get(address)
    assert page.status_code == 200
    assert "What still comes" in page.text
    assert muted(visit) == frozenset()
    assert "You get no more" in visit.post(address, of=address).text
    assert muted(visit) == {"reminder"}
    assert "You get no more" in visit.get(address).text


def test_a_mail_programs_single_click_needs_no_page(visit: Visit) -> None:
    address = unsubscribe_address(visit, "opened")
    assert visit.client.post(address, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert muted(visit) == {"opened"}


def test_a_form_from_elsewhere_does_not_unsubscribe(visit: Visit) -> None:
    address = unsubscribe_address(visit, "opened")
    assert visit.client.post(address, data={"x": "y"}).status_code == 403
    assert muted(visit) == frozenset()


@pytest.mark.parametrize("kind", ["overdue", "incident", "nonsense"])
def test_no_address_leads_out_of_a_duty(visit: Visit, kind: str) -> None:
    address = unsubscribe_address(visit, kind)
    assert visit.get(address).status_code == 404
    assert visit.client.post(address, data={"List-Unsubscribe": "One-Click"}).status_code == 404
    assert muted(visit) == frozenset()


def test_a_forged_address_is_refused_and_journaled(visit: Visit) -> None:
    assert visit.get("/unsubscribe/forged").status_code == 404
    assert [(one["kind"], one["data"]["why"]) for one in entries(visit.doors.database)] == [("RequestRefused", "forged")]
