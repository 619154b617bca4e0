"""Pull and StreamingPull, the two ways to wait for messages."""

import asyncio
from collections.abc import Sequence
from typing import Any

from grpc import aio  # type: ignore[import-untyped]  # grpcio ships no annotations

from pipeline.local.pubsub.arrivals import Arrivals
from pipeline.local.pubsub.broker import MAX_PULLED_MESSAGES, Broker
from pipeline.local.pubsub.delivery import Delivery, FlowControl
from pipeline.local.pubsub.errors import InvalidArgumentError
from pipeline.local.pubsub.validation import check_stream_deadline
from pipeline.local.pubsub.wire import PullRequest, PullResponse, StreamingPullRequest, StreamingPullResponse

IDLE_PULL_SECONDS = 0.01
"""How long a pull waits for messages. Short, since Beam's DirectRunner fires no timers during a pull."""


async def pull(broker: Broker, arrivals: Arrivals, request: PullRequest) -> PullResponse:
    """Return messages as soon as there are any, or an empty response after `IDLE_PULL_SECONDS`."""
    response = PullResponse()
    deliveries: Sequence[Delivery] = broker.pull(request.subscription, request.max_messages)
    if not deliveries and not request.return_immediately:
        deliveries = await _await_messages(broker, arrivals, request)
    _add(response, deliveries)
    return response


async def _await_messages(broker: Broker, arrivals: Arrivals, request: PullRequest) -> Sequence[Delivery]:
    try:
        async with asyncio.timeout(IDLE_PULL_SECONDS):
            with arrivals.watch(request.subscription) as arrival:
                while not arrivals.is_closed:
                    await arrival.wait()
                    arrival.clear()
                    # Another subscriber may have taken the messages: then wait on.
                    if deliveries := broker.pull(request.subscription, request.max_messages):
                        return deliveries
    except TimeoutError:
        return ()  # an idle subscription is not an error
    return ()


class Stream:
    """One StreamingPull, which reads acknowledgements and writes messages concurrently.

    `context` is grpc.aio's; its `write` waits while the client is slow.
    """

    def __init__(self, broker: Broker, arrivals: Arrivals, context: Any) -> None:
        self._broker = broker
        self._arrivals = arrivals
        self._context = context
        self._subscription = ""
        self._ack_deadline_seconds = 0
        self._flow = FlowControl()

    async def serve(self) -> None:
        """Serve until the client half-closes, the subscription is deleted or the broker stops."""
        first = await self._context.read()
        if first is aio.EOF:
            return
        self._open(first)
        with self._arrivals.watch(self._subscription) as arrival:
            reader = asyncio.create_task(self._read())
            reader.add_done_callback(lambda _: arrival.set())
            try:
                await self._write(reader, arrival)
            finally:
                reader.cancel()

    def _open(self, first: StreamingPullRequest) -> None:
        self._subscription = first.subscription
        self._broker.subscription(self._subscription)
        if not first.stream_ack_deadline_seconds:
            raise InvalidArgumentError("the first message must set stream_ack_deadline_seconds")
        self._flow = FlowControl(first.max_outstanding_messages, first.max_outstanding_bytes)
        self._apply(first)

    async def _read(self) -> None:
        while (request := await self._context.read()) is not aio.EOF:
            for name in ("subscription", "max_outstanding_messages", "max_outstanding_bytes", "protocol_version"):
                if getattr(request, name):
                    raise InvalidArgumentError(f"{name} may only be set in the first message")
            self._apply(request)

    def _apply(self, request: StreamingPullRequest) -> None:
        if request.stream_ack_deadline_seconds:
            check_stream_deadline(request.stream_ack_deadline_seconds)
            self._ack_deadline_seconds = request.stream_ack_deadline_seconds
        if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
            raise InvalidArgumentError("ack IDs and deadlines must have the same size")
        self._broker.acknowledge(self._subscription, request.ack_ids)
        for ack_id, seconds in zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True):
            self._broker.modify_ack_deadline(self._subscription, [ack_id], seconds)

    async def _write(self, reader: asyncio.Task[None], arrival: asyncio.Event) -> None:
        while not reader.done() and not self._arrivals.is_closed:
            arrival.clear()
            deliveries = self._broker.pull(
                self._subscription,
                MAX_PULLED_MESSAGES,
                ack_deadline_seconds=self._ack_deadline_seconds,
                flow=self._flow,
            )
            if deliveries:
                response = StreamingPullResponse()
                _add(response, deliveries)
                await self._context.write(response)
            else:
                await arrival.wait()
        if reader.done():
            reader.result()  # raises the reader's error


def _add(response: PullResponse | StreamingPullResponse, deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        received = response.received_messages.add()
        received.ack_id = delivery.ack_id
        received.delivery_attempt = delivery.attempt
        received.message.CopyFrom(delivery.message)
