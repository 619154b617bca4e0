"""Publish to the topic of change events, through one connection that is opened with the first message."""

import threading
from collections.abc import Sequence

from transforms.clients.messages import Message
from transforms.clients.pubsub import MessagePublisher, pubsub_calls


class TopicPublisher:
    """Publishes messages; may be called from several threads."""

    def __init__(self, topic_path: str) -> None:
        self._topic_path = topic_path
        self._lock = threading.Lock()
        self._publisher: MessagePublisher | None = None

    def publish(self, messages: Sequence[Message]) -> list[str]:
        """Publish messages, and return their ids, in order.

        Raises:
            PubSubUnavailable: Pub/Sub did not answer, or did not accept a message; some may be published.
        """
        with pubsub_calls(self._topic_path):
            return self._connection().publish(self._topic_path, messages)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._publisher:
                self._publisher.close()
            self._publisher = None

    def _connection(self) -> MessagePublisher:
        with self._lock:
            if self._publisher is None:
                self._publisher = MessagePublisher.for_command()
            return self._publisher
