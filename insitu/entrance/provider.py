"""An OpenID Connect provider: where a browser is sent to sign in, and what its answer proves (OpenID Connect Core 1.0 §3.1)."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from anyio import fail_after
from anyio.to_thread import run_sync
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jwt
from joserfc.errors import ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, KeySet
from joserfc.jws import JWSRegistry

from insitu.entrance.lane import HERE, Away, Jammed, Lane, Told
from protocols.errors import NotProven
from protocols.phrase import Phrase
from sites.identity.subjects import EMAIL
from sites.settings import Settings

log = logging.getLogger("insitu.doors")

BACK = "/sign-in/provider/back"
LEFT = "/sign-in/provider/left"
LASTS = timedelta(minutes=10)  # how long a browser may be away
LEEWAY_S = 180  # how far its clock and ours may be apart
FRESH_S = 120  # how long ago the provider may have asked the person, when it was told to ask
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
LONGEST_HINT = 8000  # characters: some servers read no longer address

FRESH_FOR_S = 3600.0  # what the provider says of itself, and its keys, before it is asked again
KEPT_FOR_S = 24 * 3600.0  # while it does not answer
REFRESHED_IN_S = 3.0  # else what is remembered does
AGAIN_AFTER_S = 30.0  # before it is asked again when it did not answer, or knew no other key

Purpose = Literal["in", "again", "link"]
T = TypeVar("T")


class NotVouchedFor(NotProven):
    """What the provider said lets nobody in: `why`, in a word, and `details` are for the journal."""

    def __init__(self, said: Phrase, why: str, **details: Any) -> None:
        super().__init__(said)
        self.why, self.details = why, details


class ProviderAway(NotVouchedFor):
    """The provider does not answer, or not as OpenID Connect has it."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a browser was sent to the provider for, kept sealed in a cookie until it comes back: once, within ten minutes.

    `asks` says that the provider was told to ask who it is, whomever it remembers.
    """

    purpose: Purpose
    person: str
    to: str
    state: str
    nonce: str
    verifier: str
    asks: bool

    @classmethod
    def new(cls, purpose: Purpose, person: str, to: str, *, asks: bool = False) -> Errand:
        drawn = (secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))
        return cls(purpose, person, to, *drawn, asks=asks or purpose != "in")

    @classmethod
    def read(cls, text: str) -> Errand:
        return cls(**json.loads(text))

    def text(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Proof:
    """What the provider says: its claims, and how long ago it asked the person (None when it does not say).

    `leaving` is what to keep for the sign-out, for `Provider.way_out`; "" where there is none.
    """

    claims: Mapping[str, Any]
    age: timedelta | None
    leaving: str

    @property
    def is_fresh(self) -> bool:
        return self.age is not None and self.age <= timedelta(seconds=FRESH_S)


class Remembered(Generic[T]):
    """Something the provider says, asked for again when it grows old; while it does not answer, the old one does."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._found: tuple[T, float] | None = None
        self._tried_at = float("-inf")

    def at_hand(self, *, anew: bool = False) -> T | None:
        """What it said, where that is new enough, or it was asked just now whether it is; None where it must be asked."""
        if self._found is None:
            return None
        (value, at), now = self._found, self._now()
        was_asked = now - self._tried_at < AGAIN_AFTER_S and now - at < KEPT_FOR_S
        return value if was_asked or (now - at < FRESH_FOR_S and not anew) else None

    async def get(self, ask: Callable[[], Awaitable[T]], *, anew: bool = False) -> T:
        """What it said, or says now; `anew` asks whatever is remembered, twice a minute at most. Raises as `ask` does."""
        found, now = self.at_hand(anew=anew), self._now()
        if found is not None:
            return found
        self._tried_at = now
        old = self._found if self._found and now - self._found[1] < KEPT_FOR_S else None
        try:
            with fail_after(REFRESHED_IN_S if old else None):
                self._found = (await ask(), now)
        except (ProviderAway, TimeoutError):
            if old is None:
                raise
        assert self._found is not None
        return self._found[0]


class Provider:
    """The provider of the settings. What it says of itself is remembered, and asked for by calls in a lane of their own.

    `now` counts seconds from any moment, as `time.monotonic` does.
    """

    def __init__(self, settings: Settings, lane: Lane | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._lane = lane or Lane()
        self._metadata: Remembered[dict[str, Any]] = Remembered(now)
        self._keys: Remembered[KeySet] = Remembered(now)

    async def address(self, errand: Errand) -> str:
        """Where to send the browser. To prove again (`again`, `link`), the provider is told to ask whatever it remembers.

        Raises ProviderAway.
        """
        metadata = self._metadata.at_hand()
        if metadata is None:
            async with self._visit():
                metadata = await self._known()
        asked = {"prompt": "login", "max_age": "0"} if errand.asks else {}
        asked |= {"acr_values": " ".join(self.settings.oidc_acr_values)} if self.settings.oidc_acr_values else {}
        return str(
            prepare_grant_uri(
                self._endpoint(metadata, "authorization_endpoint"),
                client_id=self.settings.oidc_client_id,
                response_type="code",
                redirect_uri=self.settings.public_url + BACK,
                scope=" ".join(dict.fromkeys(("openid", *self.settings.oidc_scopes))),
                state=errand.state,
                nonce=errand.nonce,
                code_challenge=create_s256_code_challenge(errand.verifier),
                code_challenge_method="S256",
                **asked,
            )
        )

    async def proof(self, errand: Errand, code: str) -> Proof:
        """What the provider says of whoever brought this code back.

        Signature, issuer, audience, nonce and times are checked; the times by the machine's own clock, as the provider lives by the
        real one. Raises ProviderAway, and NotVouchedFor for an answer that does not hold.
        """
        async with self._visit():
            metadata = await self._known()
            told = await self._exchange(metadata, errand, code)
            claims = await self._checked(metadata, told, errand)
            claims = await self._told_more(metadata, told, claims)
        return Proof(claims, _age(claims, told.at), self._leaving(metadata, str(told.content["id_token"])))

    def way_out(self, leaving: str, state: str) -> str:
        """Where to send a browser so that the provider forgets who sat there (OpenID Connect RP-Initiated Logout 1.0); "" for nowhere."""
        found = json.loads(leaving) if leaving else {}
        if not is_safe(found.get("address"), self.settings.oidc_issuer):
            return ""
        given = [("client_id", self.settings.oidc_client_id), ("state", state)]
        given += [("post_logout_redirect_uri", self.settings.public_url + LEFT)]
        given += [("id_token_hint", found["hint"])] if found.get("hint") else []
        return str(add_params_to_uri(found["address"], given))

    def _leaving(self, metadata: Mapping[str, Any], token: str) -> str:
        address = metadata.get("end_session_endpoint")
        if not is_safe(address, self.settings.oidc_issuer):
            return ""
        return json.dumps({"address": address, "hint": token if len(token) <= LONGEST_HINT else ""})

    # -------------------------------------------------------------- what it says of itself

    async def _known(self) -> dict[str, Any]:
        return await self._metadata.get(self._describe)

    async def _describe(self) -> dict[str, Any]:
        issuer = self.settings.oidc_issuer
        address = self.settings.oidc_metadata_url or issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = (await self._answer("GET", address)).content
        if found.get("issuer") != issuer:
            raise self._away(f"it calls itself {_short(found.get('issuer'))}", "metadata")
        return found

    async def _signing_keys(self, metadata: Mapping[str, Any], *, anew: bool = False) -> KeySet:
        async def ask() -> KeySet:
            listed = (await self._answer("GET", self._endpoint(metadata, "jwks_uri"))).content.get("keys")
            keys = [key for one in listed if (key := _key(one))] if isinstance(listed, list) else []
            if not keys:
                raise self._away("it shows no key that signs", "metadata")
            return KeySet(keys)

        return await self._keys.get(ask, anew=anew)

    def _endpoint(self, metadata: Mapping[str, Any], name: str) -> str:
        address = metadata.get(name)
        if not isinstance(address, str) or not is_safe(address, self.settings.oidc_issuer):
            raise self._away(f"its {name} is {_short(address)}, which is no https address", "metadata")
        return address

    # -------------------------------------------------------------- what it says of a person

    async def _exchange(self, metadata: Mapping[str, Any], errand: Errand, code: str) -> Told:
        given = {"grant_type": "authorization_code", "code": code, "code_verifier": errand.verifier}
        given |= {"redirect_uri": self.settings.public_url + BACK, "client_id": self.settings.oidc_client_id}
        secret, methods = self.settings.oidc_client_secret, metadata.get("token_endpoint_auth_methods_supported")
        is_basic = "client_secret_basic" in methods if isinstance(methods, list) else True
        address = self._endpoint(metadata, "token_endpoint")
        if secret and is_basic:
            told = await self._answer("POST", address, data=given, auth=(self.settings.oidc_client_id, secret))
        else:
            told = await self._answer("POST", address, data=given | ({"client_secret": secret} if secret else {}))
        if not all(_is_plain(told.content.get(name)) for name in ("id_token", "access_token")):
            raise self._refused("token")
        return told

    async def _checked(self, metadata: Mapping[str, Any], told: Told, errand: Errand) -> dict[str, Any]:
        try:
            return await run_sync(self._read, told, await self._signing_keys(metadata), errand)
        except InvalidKeyIdError:  # it may have changed them since
            keys = await self._signing_keys(metadata, anew=True)
        try:
            return await run_sync(self._read, told, keys, errand)
        except InvalidKeyIdError:
            raise self._refused("signature") from None

    def _read(self, told: Told, keys: KeySet, errand: Errand) -> dict[str, Any]:
        """The claims of the token when they hold. Raises InvalidKeyIdError for one signed by no key among those."""
        options: dict[str, Any] = {
            "iss": {"essential": True, "value": self.settings.oidc_issuer},
            "aud": {"essential": True, "value": self.settings.oidc_client_id},
        }
        if self.settings.oidc_acr_values:
            options["acr"] = {"essential": True, "values": list(self.settings.oidc_acr_values)}
        wanted = {"nonce": errand.nonce, "client_id": self.settings.oidc_client_id, "access_token": told.content["access_token"]}
        claims: dict[str, Any] = {}
        try:
            registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
            found = jwt.decode(told.content["id_token"], keys, registry=registry)
            claims = dict(found.claims)
            CodeIDToken(claims, found.header, options, wanted).validate(leeway=LEEWAY_S)
        except InvalidKeyIdError:
            raise
        except ClaimError as error:
            raise self._wrong_claim(error.claim, claims) from error
        except (JoseError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            why = "signature" if isinstance(error, (JoseError, ValueError)) else "token"
            raise self._refused(why, error=getattr(error, "error", "") or type(error).__name__) from error
        return claims

    def _wrong_claim(self, claim: str, claims: Mapping[str, Any]) -> NotVouchedFor:
        """The refusal for a claim that does not hold; for one about time, whether it is the provider's clock that differs."""
        issued = _moment(claims.get("iat"))
        begins = _moment(claims.get("nbf")) if claim == "nbf" else issued
        now = datetime.now(UTC)
        if claim in ("iat", "nbf") and begins is not None and begins > now:
            return self._other_clock(begins - now)
        if claim == "exp" and issued is not None and now - issued > timedelta(seconds=LEEWAY_S):
            return self._other_clock(issued - now)
        return self._refused(claim)

    def _other_clock(self, ahead: timedelta) -> NotVouchedFor:
        seconds, provider = round(ahead.total_seconds()), self.settings.oidc_name
        if seconds > 0:
            said = Phrase(
                "The clock of {provider} is {seconds} s ahead of this machine's, so that nobody comes in by it. Tell whoever looks after "
                "insitu, or sign in with your password.",
                provider=provider,
                seconds=seconds,
            )
        else:
            said = Phrase(
                "The clock of {provider} is {seconds} s behind this machine's, so that nobody comes in by it. Tell whoever looks after "
                "insitu, or sign in with your password.",
                provider=provider,
                seconds=-seconds,
            )
        return NotVouchedFor(said, "clock", seconds_ahead=seconds)

    async def _told_more(self, metadata: Mapping[str, Any], told: Told, claims: dict[str, Any]) -> dict[str, Any]:
        """The claims with what they lack of those needed from the userinfo endpoint, where it speaks of the same subject.

        An e-mail and whether it is verified come from one place: neither vouches for what stands in the other.
        """
        claim = self.settings.oidc_claim
        needed = ("email", "email_verified") if claim == EMAIL else (claim,)
        if all(claims.get(name) is not None for name in needed) or metadata.get("userinfo_endpoint") is None:
            return claims
        headers = {"authorization": f"Bearer {told.content['access_token']}"}
        more = (await self._answer("GET", self._endpoint(metadata, "userinfo_endpoint"), headers=headers)).content
        if more.get("sub") != claims["sub"] or more.get(needed[0]) is None:
            return claims
        return {name: value for name, value in claims.items() if name not in needed} | {name: more.get(name) for name in needed}

    # -------------------------------------------------------------- calls, and what is said when they fail

    @asynccontextmanager
    async def _visit(self) -> AsyncIterator[None]:
        try:
            with self._lane.visit():
                yield
        except Jammed:
            said = Phrase(
                "{provider} is slow, and too many wait for it already. Try again in a moment, or sign in with your password.",
                provider=self.settings.oidc_name,
            )
            raise ProviderAway(said, "busy") from None
        except Away as error:
            raise self._away(str(error), "slow") from error

    async def _answer(self, method: str, address: str, **given: Any) -> Told:
        if not is_safe(address, self.settings.oidc_issuer):
            raise self._away(f"{_short(address)} is no https address", "metadata")
        try:
            told = await self._lane.ask(method, address, **given)
        except Away as error:
            raise self._away(f"{urlsplit(address).path}: {error}", "away") from error
        said = told.content.get("error")
        if told.status == 400 and said == "invalid_grant":
            raise self._refused("code")
        if not 200 <= told.status < 300:
            raise self._away(f"{urlsplit(address).path}: it answered {told.status} {_short(said)}", "away")
        return told

    def _away(self, detail: str, why: str) -> ProviderAway:
        said = Phrase(
            "{provider} does not answer as it should. Try again in a moment, or sign in with your password.",
            provider=self.settings.oidc_name,
        )
        return ProviderAway(said, why, detail=detail)

    def _refused(self, why: str, **details: Any) -> NotVouchedFor:
        return NotVouchedFor(
            Phrase("What {provider} answered does not hold. Sign in again.", provider=self.settings.oidc_name), why, **details
        )


def is_safe(address: object, issuer: str) -> bool:
    """Whether a browser may be sent to an address of the provider's, and we may ask there: by https, without a name or password in it.

    By plain http on this machine only, and only for a provider that is there itself.
    """
    parts = _split(address)
    if parts is None or not parts.hostname or "@" in parts.netloc or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in HERE and _is_here(issuer))


def _is_here(issuer: str) -> bool:
    parts = _split(issuer)
    return parts is not None and parts.scheme == "http" and parts.hostname in HERE


_ADDRESS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&()*+,;=%]{1,2000}")  # RFC 3986, but for the quote


def _split(address: object) -> SplitResult | None:
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        return None
    try:
        parts = urlsplit(address)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def _key(shown: Any) -> Any:
    """A key that can check a signature; None for anything else, so that one odd key does not spoil the others."""
    try:
        key = JWKRegistry.import_key(shown)
        return key if key.key_type in ("RSA", "EC") and shown.get("use", "sig") == "sig" else None
    except (JoseError, UnsupportedAlgorithm, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        log.info("a key of the OpenID provider cannot be read: %s", type(error).__name__)
        return None


def _is_plain(text: object) -> bool:
    return isinstance(text, str) and text != "" and text.isascii() and text.isprintable() and " " not in text


def _moment(value: Any) -> datetime | None:
    """A NumericDate as a moment; None for anything else, and for what no calendar holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _age(claims: Mapping[str, Any], answered_at: datetime | None) -> timedelta | None:
    """How long ago the provider asked the person, by its own clock, which may differ from ours."""
    asked_at, issued_at = _moment(claims.get("auth_time")), _moment(claims["iat"])
    if asked_at is None or issued_at is None or asked_at - issued_at > timedelta(seconds=LEEWAY_S):
        return None
    # A token may have been made some time before it was fetched; the answer that brought it says what time it was then, unless that is
    # longer ago than an errand lasts: then something between has a clock of its own.
    waited = answered_at - issued_at if answered_at else timedelta(0)
    waited = waited if timedelta(0) < waited <= LASTS else timedelta(0)
    return max(timedelta(0), issued_at + waited - asked_at)


def _short(value: object) -> str:
    return repr(value)[:120]
