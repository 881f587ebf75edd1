"""The ways to a person, all through Apprise: their own channels in order, then their email.

Apprise answers True or False and keeps the cause to itself, but it logs each failure while it still handles the exception: an ear
on its logger hears the exception itself, or the HTTP status in the line. That is how a failure is known to be permanent (an
address or channel that will never work: SMTP 5xx for the recipient or the content, HTTP 4xx) or passing (all the rest, our own
mail server's login included: what we can repair must not cost anyone a message).
"""

from __future__ import annotations

import logging
import re
import smtplib
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from apprise import Apprise, AppriseAsset, NotifyFormat
from apprise.plugins.email.base import NotifyEmail

from notifications.cut_off import cut_off_after
from notifications.render import Message, one_line
from protocols.errors import DeliveryFailed, InvalidInput
from protocols.phrase import Phrase
from sites.mail_addresses import is_mail_address
from sites.preferences import scheme_of

TIMEOUT_SECONDS = 10.0
# All of a person's channels together, and then their mail: with both, well within a lease (notifications.attempts).
CHANNELS_SECONDS, MAIL_SECONDS = 40.0, 60.0
# A server that kept us waiting is left alone for so long: everybody else's messages would wait for it in turn.
REST_SECONDS = 60.0
EMAIL = "email"
# HTTP statuses that ask to come back later; other 4xx say that this channel will never accept the message.
COME_BACK_LATER = frozenset({408, 425, 429})


# No redirects: a host that is allowed must not send us on to one that is not.
_ASSET = AppriseAsset(app_id="insitu", app_desc="insitu", http_redirects=False)

# Nobody's out-of-office note is to answer a machine: RFC 3834, and what Exchange reads instead.
AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
# Until when (on the monotonic clock) a server is left alone.
_resting: dict[tuple[str, str, int], float] = {}


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whoever is told: `channels` are Apprise addresses, tried in order before the email."""

    name: str
    email: str
    channels: Sequence[str] = ()


def send(message: Message, person: Recipient, mail_url: str, allowed: Collection[str] | None = None) -> str:
    """Send by the first of the person's ways that works; which one it was: `email`, or a channel's scheme such as `ntfys`.

    `mail_url` is an Apprise `mailto://host:port?from=…` or `mailtos://user:password@host?…` without recipient. A channel that
    `allowed` does not name (`Settings.channels`; None for any) is not called.
    Blocks until the servers answer: at most 10 seconds for each exchange with one, 40 for all channels and then a minute for the mail. One
    that kept us waiting is not asked again for a minute, which is a passing failure.
    Only the scheme of a channel is ever told: an address can hold a secret anywhere (Apprise's private form still shows
    webhook paths and headers).
    Raises DeliveryFailed when no way worked, permanent when none will work later either.
    """
    failures: list[DeliveryFailed] = []
    until = time.monotonic() + CHANNELS_SECONDS
    for address in person.channels:
        try:
            return send_to_channel(message, address, allowed, within_s=until - time.monotonic())
        except DeliveryFailed as failure:
            failures.append(failure)
    try:
        return send_mail(message, person, mail_url)
    except DeliveryFailed as failure:
        failures.append(failure)
    raise DeliveryFailed("; ".join(map(str, failures)), permanent=all(failure.permanent for failure in failures))


def check_channel(address: str, allowed: Collection[str]) -> None:
    """Nothing, if this installation sends to such a channel. Raises InvalidInput, which shows no more of the address than its scheme."""
    plugin = _plugin(address)
    if plugin is None:
        raise InvalidInput(Phrase("This is no address of a channel that can be read. Copy it again from the service, as scheme://…"))
    if "?" in address:
        raise InvalidInput(Phrase("A channel's address has no options here: leave out the question mark and what follows."))
    if not _is_allowed(plugin, allowed):
        known = ", ".join(sorted({one.partition("://")[0] for one in allowed})) or "-"
        scheme = scheme_of(address)
        raise InvalidInput(Phrase("Messages cannot go to {scheme}:// here. Possible: {known}.", scheme=scheme, known=known))


def _is_allowed(plugin: Any, allowed: Collection[str]) -> bool:
    """Whether the setting names the service, with its host where the address chooses one: a person must not make us call any host."""
    scheme = scheme_of(plugin.url())
    if scheme in allowed and (not any("{host}" in one for one in plugin.templates) or getattr(plugin, "mode", "") == "cloud"):
        return True
    host = f"{plugin.host}:{plugin.port}" if getattr(plugin, "port", None) else plugin.host
    return f"{scheme}://{host}" in allowed or f"{scheme}://*" in allowed


def send_to_channel(message: Message, address: str, allowed: Collection[str] | None = None, *, within_s: float = CHANNELS_SECONDS) -> str:
    """Send to one channel; gives its scheme. Raises DeliveryFailed."""
    scheme = scheme_of(address)
    if allowed is not None:
        try:
            check_channel(address, allowed)
        except InvalidInput as refusal:
            raise DeliveryFailed(_failure(scheme, refusal.args[0]), permanent=True) from None
    plugin = _plugin(address)
    if plugin is None:
        raise DeliveryFailed(_failure(scheme, Phrase("Apprise cannot read this channel's address; correct it")), permanent=True)
    _notify(plugin, message, scheme, within_s)
    return scheme


def send_mail(message: Message, person: Recipient, mail_url: str) -> str:
    """Send to the person's mail address; gives `email`. Raises DeliveryFailed."""
    # Checked here and handed over as it is: Apprise's own reading takes o'brien@example.org for brien@example.org (measured, 1.13).
    if not is_mail_address(person.email):
        said = Phrase("{address} is not a mail address; correct it", address=repr(one_line(person.email)))
        raise DeliveryFailed(_failure(EMAIL, said), permanent=True)
    if not mail_url:
        raise DeliveryFailed(_failure(EMAIL, Phrase("no mail server is set; set INSITU_MAIL_URL")), permanent=False)
    plugin = _plugin(mail_url)
    if plugin is None:
        said = Phrase("Apprise cannot read INSITU_MAIL_URL; write it mailto://HOST:PORT?from=ADDRESS")
        raise DeliveryFailed(_failure(EMAIL, said), permanent=False)
    plugin.targets = [(one_line(person.name) or False, person.email)]
    _notify(plugin, message, EMAIL, MAIL_SECONDS)
    return EMAIL


def _plugin(address: str) -> Any:
    """The Apprise object for an address, or None. A new one each time: a used one waits 5 seconds between messages."""
    with _listening():
        plugin = Apprise.instantiate(address, asset=_ASSET)
    if plugin is not None:
        plugin.socket_connect_timeout = plugin.socket_read_timeout = TIMEOUT_SECONDS
    return plugin


def _notify(plugin: Any, message: Message, way: str, within_s: float) -> None:
    """Mail gets the HTML, from which Apprise makes the text part; every other channel gets the text."""
    server = _server_of(plugin)
    if _resting.get(server, 0) > time.monotonic() or within_s <= 0:
        raise DeliveryFailed(
            _failure(way, Phrase("the server did not answer a moment ago, and is asked again in a minute")), permanent=False
        )
    is_mail = isinstance(plugin, NotifyEmail)
    if is_mail:
        plugin.headers = {**plugin.headers, **AUTOMATIC, **message.headers}
    body, body_format = (message.html, NotifyFormat.HTML) if is_mail else (message.text, NotifyFormat.TEXT)
    apprise = Apprise()
    apprise.add(plugin)
    begun = time.monotonic()
    with _listening() as heard, cut_off_after(within_s) as is_cut:
        if apprise.notify(title=message.subject, body=body, body_format=body_format):
            return
    if time.monotonic() - begun >= TIMEOUT_SECONDS:
        _resting[server] = time.monotonic() + REST_SECONDS
    if is_cut.is_set():
        heard.append((Phrase("the server took longer than {seconds} s", seconds=round(within_s)), False))
    cause, permanent = heard[-1] if heard else (Phrase("not sent, and Apprise gives no reason"), False)
    raise DeliveryFailed(_failure(way, cause), permanent=permanent)


def _server_of(plugin: Any) -> tuple[str, str, int]:
    """Whom a message is handed to: a service, with the host and port where the address names them."""
    host = getattr(plugin, "smtp_host", None) or getattr(plugin, "host", None) or ""
    return scheme_of(plugin.url()), str(host), int(getattr(plugin, "port", None) or 0)


def _failure(way: str, cause: str) -> Phrase:
    return Phrase("{way}: {cause}", way=way, cause=cause)


# What a failure was, in words fit for a log, and whether it is permanent.
Cause = tuple[str, bool]


class _Ear(logging.Handler):
    """Hears why Apprise failed, thread by thread; nothing Apprise logs goes further, as it may name addresses and tokens."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        causes: list[Cause] | None = getattr(self.heard, "causes", None)
        cause = _cause_of(sys.exc_info()[1]) or _cause_in(record.getMessage())
        if causes is not None and cause is not None:
            causes.append(cause)


_ear = _Ear()
_apprise_log = logging.getLogger("apprise")
_apprise_log.addHandler(_ear)
_apprise_log.setLevel(logging.WARNING)
_apprise_log.propagate = False


@contextmanager
def _listening() -> Iterator[list[Cause]]:
    causes: list[Cause] = []
    _ear.heard.causes = causes
    try:
        yield causes
    finally:
        _ear.heard.causes = None


def _cause_of(error: BaseException | None) -> Cause | None:
    """The cause, from the exception under way. Only mail servers' own words are kept: others may quote an address with its secret."""
    match error:
        case None:
            return None
        case smtplib.SMTPRecipientsRefused():
            answers = list(error.recipients.values())
            said = "; ".join(f"{code} {_decoded(words)}" for code, words in answers)
            return Phrase("the mail server refuses this address: {said}", said=one_line(said)), all(_is_final(code) for code, _ in answers)
        case smtplib.SMTPDataError():
            said = f"{error.smtp_code} {_decoded(error.smtp_error)}"
            return Phrase("the mail server refuses this message: {said}", said=one_line(said)), _is_final(error.smtp_code)
        case smtplib.SMTPResponseException():
            said = f"{error.smtp_code} {_decoded(error.smtp_error)}"
            why = type(error).__name__
            return Phrase("the mail server refuses us ({why}): {said}", why=why, said=one_line(said)), False
        case OSError():
            return one_line(error.strerror or type(error).__name__), False
        case _:
            return type(error).__name__, False


def _cause_in(line: str) -> Cause | None:
    """The cause, from the HTTP status in Apprise's line (`…, error=404.`)."""
    found = re.search(r"error=(\d{3})\b", line)
    return found and (Phrase("HTTP status {status}", status=found[1]), found[1][0] == "4" and int(found[1]) not in COME_BACK_LATER)


def _is_final(smtp_code: int) -> bool:
    return 500 <= smtp_code < 600


def _decoded(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words
