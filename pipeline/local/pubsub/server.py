"""Serve the broker over gRPC on loopback, on one thread with its own event loop.

Only that thread calls the broker, so it needs no lock. Waiting subscribers are coroutines.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from grpc import aio  # type: ignore[import-untyped]  # grpcio ships no annotations

from pipeline.local.pubsub.arrivals import Arrivals
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.service import handlers

TICK_SECONDS = 0.05
"""How often expired leases are looked for."""

STOP_SECONDS = 0.5
"""How long calls may take to end when the broker stops."""

CALL_SECONDS = 10.0
"""How long to wait for an answer of the broker's thread."""

T = TypeVar("T")

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port in use is an error, not shared
    (
        "grpc.max_receive_message_length",
        32 * 1024 * 1024,
    ),  # to answer requests above Pub/Sub's 10 MB
    ("grpc.max_send_message_length", -1),
)


class EmbeddedPubSub:
    """A Pub/Sub broker in this process, which clients find through PUBSUB_EMULATOR_HOST.

    >>> with EmbeddedPubSub() as broker:
    ...     os.environ["PUBSUB_EMULATOR_HOST"] = broker.host
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._arrivals = Arrivals()
        self._broker = Broker(wake=self._arrivals.wake)
        self._bound: Future[int] = Future()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def host(self) -> str:
        """The address, for PUBSUB_EMULATOR_HOST."""
        if not self._bound.done():
            raise RuntimeError("the broker is not running: call start() first")
        return f"127.0.0.1:{self._bound.result()}"

    def start(self) -> Self:
        """Start serving. A broker can be started once.

        Raises:
            OSError: The port is taken.
            RuntimeError: The broker was started before.
        """
        if self._thread:
            raise RuntimeError("the broker was started before")
        # A daemon, so that the process can exit without stopping it.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="pubsub-broker", daemon=True)
        self._thread.start()
        self._bound.result()
        return self

    def stop(self) -> None:
        """End every call and the thread; messages are lost. A second call has no effect."""
        if self._thread and self._stopping and self._thread.is_alive():
            self._call(self._stopping.set)
            self._thread.join()

    def backlog(self, subscription: str) -> int:
        """Return the number of a subscription's unacknowledged messages, including those in flight.

        Raises:
            NotFoundError: The subscription does not exist.
        """
        return self._call(lambda: self._broker.subscription(subscription).backlog.unacknowledged)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(handlers(self._broker, self._arrivals))
        try:
            port = server.add_insecure_port(f"127.0.0.1:{self._port}")
            await server.start()
        except RuntimeError as error:  # what grpc raises if the port is taken
            self._bound.set_exception(OSError(f"cannot listen on 127.0.0.1:{self._port}: {error}"))
            return
        self._bound.set_result(port)
        await self._tick(self._stopping)
        self._arrivals.close()
        await server.stop(grace=STOP_SECONDS)

    async def _tick(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self._broker.advance()
            with contextlib.suppress(TimeoutError):  # the usual case: the tick is over
                await asyncio.wait_for(stopping.wait(), TICK_SECONDS)

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function on the broker's thread."""
        if not self._loop or self._loop.is_closed():
            raise RuntimeError("the broker is not running")

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(timeout=CALL_SECONDS)
