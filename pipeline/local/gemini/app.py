"""HTTP endpoints of the stand-in: generateContent, the token endpoint and the administration."""

import asyncio
import contextlib
from typing import Any, Final

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipeline.local.gemini.fault_kinds import FaultKind
from pipeline.local.gemini.service import Answer, GeminiService, Target
from pipeline.local.gemini.tokens import GrantRefusedError

TRANSPORT: Final = "rescoring.transport"
"""Extension of the ASGI scope that holds the connection's transport, for connection faults."""

_MODEL_PATH: Final = "/projects/{project}/locations/{location}/publishers/google/models/{model}"


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    """Sleep, but return at once when the server stops."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)


class GenerateContent:
    """The generateContent endpoint, as plain ASGI: connection faults need the transport, and it must be fast."""

    def __init__(self, service: GeminiService, stopping: asyncio.Event) -> None:
        self._service = service
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        body = await _read_body(receive)
        if body is None:
            return
        counts = self._service.counts
        number = counts.arrive()
        answer, is_complete = None, False
        try:
            target = Target(**{name: scope["path_params"][name] for name in ("project", "location", "model")})
            answer = self._service.answer(target, _header(scope, b"authorization"), body, number)
            await _pause(answer.delay_seconds, self._stopping)
            is_complete = await self._send(answer, scope, receive, send)
        finally:
            if counts is not self._service.counts:
                # After a reset, the new counts only hold this call as one in flight.
                self._service.counts.in_flight -= 1
            counts.leave(answer.status if answer and is_complete else None, answer.fault if answer else None)

    async def _send(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> bool:
        """Send the answer; return whether all of it was sent."""
        half = answer.body[: len(answer.body) // 2]
        transport: asyncio.Transport = scope["extensions"][TRANSPORT]["transport"]
        match answer.fault:
            case FaultKind.CONNECTION_DROPPED:
                transport.abort()
            case FaultKind.CONNECTION_DROPPED_MID_ANSWER:
                await _send_part(answer, half, send)
                transport.close()
            case FaultKind.HALF_OPEN:
                await _send_part(answer, half, send)
            case FaultKind.DRIPPING:
                if await self._drip(answer, transport, send):
                    return True
            case FaultKind.NO_ANSWER:
                pass
            case _:
                await send(_start(answer))
                await send({"type": "http.response.body", "body": answer.body})
                return True
        await _disconnection(receive)
        return False

    async def _drip(self, answer: Answer, transport: asyncio.Transport, send: Send) -> bool:
        await send(_start(answer))
        for index in range(len(answer.body)):
            if index:
                await _pause(self._service.config.drip_seconds, self._stopping)
            if transport.is_closing():
                return False
            byte = answer.body[index : index + 1]
            await send({"type": "http.response.body", "body": byte, "more_body": index + 1 < len(answer.body)})
        return True


def _start(answer: Answer) -> dict[str, Any]:
    headers = [
        (b"content-type", b"application/json; charset=UTF-8"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.retry_after_seconds is not None:
        headers.append((b"retry-after", str(answer.retry_after_seconds).encode()))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


async def _send_part(answer: Answer, part: bytes, send: Send) -> None:
    await send(_start(answer))
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the client disconnected before it was sent."""
    chunks = []
    while (message := await receive())["type"] != "http.disconnect":
        chunks.append(message["body"])
        if not message["more_body"]:
            return b"".join(chunks)
    return None


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


class _Endpoints:
    """The endpoints besides generateContent, which are called rarely."""

    def __init__(self, service: GeminiService) -> None:
        self._service = service

    async def token(self, request: Request) -> Response:
        try:
            granted = self._service.tokens.grant(await request.body(), self._service.config.token_lifetime_seconds)
        except GrantRefusedError as error:
            return _json({"error": error.error, "error_description": str(error)}, 400)
        self._service.counts.tokens_granted += 1
        return _json(granted)

    async def stats(self, _: Request) -> Response:
        return _json(self._service.counts)

    async def reset(self, _: Request) -> Response:
        self._service.reset()
        return _json({})

    async def read_config(self, _: Request) -> Response:
        return _json(self._service.config.model_dump(mode="json"))

    async def change_config(self, request: Request) -> Response:
        try:
            changes = orjson.loads(await request.body())
            if not isinstance(changes, dict):
                return _unprocessable("expected a JSON object")
            return _json(self._service.configure(changes).model_dump(mode="json"))
        except orjson.JSONDecodeError as error:
            return _unprocessable(f"not JSON: {error}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            return _unprocessable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _unprocessable(message: str) -> Response:
    kinds = [kind.value for kind in FaultKind]
    return _json({"error": {"code": 422, "message": message, "status": "INVALID_CONFIG", "kinds": kinds}}, 422)


def build_app(service: GeminiService, stopping: asyncio.Event) -> Starlette:
    """Return the ASGI application, whose server must put each connection's transport into the scope.

    Setting `stopping` ends the delays of answers.
    """
    other = _Endpoints(service)
    generate = GenerateContent(service, stopping)
    return Starlette(
        routes=[
            *(
                Route(f"{version}{_MODEL_PATH}:generateContent", generate, methods=["POST"])
                for version in ("/v1", "/v1beta1")
            ),
            Route("/token", other.token, methods=["POST"]),
            Route("/admin/stats", other.stats, methods=["GET"]),
            Route("/admin/reset", other.reset, methods=["POST"]),
            Route("/admin/config", other.read_config, methods=["GET"]),
            Route("/admin/config", other.change_config, methods=["PUT"]),
        ]
    )
