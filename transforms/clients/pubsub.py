"""Publish messages to Pub/Sub and wait for their ids.

Requests are used instead of the client's batching, which takes attributes as keywords: attributes named `timeout`,
`retry`, `ordering_key`, `topic` or `data` would be lost or refused.
"""

from collections.abc import Sequence
from typing import Any, Final

from google.api_core.retry import Retry
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.types import PubsubMessage

from transforms.clients.messages import Message, publish_requests

CALL_TIMEOUT_SECONDS: Final = 30.0
RETRY_DEADLINE_SECONDS: Final = 60.0


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
