"""Serve an ASGI application on a thread of this process, on loopback only."""

import socket
import threading
from typing import Any, Final, Self

import uvicorn
from starlette.types import ASGIApp

_LOOPBACK: Final = "127.0.0.1"
_SECONDS: Final = 10.0


class LoopbackServer:
    """A server on a free port; a context manager. `options` are uvicorn's."""

    def __init__(self, app: ASGIApp, name: str, **options: Any) -> None:
        self._name = name
        self._server = _Server(
            uvicorn.Config(
                app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1, **options
            )
        )
        self._listener = socket.create_server((_LOOPBACK, 0))
        self.address = f"{_LOOPBACK}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.serving.wait(_SECONDS):
            raise RuntimeError(f"{self._name} did not start within {_SECONDS:g} s")
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join(_SECONDS)


class _Server(uvicorn.Server):
    """Sets `serving` when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()
