"""Idempotency keys: a request that is sent again gets the answer of the first time, and does nothing twice.

    Idempotency-Key: 5f1c9c1e-…

Kept for a day, in this process. What failed is forgotten, and may be tried again.
"""

import hashlib
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

from cachetools import TTLCache
from fastapi import Header, Response

from pipeline.api.problems import Kind, Problem, invalid

MAX_KEYS: Final = 10_000
_SECONDS: Final = 86_400.0

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A text of your own: the same request with the same key is carried out once",
        min_length=8,
        max_length=128,
        pattern="^[A-Za-z0-9_.:-]+$",
    ),
]


@dataclass
class _Entry:
    digest: bytes
    answer: Response | None = None


class IdempotentAnswers:
    """Answers by principal and key."""

    def __init__(self) -> None:
        self._entries: TTLCache[tuple[str, str], _Entry] = TTLCache(MAX_KEYS, _SECONDS)
        self._lock = threading.Lock()

    async def once(
        self, principal: str, key: str | None, request: str, carry_out: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Carry a request out, or return its answer of the first time.

        Args:
            principal: Who asks: keys of others are others.
            key: The key; None: carry it out each time.
            request: What is asked for; another request must have another key.
            carry_out: Carries it out.

        Raises:
            Problem: The key was used for another request, or the first one has not ended.
        """
        if key is None:
            return await carry_out()
        digest = hashlib.sha256(request.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            known = self._entries.get((principal, key))
            if known is None:
                self._entries[principal, key] = entry = _Entry(digest)
        if known is not None:
            return _known(known, digest)
        try:
            entry.answer = await carry_out()
        finally:
            if entry.answer is None or entry.answer.status_code >= HTTPStatus.BAD_REQUEST:
                with self._lock:
                    self._entries.pop((principal, key), None)
        return entry.answer


def _known(entry: _Entry, digest: bytes) -> Response:
    if entry.digest != digest:
        raise invalid("header.Idempotency-Key", "the key was used for another request: take a new one")
    if entry.answer is None:
        raise Problem(Kind.CONFLICT, "the request with this key is being carried out", headers={"Retry-After": "5"})
    again = Response(entry.answer.body, entry.answer.status_code, dict(entry.answer.headers))
    again.headers["Idempotency-Replayed"] = "true"
    return again
