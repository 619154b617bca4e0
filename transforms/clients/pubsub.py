"""Publishing where each message must have its id before anything else happens: requests, not the client's batches.

Google's batching client takes attributes as keywords, so that ones named `timeout`, `retry`, `ordering_key`, `topic` or
`data` are lost or refused. A request holds any attribute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.api_core.retry import Retry
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.types import PubsubMessage

MAX_REQUEST_MESSAGES: Final = 1_000
MAX_REQUEST_BYTES: Final = 9_000_000
"""Pub/Sub takes 10 MB; a message that is larger than this goes alone."""

CALL_TIMEOUT_SECONDS: Final = 30.0
RETRY_DEADLINE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Message:
    """What is to be published."""

    payload: bytes
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, near enough."""
        return len(self.payload) + sum(len(key) + len(value) for key, value in self.attributes.items())


class MessagePublisher:
    """A connection to Pub/Sub that publishes and waits; calls end within a deadline, or raise GoogleAPICallError."""

    def __init__(self) -> None:
        # The one that honours PUBSUB_EMULATOR_HOST. Its request API is the class it extends.
        self._client = pubsub_v1.PublisherClient()

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Publish messages and return their ids, in order, once Pub/Sub has taken every one.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: Pub/Sub did not take them all; some may be published.
        """
        ids: list[str] = []
        for part in publish_requests(messages):
            wire = [PubsubMessage(data=message.payload, attributes=message.attributes) for message in part]
            request: dict[str, Any] = {"topic": topic, "messages": wire}
            response = PublisherClient.publish(
                self._client,
                request=request,
                retry=Retry(timeout=RETRY_DEADLINE_SECONDS),
                timeout=CALL_TIMEOUT_SECONDS,
            )
            ids += response.message_ids
        return ids

    def close(self) -> None:
        """Give the connection back."""
        self._client.stop()
        self._client.transport.close()


def publish_requests(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield messages in order, as many as one request may hold."""
    request: list[Message] = []
    total = 0
    for message in messages:
        if request and (len(request) == MAX_REQUEST_MESSAGES or total + message.size > MAX_REQUEST_BYTES):
            yield request
            request, total = [], 0
        request.append(message)
        total += message.size
    if request:
        yield request
