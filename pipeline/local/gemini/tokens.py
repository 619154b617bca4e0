"""The token endpoint: access tokens for signed assertions, as Google's OAuth 2 server grants them to service accounts.

Source: RFC 7523, and Google's "Using OAuth 2.0 for Server to Server Applications". Signatures are not verified: the
clients' keys are throw-away keys that this server does not know.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import jwt

TOKEN_PREFIX: Final = "local-access-token."  # noqa: S105 - not a secret: it gives access to nothing
"""Marks the tokens of the local stack, so that a leaked one is recognised."""

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLAIMS: Final = ("iss", "aud", "exp")


class GrantRefusedError(ValueError):
    """A token request was refused; `error` is the code of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


def claims_of_grant(body: bytes, *, now: float) -> Mapping[str, Any]:
    """Return the claims of the assertion in a form-encoded token request.

    Args:
        body: `grant_type` and `assertion`, a signed JWT.
        now: Seconds since 1970.

    Raises:
        GrantRefusedError: The grant type is another, or the assertion is not a signed JWT, has expired, or lacks a
            claim.
    """
    form = parse_qs(body.decode("ascii", "replace"))
    if form.get("grant_type") != [JWT_BEARER]:
        raise GrantRefusedError("unsupported_grant_type", f"This server only grants {JWT_BEARER}.")
    try:
        # Without verification, which includes the expiry: it is checked below against `now`.
        token = jwt.decode_complete(form.get("assertion", [""])[0], options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise GrantRefusedError("invalid_grant", "The assertion is not a JWT.") from error
    claims: Mapping[str, Any] = token["payload"]
    if not token["signature"]:
        raise GrantRefusedError("invalid_grant", "The assertion is not signed.")
    if missing := [name for name in _CLAIMS if not claims.get(name)]:
        raise GrantRefusedError("invalid_grant", f"The assertion lacks {', '.join(missing)}.")
    if not isinstance(claims["exp"], int | float) or claims["exp"] <= now:
        raise GrantRefusedError("invalid_grant", "The assertion has expired.")
    return claims


class Tokens:
    """The access tokens that are valid. `clock` returns the seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._expiries: dict[str, float] = {}

    def grant(self, body: bytes, lifetime_seconds: int) -> dict[str, Any]:
        """Return the token endpoint's answer to a request: `access_token`, `expires_in` in seconds, `token_type`.

        Raises:
            GrantRefusedError: The request is refused.
        """
        now = self._clock()
        claims_of_grant(body, now=now)
        self._expiries = {token: expiry for token, expiry in self._expiries.items() if expiry > now}
        token = f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}"
        self._expiries[token] = now + lifetime_seconds
        return {"access_token": token, "expires_in": lifetime_seconds, "token_type": "Bearer"}

    def accept(self, authorization: str) -> bool:
        """Whether the Authorization header holds a token that was granted and has not expired."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._expiries.get(token.strip(), 0.0) > self._clock()
