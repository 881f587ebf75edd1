"""An OpenID Connect provider: where a browser is sent to sign in, and what its answer proves (OpenID Connect Core 1.0 §3.1)."""

from __future__ import annotations

import json
import logging
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from protocols.errors import NotProven
from protocols.phrase import Phrase
from sites.settings import Settings

log = logging.getLogger("insitu.doors")

BACK = "/sign-in/provider/back"
SCOPE = "openid email"
TIMEOUT_S = 10
LEEWAY_S = 60
FRESH_S = 120  # how long ago the provider may have asked the person, when it was told to ask
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]

Purpose = Literal["in", "again", "link"]


class ProviderAway(NotProven):
    """The provider does not answer, or not as OpenID Connect has it."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a browser was sent to the provider for, kept sealed in a cookie until it comes back: once, within ten minutes."""

    purpose: Purpose
    person: str
    to: str
    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls, purpose: Purpose, person: str, to: str) -> Errand:
        return cls(purpose, person, to, secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))

    @classmethod
    def read(cls, text: str) -> Errand:
        return cls(**json.loads(text))

    def text(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Proof:
    """What the provider says: its claims, and how long ago it asked the person; None when it does not say."""

    claims: Mapping[str, Any]
    age: timedelta | None

    @property
    def is_fresh(self) -> bool:
        return self.age is not None and self.age <= timedelta(seconds=FRESH_S)


class Provider:
    """The provider of the settings. Each errand reads its metadata and keys anew, so that changed keys need no restart."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def address(self, errand: Errand) -> str:
        """Where to send the browser. To prove again (`again`, `link`), the provider is told to ask whatever it remembers.

        Raises ProviderAway.
        """
        asked = {"prompt": "login", "max_age": "0"} if errand.purpose != "in" else {}
        return str(
            prepare_grant_uri(
                self._metadata()["authorization_endpoint"],
                client_id=self.settings.oidc_client_id,
                response_type="code",
                redirect_uri=self.settings.public_url + BACK,
                scope=SCOPE,
                state=errand.state,
                nonce=errand.nonce,
                code_challenge=create_s256_code_challenge(errand.verifier),
                code_challenge_method="S256",
                **asked,
            )
        )

    def proof(self, errand: Errand, code: str) -> Proof:
        """What the provider says of whoever brought this code back.

        Signature, issuer, audience, nonce and times are checked; the times by the machine's own clock, as the provider lives by the
        real one. Raises ProviderAway, and NotProven for an answer that does not hold.
        """
        metadata = self._metadata()
        token = self._exchange(metadata, errand, code)
        claims = self._checked(metadata, token, errand)
        if "email" not in claims and metadata.get("userinfo_endpoint"):
            claims = self._told_more(metadata, token, claims)
        asked_at = claims.get("auth_time")
        known = isinstance(asked_at, (int, float)) and not isinstance(asked_at, bool)
        return Proof(claims, timedelta(seconds=max(0, int(claims["iat"]) - int(asked_at or 0))) if known else None)

    def _metadata(self) -> dict[str, Any]:
        issuer = self.settings.oidc_issuer
        found = self._fetched("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise self._away(f"it calls itself {found.get('issuer')!r}")
        return found

    def _exchange(self, metadata: Mapping[str, Any], errand: Errand, code: str) -> dict[str, Any]:
        given = {"grant_type": "authorization_code", "code": code, "code_verifier": errand.verifier}
        given |= {"redirect_uri": self.settings.public_url + BACK, "client_id": self.settings.oidc_client_id}
        secret, methods = self.settings.oidc_client_secret, metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret and "client_secret_basic" in methods:
            return self._fetched("POST", metadata["token_endpoint"], data=given, auth=(self.settings.oidc_client_id, secret))
        return self._fetched("POST", metadata["token_endpoint"], data=given | ({"client_secret": secret} if secret else {}))

    def _checked(self, metadata: Mapping[str, Any], token: Mapping[str, Any], errand: Errand) -> dict[str, Any]:
        options = {
            "iss": {"essential": True, "value": self.settings.oidc_issuer},
            "aud": {"essential": True, "value": self.settings.oidc_client_id},
        }
        wanted = {"nonce": errand.nonce, "client_id": self.settings.oidc_client_id, "access_token": token.get("access_token")}
        try:
            keys = KeySet.import_key_set(self._fetched("GET", metadata["jwks_uri"]))  # type: ignore[arg-type]
            found = jwt.decode(str(token.get("id_token", "")), keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
            claims = CodeIDToken(found.claims, found.header, options, wanted)
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise NotProven(Phrase("What {provider} answered does not hold. Sign in again.", provider=self.settings.oidc_name)) from error
        return dict(claims)

    def _told_more(self, metadata: Mapping[str, Any], token: Mapping[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
        """The claims with those of the userinfo endpoint, where it speaks of the same subject; the token's own go before."""
        headers = {"authorization": f"Bearer {token.get('access_token', '')}"}
        more = self._fetched("GET", metadata["userinfo_endpoint"], headers=headers)
        return more | claims if more.get("sub") == claims["sub"] else claims

    def _fetched(self, method: str, address: Any, **given: Any) -> dict[str, Any]:
        if not isinstance(address, str) or not is_safe(address):
            raise self._away(f"the address {address!r} is not https")
        try:
            # No client is kept: it would carry one person's cookies to the next.
            answer = httpx.request(method, address, timeout=TIMEOUT_S, verify=_certificates(), **given)
            found = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._away(type(error).__name__) from error
        if not isinstance(found, dict):
            raise self._away("it answered something else than an object")
        return found

    def _away(self, why: str) -> ProviderAway:
        log.warning("the OpenID provider %s does not answer as it should: %s", self.settings.oidc_issuer, why)
        return ProviderAway(
            Phrase(
                "{provider} does not answer as it should. Try again in a moment, or sign in with your password.",
                provider=self.settings.oidc_name,
            )
        )


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust, read once: it takes longer than the rest of a request."""
    return httpx.create_ssl_context()


def is_safe(address: str) -> bool:
    """Whether an address may be asked: by https, or on this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))
