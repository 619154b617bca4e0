"""Signatures of webhooks: who has the secret, when they signed, and that nobody sends the same again.

    X-Rescore-Webhook: salesforce-flow
    X-Rescore-Signature: t=1772443800,n=4f9d2c81b7a0,v1=<hex>

`v1` is the HMAC-SHA256, with the webhook's secret, of `t.n.METHOD.path.` and the body's bytes. `t` is the time in
seconds since 1970, `n` a nonce of 8 to 64 letters, digits, - and _.
"""

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from cachetools import TTLCache

from pipeline.api.problems import Kind, Problem, Unauthenticated, unavailable
from transforms.clients.secret_reader import SecretReader, read_secret
from transforms.clients.secrets import SecretUnavailable

NAME_HEADER: Final = "x-rescore-webhook"
SIGNATURE_HEADER: Final = "x-rescore-signature"
TOLERANCE_SECONDS: Final = 300
MAX_NONCES: Final = 100_000
SECRET_SECONDS: Final = 60.0
"""For how long a secret is not read again: a new version is used after that time at the latest."""

_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),n=([A-Za-z0-9_-]{8,64}),v1=([0-9a-f]{64})")


class WebhookSignatures:
    """Verifies signatures; may be called from several threads.

    Args:
        read: Reads a secret by its name.
        now: Seconds since 1970.
    """

    def __init__(self, read: SecretReader = read_secret, now: Callable[[], float] = time.time) -> None:
        self._read = read
        self._now = now
        self._secrets: TTLCache[str, bytes] = TTLCache(1_000, SECRET_SECONDS)
        # A signature is accepted for its tolerance before and behind: longer its nonce need not be known.
        self._nonces: TTLCache[tuple[str, str], bool] = TTLCache(MAX_NONCES, 2 * TOLERANCE_SECONDS + 1, timer=now)
        self._lock = threading.Lock()

    def verify(
        self, webhooks: Mapping[str, tuple[str, ...]], name: str, signature: str, signed: tuple[str, str, bytes]
    ) -> None:
        """Check a signature, and remember its nonce.

        Args:
            webhooks: Names of secrets by names of webhooks.
            name: The webhook's, as sent.
            signature: As sent.
            signed: Method, path and body.

        Raises:
            Unauthenticated: It is not signed with the secret, or not now, or was used before.
            Problem: The secret can't be read, or too many signatures are remembered.
        """
        match = _SIGNATURE.fullmatch(signature)
        if not match:
            raise Unauthenticated(f"{SIGNATURE_HEADER} is malformed: expected t=SECONDS,n=NONCE,v1=HEX")
        seconds, nonce, given = match.groups()
        method, path, body = signed
        text = f"{seconds}.{nonce}.{method}.{path}.".encode() + body
        # Also for a name that is unknown, so that the time tells nothing of names.
        secrets = [self._secret(it) for it in webhooks.get(name, ())] or [b"no such webhook"]
        matches = [hmac.compare_digest(hmac.new(it, text, hashlib.sha256).hexdigest(), given) for it in secrets]
        if name not in webhooks or not any(matches):
            raise Unauthenticated("the signature is wrong, or the webhook is not on the allow-list")
        if abs(self._now() - int(seconds)) > TOLERANCE_SECONDS:
            raise Unauthenticated(f"the signature is older than {TOLERANCE_SECONDS} s, or of the future: sign again")
        self._remember(name, nonce)

    def _remember(self, name: str, nonce: str) -> None:
        with self._lock:
            self._nonces.expire()
            if (name, nonce) in self._nonces:
                raise Unauthenticated("the signature was used before: sign each request with a nonce of its own")
            if len(self._nonces) >= MAX_NONCES:  # the oldest would be forgotten, and could be sent again
                raise Problem(Kind.TOO_MANY, "too many signatures at once", headers={"Retry-After": "60"})
            self._nonces[name, nonce] = True

    def _secret(self, name: str) -> bytes:
        with self._lock:
            known = self._secrets.get(name)
        if known is not None:
            return known
        try:
            secret = self._read(name).strip().encode()
        except SecretUnavailable:
            raise unavailable("the secret of webhooks can't be read: try again") from None
        with self._lock:
            self._secrets[name] = secret
        return secret


def signature_of(secret: str, signed: tuple[str, str, bytes], seconds: int, nonce: str) -> str:
    """Return the value of the header that signs a request: what a client computes."""
    method, path, body = signed
    text = f"{seconds}.{nonce}.{method}.{path}.".encode() + body
    return f"t={seconds},n={nonce},v1={hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}"
