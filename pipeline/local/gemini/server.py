"""Run the stand-in on a thread of this process, on loopback only."""

import asyncio
import datetime as dt
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.local.gemini.app import TRANSPORT, build_app
from pipeline.local.gemini.config import GeminiConfig
from pipeline.local.gemini.service import GeminiService
from pipeline.local.gemini.stats import GeminiStats

_Result = TypeVar("_Result")
_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 10.0
_BACKLOG: Final = 2_048
_KEEP_ALIVE_SECONDS: Final = 240
"""As long as Google's front end keeps idle connections; uvicorn's 5 s would close those in clients' pools."""


class _Protocol(HttpToolsProtocol):
    """Puts the connection's transport into the ASGI scope, so that the application can drop the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class _Server(uvicorn.Server):
    """Signals when it serves, and stops without waiting for calls that never end."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self.serving = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await super().shutdown(sockets)


class GeminiStandIn:
    """A local Gemini over HTTP, used as a context manager or with `start` and `stop`; can be started again.

    `url` is the value of GOOGLE_VERTEX_BASE_URL, `token_url` the `token_uri` of a service-account file.
    """

    def __init__(self, config: GeminiConfig | None = None, *, listener: socket.socket | None = None) -> None:
        """Take the configuration, and a socket that listens already; None: `start` opens one on a free port."""
        self._config = config or GeminiConfig()
        self._listener = listener
        self._port: int | None = None
        self._service: GeminiService | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """URL of the running server, without a trailing slash."""
        if self._port is None:
            raise RuntimeError("the Gemini stand-in is not running: call start() first")
        return f"http://{_LOOPBACK}:{self._port}"

    @property
    def token_url(self) -> str:
        """URL of the token endpoint."""
        return f"{self.url}/token"

    def start(self) -> Self:
        """Serve on a new thread, and return when it accepts calls.

        Raises:
            RuntimeError: It is already running, or did not start within ten seconds.
        """
        if self._server is not None:
            raise RuntimeError("the Gemini stand-in is already running")
        listener = self._listener or socket.create_server((_LOOPBACK, 0), backlog=_BACKLOG)
        stopping = asyncio.Event()
        service = GeminiService(self._config, lambda: dt.datetime.now(dt.UTC))
        server = _Server(_uvicorn_config(service, stopping), stopping)
        thread = threading.Thread(target=server.run, args=([listener],), name="gemini-stand-in", daemon=True)
        thread.start()
        if not server.serving.wait(_START_SECONDS):
            server.should_exit = True
            listener.close()
            raise RuntimeError(f"the Gemini stand-in did not start within {_START_SECONDS:.0f} s")
        self._port = listener.getsockname()[1]
        self._service, self._server, self._thread = service, server, thread
        return self

    def stop(self) -> None:
        """Drop every connection and end the thread, within two seconds; does nothing if it is not running."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError(f"the Gemini stand-in did not stop within {_STOP_SECONDS:.0f} s")
        self._port = self._service = self._server = self._thread = None

    def stats(self) -> GeminiStats:
        """Return the counts, like `GET /admin/stats`."""
        return self._on_loop(lambda service: service.stats())

    def reset(self) -> None:
        """Reset the counts, like `POST /admin/reset`."""
        self._on_loop(lambda service: service.reset())

    def configure(self, **changes: Any) -> GeminiConfig:
        """Replace fields of the configuration and return it, like `PUT /admin/config`.

        Raises:
            pydantic.ValidationError: A field is unknown or its value is not allowed.
        """
        return self._on_loop(lambda service: service.configure(changes))

    def _on_loop(self, action: Callable[[GeminiService], _Result]) -> _Result:
        """Run an action on the server's event loop, between the calls."""
        if self._server is None or self._service is None or self._server.loop is None:
            raise RuntimeError("the Gemini stand-in is not running: call start() first")
        service = self._service

        async def act() -> _Result:
            return action(service)

        return asyncio.run_coroutine_threadsafe(act(), self._server.loop).result(_STOP_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _uvicorn_config(service: GeminiService, stopping: asyncio.Event) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(service, stopping),
        http=_Protocol,
        ws="none",
        lifespan="off",
        loop="uvloop",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
