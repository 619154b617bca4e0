"""Publish messages to Pub/Sub and wait for their ids.

Requests are used instead of the client's batching, which takes attributes as keywords: attributes named `timeout`,
`retry`, `ordering_key`, `topic` or `data` would be lost or refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.api_core.retry import Retry
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.types import PubsubMessage
from more_itertools import constrained_batches

MAX_REQUEST_MESSAGES: Final = 1_000
MAX_REQUEST_BYTES: Final = 9_000_000
"""Pub/Sub accepts 10 MB; a message larger than this limit gets a request of its own."""

CALL_TIMEOUT_SECONDS: Final = 30.0
RETRY_DEADLINE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Message:
    """A message to publish."""

    payload: bytes
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """About how many bytes it has on the wire."""
        return len(self.payload) + sum(len(key) + len(value) for key, value in self.attributes.items())


class MessagePublisher:
    """A connection to Pub/Sub; calls end within a deadline, or raise GoogleAPICallError."""

    def __init__(self) -> None:
        # This class honours PUBSUB_EMULATOR_HOST; the class that it extends has the request API.
        self._client = pubsub_v1.PublisherClient()

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Publish messages and return their ids, in order, once Pub/Sub has accepted all.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: Not all were accepted; some may be published.
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
        """Close the connection."""
        self._client.stop()
        self._client.transport.close()


def publish_requests(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Split messages, in order, into requests within Pub/Sub's limits."""
    return list(
        constrained_batches(
            messages, MAX_REQUEST_BYTES, MAX_REQUEST_MESSAGES, get_len=lambda message: message.size, strict=False
        )
    )
