"""Messages of a subscription that wait in this process until a bundle takes them."""

import queue
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Final

from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.subscriber.message import Message
from google.cloud.pubsub_v1.subscriber.scheduler import Scheduler
from google.cloud.pubsub_v1.types import FlowControl

CLOSE_SECONDS: Final = 5.0
"""How long the stream may take to return its messages to the subscription."""


class MessageBuffer:
    """A StreamingPull whose messages wait for `pull`.

    Has the two methods of a SubscriberClient that Beam's DirectRunner calls, `pull` and `acknowledge`. An idle
    StreamingPull costs nothing, while idle pulls cost a request every few milliseconds. Google's client reopens the
    stream after a failure, extends the ack deadlines of messages that wait, and nacks them at `close`.
    """

    def __init__(
        self, client: SubscriberClient, subscription: str, *, max_messages: int, idle_seconds: Callable[[], float]
    ) -> None:
        """Open the stream.

        Args:
            client: Client to receive with.
            subscription: Path of the subscription.
            max_messages: The most messages that wait, and that one `pull` returns.
            idle_seconds: Returns how long a `pull` may wait for a message.
        """
        self._max_messages = max_messages
        self._idle_seconds = idle_seconds
        self._waiting = _Waiting()
        self._taken: dict[str, Message] = {}
        self._stream = client.subscribe(
            subscription,
            callback=lambda _message: None,  # never called: `_Waiting` keeps the messages
            flow_control=FlowControl(max_messages=max_messages),
            scheduler=self._waiting,
        )

    def pull(self, **_request: Any) -> SimpleNamespace:
        """Return the messages that wait; if there are none, wait `idle_seconds` for the first.

        Raises:
            GoogleAPICallError: The stream ended.
        """
        if self._stream.done():
            self._stream.result()
        messages = self._waiting.take(self._max_messages, self._idle_seconds())
        self._taken |= {message.ack_id: message for message in messages}
        return SimpleNamespace(received_messages=[SimpleNamespace(message=it, ack_id=it.ack_id) for it in messages])

    def acknowledge(self, *, ack_ids: Sequence[str], **_request: Any) -> None:
        """Acknowledge messages that `pull` returned; the request is sent in the background."""
        for ack_id in ack_ids:
            self._taken.pop(ack_id).ack()

    def close(self) -> None:
        """End the stream; messages that were not pulled return to the subscription."""
        self._stream.cancel()
        self._stream.result(CLOSE_SECONDS)


class _Waiting(Scheduler):
    """What Google's client hands each message to; keeps it instead of calling the callback."""

    def __init__(self) -> None:
        self._messages: queue.Queue[Message] = queue.Queue()
        self._requests: queue.Queue[Any] = queue.Queue()

    @property
    def queue(self) -> "queue.Queue[Any]":
        """The queue of the messages' acknowledgements, which Google's client reads."""
        return self._requests

    def schedule(self, callback: Callable[..., Any], *args: Message, **_kwargs: Any) -> None:  # noqa: ARG002 - see above
        """Keep a message."""
        self._messages.put(args[0])

    def shutdown(self, await_msg_callbacks: bool = False) -> list[Message]:  # noqa: ARG002, FBT001, FBT002 - as in Scheduler
        """Return the messages that were not taken; Google's client nacks them."""
        return list(self._ready())

    def take(self, max_messages: int, seconds: float) -> list[Message]:
        """Return up to `max_messages` messages, waiting `seconds` for the first."""
        try:
            taken = [self._messages.get(timeout=seconds) if seconds > 0 else self._messages.get_nowait()]
        except queue.Empty:
            return []
        for message in self._ready():
            taken.append(message)
            if len(taken) == max_messages:
                break
        return taken

    def _ready(self) -> Iterator[Message]:
        while True:
            try:
                yield self._messages.get_nowait()
            except queue.Empty:
                return
