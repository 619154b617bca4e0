"""The gate before the routes: bounds what is read, says who asks, counts, and answers what nobody else did.

A body is read only if the request is from a principal, or signed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import anyio.to_thread
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.auth.authenticator import check_origin
from pipeline.api.problems import Kind, Problem, problem_of
from pipeline.api.rate_limits import Use
from pipeline.api.services import Services

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""Paths that tell nothing of anybody, and need no principal."""

MAX_BODY: Final = 64 * 1024
MAX_EVENTS_BODY: Final = 3 * 1024 * 1024
"""Of change events: as much as the pipeline reads of one message."""

MAX_URL: Final = 8_192
BODY_SECONDS: Final = 30.0
_EVENTS_PATH: Final = "/v1/change-events"
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_log = structlog.stdlib.get_logger(__name__)


class Gate:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = _Answer(send)
        try:
            await self._app(scope, await self._admitted(scope, receive), answer)
        except Exception as error:  # noqa: BLE001 - a defect is one answer, and one line in the log
            await self._answer_error(error, scope, receive, answer)
        finally:
            self._count(scope, answer.status, time.perf_counter() - began)
            if scope["method"] not in _READS and (principal := scope.get("state", {}).get("principal")):
                _log.info("request", principal=principal.name, route=_route(scope), status=answer.status)

    async def _admitted(self, scope: Scope, receive: Receive) -> Receive:
        """Say who asks, in the scope's state, and return what gives the routes the body.

        Raises:
            Problem: The request ends here.
        """
        method, path = scope["method"], scope["path"]
        if len(scope.get("raw_path") or path) + len(scope["query_string"]) > MAX_URL:
            raise Problem(Kind.BAD_REQUEST, f"the address is too long: {MAX_URL:,} characters at most")
        headers = _headers(scope)
        if path in OPEN_PATHS:
            return _body_again(b"")
        authenticator, body = self._services.authenticator, b""
        principal = authenticator.known(headers)
        check_origin(headers, method, is_anonymous=principal is not None and principal is authenticator.anonymous)
        limit = MAX_EVENTS_BODY if path == _EVENTS_PATH else MAX_BODY
        if principal is None and authenticator.needs_body(headers):
            body = await _read_body(headers, receive, limit)
            principal = await anyio.to_thread.run_sync(authenticator.principal, headers, method, path, body)
        else:
            if principal is None:
                principal = await anyio.to_thread.run_sync(authenticator.principal, headers, method, path, b"")
            body = await _read_body(headers, receive, limit)
        self._services.rate_limiter.count(principal.name, Use.READ if method in _READS else Use.WRITE)
        scope.setdefault("state", {})["principal"] = principal
        return _body_again(body)

    async def _answer_error(self, error: Exception, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        problem = problem_of(error)
        if problem.kind is Kind.FAILED:
            _log.error("a request failed: a defect", route=_route(scope), exc_info=error)
        if not answer.status:
            await problem.response()(scope, receive, answer)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._services.metrics.count(_route(scope), method, status, seconds)


class _Answer:
    """Sends an answer with the headers that each has, and remembers its status; 0: none was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await self._send(message)


def _headers(scope: Scope) -> Mapping[str, str]:
    """Return the headers by their names in lower case; of repeated ones the first, so that none can be overridden."""
    found: MutableMapping[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


async def _read_body(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    too_large = Problem(Kind.TOO_LARGE, f"the body has more than {limit:,} bytes: send less at once")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > len(str(limit)) or int(length) > limit):
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(Kind.TIMEOUT, "the body is not complete")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(Kind.TIMEOUT, f"the body was not complete after {BODY_SECONDS:g} s") from None


def _body_again(body: bytes) -> Callable[[], Awaitable[Message]]:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _route(scope: Scope) -> str:
    """Return the pattern of a request's route; a path could name an account."""
    return str(getattr(scope.get("route"), "path", "other"))
