"""The token endpoint: access tokens for signed assertions, as Google's OAuth 2 server grants them to service accounts.

Source: RFC 7523, and Google's "Using OAuth 2.0 for Server to Server Applications". The signature is not verified: the
keys are throw-away ones that this server never saw.
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

TOKEN_PREFIX: Final = "local-access-token."  # noqa: S105 - nothing is behind it
"""So that one is known wherever it should not be."""

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLAIMS: Final = ("iss", "aud", "exp")


class GrantRefusedError(ValueError):
    """No token for this request; `error` is the code of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


def claims_of_grant(body: bytes, *, now: float) -> Mapping[str, Any]:
    """Return the claims of the assertion in a form-encoded request for a token.

    Args:
        body: `grant_type` and `assertion`, a signed JWT.
        now: Seconds since 1970.

    Raises:
        GrantRefusedError: It is another grant, no JWT, has expired, or lacks a claim.
    """
    form = parse_qs(body.decode("ascii", "replace"))
    if form.get("grant_type") != [JWT_BEARER]:
        raise GrantRefusedError("unsupported_grant_type", f"Only {JWT_BEARER} is granted here.")
    claims = _jwt_claims(form.get("assertion", [""])[0])
    if missing := [name for name in _CLAIMS if not claims.get(name)]:
        raise GrantRefusedError("invalid_grant", f"The assertion lacks {', '.join(missing)}.")
    if not isinstance(claims["exp"], int | float) or claims["exp"] <= now:
        raise GrantRefusedError("invalid_grant", "The assertion has expired.")
    return claims


def _jwt_claims(jwt: str) -> Mapping[str, Any]:
    header, _, rest = jwt.partition(".")
    payload, _, signature = rest.partition(".")
    try:
        algorithm = orjson.loads(_unpadded(header))
        claims = orjson.loads(_unpadded(payload))
    except (binascii.Error, ValueError) as error:
        raise GrantRefusedError("invalid_grant", "The assertion is no JWT.") from error
    if not signature or not isinstance(algorithm, dict) or not isinstance(claims, dict):
        raise GrantRefusedError("invalid_grant", "The assertion is no signed JWT.")
    return claims


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """The access tokens that are valid. `clock` tells the seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._expiries: dict[str, float] = {}

    def grant(self, body: bytes, lifetime_seconds: int) -> dict[str, Any]:
        """Return the token endpoint's answer to a request: `access_token`, `expires_in` in seconds, `token_type`.

        Raises:
            GrantRefusedError: The request is not for a token that is granted here.
        """
        now = self._clock()
        claims_of_grant(body, now=now)
        self._expiries = {token: expiry for token, expiry in self._expiries.items() if expiry > now}
        token = f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}"
        self._expiries[token] = now + lifetime_seconds
        return {"access_token": token, "expires_in": lifetime_seconds, "token_type": "Bearer"}

    def accept(self, authorization: str) -> bool:
        """Whether the value of an Authorization header bears a token that was granted and has not expired."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._expiries.get(token.strip(), 0.0) > self._clock()
