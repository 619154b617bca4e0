"""Tokens that Google signs: OpenID Connect's as bearer tokens, and IAP's in its header → an email.

google-auth verifies them. Certificates are read over HTTP and kept as long as their answer allows; while they can't be
read, those that are known are used.
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt as pyjwt
import orjson
import requests
import structlog
from cachetools import TTLCache
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from pipeline.api.problems import Unauthenticated, unavailable

GOOGLE_CERTS: Final = "https://www.googleapis.com/oauth2/v1/certs"
IAP_CERTS: Final = "https://www.gstatic.com/iap/verify/public_key"
MAX_TOKEN: Final = 8_192
"""Characters; Google's have some 1,200."""

_ACCEPTED_SECONDS: Final = 60.0
"""For how long a verified token is not verified again; its own expiry is checked each time."""

_FETCH_SECONDS: Final = 5.0
_MAX_CERTS_BYTES: Final = 1_000_000
_MIN_AGE: Final = 60.0
_MAX_AGE: Final = 86_400.0
_CLOCK_SKEW: Final = 10
_FAR: Final = 2**53
_MAX_AGE_HEADER: Final = re.compile(r"max-age=([0-9]{1,9})")
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class TokenRules:
    """Which tokens are accepted.

    Attributes:
        certs_url: Where the certificates are: PEM by key id, or a JSON Web Key Set.
        issuers: Values of `iss`.
        audiences: Values of `aud`.
        algorithm: Of the signature; others are refused before any key is looked up.
        is_email_verified: Whether `email_verified` must be true.
    """

    certs_url: str
    issuers: frozenset[str]
    audiences: tuple[str, ...]
    algorithm: str
    is_email_verified: bool


def oidc_rules(audience: str, certs_url: str = GOOGLE_CERTS) -> TokenRules:
    """Return the rules of OpenID Connect's tokens by Google."""
    issuers = frozenset({"https://accounts.google.com", "accounts.google.com"})
    return TokenRules(certs_url, issuers, (audience,), "RS256", is_email_verified=True)


def iap_rules(audience: str, certs_url: str = IAP_CERTS) -> TokenRules:
    """Return the rules of the header of Identity-Aware Proxy."""
    return TokenRules(certs_url, frozenset({"https://cloud.google.com/iap"}), (audience,), "ES256", False)


@dataclass
class _Certs:
    by_key: Mapping[str, str] = field(default_factory=dict)
    read_at: float = float("-inf")
    kept_until: float = float("-inf")


class GoogleTokens:
    """Verifies tokens; may be called from several threads.

    Args:
        rules: Which tokens are accepted.
        fetch: Reads an address, and returns its text and for how many seconds that may be kept.
    """

    def __init__(self, rules: TokenRules, fetch: "Callable[[str], tuple[bytes, float]] | None" = None) -> None:
        self._rules = rules
        self._fetch = fetch or fetch_certs
        self._certs = _Certs()
        self._lock = threading.Lock()
        self._accepted: TTLCache[bytes, tuple[str, float]] = TTLCache(10_000, _ACCEPTED_SECONDS)
        self._accepted_lock = threading.Lock()

    def known_email(self, token: str) -> str | None:
        """Return the email of a token that was verified a moment ago and has not expired; None: verify it."""
        with self._accepted_lock:
            known = self._accepted.get(_digest(token))
        return known[0] if known and time.time() < known[1] else None

    def email_of(self, token: str) -> str:
        """Return the email in a token, in lower case.

        Raises:
            Unauthenticated: The token is not one of Google's for this service, or has expired.
            Problem: The certificates can't be read.
        """
        claims = self._verified(token)
        email = claims.get("email")
        if not isinstance(email, str) or (self._rules.is_email_verified and claims.get("email_verified") is not True):
            raise Unauthenticated("the token has no verified email: ask for one with the scope email")
        with self._accepted_lock:
            self._accepted[_digest(token)] = (email.lower(), float(min(claims["exp"], _FAR)) + _CLOCK_SKEW)
        return email.lower()

    def _verified(self, token: str) -> Mapping[str, Any]:
        key_id = self._key_id(token)
        certs = self._certs_with(key_id)
        if key_id not in certs:
            raise Unauthenticated("the token is signed by an unknown key: expected a token that Google issued")
        try:
            claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=certs, audience=list(self._rules.audiences), clock_skew_in_seconds=_CLOCK_SKEW
            )
        except (GoogleAuthError, ValueError, TypeError, AttributeError) as error:
            raise Unauthenticated(_why(error)) from None
        if str(claims.get("iss")) not in self._rules.issuers:
            raise Unauthenticated("the token has another issuer: expected one that Google issued")
        return claims

    def _key_id(self, token: str) -> str:
        """Return the id of a token's key.

        Raises:
            Unauthenticated: The token has none, or another algorithm.
        """
        if len(token) > MAX_TOKEN:
            raise Unauthenticated("the token is too long")
        try:
            header = pyjwt.get_unverified_header(token)
        except (pyjwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise Unauthenticated("the token is malformed: expected a JSON Web Token") from None
        key_id = header.get("kid")
        if header.get("alg") != self._rules.algorithm or not isinstance(key_id, str):
            raise Unauthenticated(f"the token is not signed with {self._rules.algorithm} and a key id")
        return key_id

    def _certs_with(self, key_id: str) -> Mapping[str, str]:
        """Return the certificates, read again if they are too old, or lack a key and were not read just now."""
        with self._lock:
            now = time.monotonic()
            is_unknown = key_id not in self._certs.by_key and now > self._certs.read_at + _MIN_AGE
            if now > self._certs.kept_until or is_unknown:
                self._read_certs(now)
            return self._certs.by_key

    def _read_certs(self, now: float) -> None:
        try:
            text, seconds = self._fetch(self._rules.certs_url)
            self._certs = _Certs(certs_of(text), now, now + min(max(seconds, _MIN_AGE), _MAX_AGE))
        except (requests.RequestException, ValueError) as error:
            _log.warning("certificates can't be read", url=self._rules.certs_url, reason=type(error).__name__)
            if not self._certs.by_key:
                raise unavailable("the certificates of Google's tokens can't be read: try again") from None
            self._certs.kept_until = now + _MIN_AGE


def fetch_certs(url: str) -> tuple[bytes, float]:
    """Return the text at an address, and for how many seconds it may be kept.

    Raises:
        requests.RequestException: The address does not answer.
        ValueError: The answer is too large.
    """
    with requests.get(url, timeout=_FETCH_SECONDS, allow_redirects=False, stream=True) as answer:
        answer.raise_for_status()
        text = answer.raw.read(_MAX_CERTS_BYTES + 1, decode_content=True)
    if len(text) > _MAX_CERTS_BYTES:
        raise ValueError("the certificates are too large")
    match = _MAX_AGE_HEADER.search(answer.headers.get("Cache-Control", ""))
    return text, float(match[1]) if match else 0.0


def certs_of(text: bytes) -> Mapping[str, str]:
    """Return certificates or public keys as PEM by key id; keys of other kinds are left out.

    Raises:
        ValueError: The text is neither PEM by key id nor a JSON Web Key Set.
    """
    document = orjson.loads(text)
    if not isinstance(document, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - as for any other text that is none
    if not isinstance(document.get("keys"), list):
        if not document or not all(isinstance(pem, str) for pem in document.values()):
            raise ValueError("expected PEM by key id")
        return document
    keys: dict[str, str] = {}
    for entry in document["keys"]:
        try:
            key = pyjwt.PyJWK.from_dict(entry)
            pem = key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        except (pyjwt.PyJWTError, AttributeError, TypeError):
            continue
        if key.key_id:
            keys[key.key_id] = pem.decode()
    return keys


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _why(error: Exception) -> str:
    """Return why google-auth refuses a token: its own message quotes the token."""
    text = str(error)
    if "expired" in text:
        return "the token has expired: get a new one"
    if "wrong audience" in text:
        return "the token is for another audience: ask for one for this service"
    if "too early" in text:
        return "the token is not valid yet: check the clock of the machine that made it"
    return "the token is malformed, or its signature is wrong"
