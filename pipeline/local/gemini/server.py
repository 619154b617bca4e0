"""Running the stand-in: on a thread of this process, on loopback only."""

import asyncio
import datetime as dt
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.local.gemini.app import TRANSPORT, Pauses, build_app
from pipeline.local.gemini.config import GeminiConfig
from pipeline.local.gemini.service import GeminiService
from pipeline.local.gemini.stats import GeminiStats

_Result = TypeVar("_Result")
_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 10.0
_BACKLOG: Final = 2_048
_KEEP_ALIVE_SECONDS: Final = 240
"""As long as Google's front end keeps an idle connection; uvicorn's five seconds would race with clients' pools."""


class _Protocol(HttpToolsProtocol):
    """Hands the connection's transport to the application, which must be able to drop it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class _Server(uvicorn.Server):
    """Says when it serves, and stops without waiting for calls that never end."""

    def __init__(self, config: uvicorn.Config, pauses: Pauses) -> None:
        super().__init__(config)
        self.serving = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._pauses = pauses

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._pauses.end()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await super().shutdown(sockets)


class GeminiStandIn:
    """A local Gemini over HTTP, as a context manager or by `start` and `stop`; may be started again.

    `url` is what GOOGLE_VERTEX_BASE_URL takes, `token_url` what a service-account file names as its `token_uri`.
    """

    def __init__(self, config: GeminiConfig | None = None, *, port: int = 0) -> None:
        """Take the first configuration, and a port of loopback, 0 for a free one; nothing is opened yet."""
        self._config = config or GeminiConfig()
        self._wanted_port = port
        self._port: int | None = None
        self._service: GeminiService | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Address of the running server, without a slash at its end."""
        if self._port is None:
            raise RuntimeError("the Gemini stand-in is not running: start it first")
        return f"http://{_LOOPBACK}:{self._port}"

    @property
    def token_url(self) -> str:
        """Address of the token endpoint."""
        return f"{self.url}/token"

    def start(self) -> Self:
        """Serve from a thread of its own, and return when calls are answered.

        Raises:
            OSError: The port is taken.
            RuntimeError: It runs already, or does not come up within ten seconds.
        """
        if self._server is not None:
            raise RuntimeError("the Gemini stand-in is running already")
        listener = socket.create_server((_LOOPBACK, self._wanted_port), backlog=_BACKLOG)
        pauses = Pauses()
        service = GeminiService(self._config, lambda: dt.datetime.now(dt.UTC))
        server = _Server(_uvicorn_config(service, pauses), pauses)
        thread = threading.Thread(target=server.run, args=([listener],), name="gemini-stand-in", daemon=True)
        thread.start()
        if not server.serving.wait(_START_SECONDS):
            server.should_exit = True
            listener.close()
            raise RuntimeError("the Gemini stand-in did not start")
        self._port = listener.getsockname()[1]
        self._service, self._server, self._thread = service, server, thread
        return self

    def stop(self) -> None:
        """Drop every connection and end the thread, within two seconds; a second time does nothing."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError("the Gemini stand-in did not stop")
        self._port = self._service = self._server = self._thread = None

    def stats(self) -> GeminiStats:
        """Return what was counted; the same as `GET /admin/stats`."""
        return self._on_loop(lambda service: service.stats())

    def reset(self) -> None:
        """Count anew; the same as `POST /admin/reset`."""
        self._on_loop(lambda service: service.reset())

    def configure(self, **changes: Any) -> GeminiConfig:
        """Replace fields of the configuration and return it; the same as `PUT /admin/config`.

        Raises:
            pydantic.ValidationError: A field is unknown or its value is not allowed.
        """
        return self._on_loop(lambda service: service.configure(changes))

    def _on_loop(self, action: Callable[[GeminiService], _Result]) -> _Result:
        """Do something to the service where no call can be in the midst of its work."""
        if self._server is None or self._service is None or self._server.loop is None:
            raise RuntimeError("the Gemini stand-in is not running: start it first")
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


def _uvicorn_config(service: GeminiService, pauses: Pauses) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(service, pauses),
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
