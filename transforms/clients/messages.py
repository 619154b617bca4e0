"""Messages to publish, and the requests that carry them; without the client of Pub/Sub."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from more_itertools import constrained_batches

MAX_REQUEST_MESSAGES: Final = 1_000
MAX_REQUEST_BYTES: Final = 9_000_000
"""Pub/Sub accepts 10 MB; a message larger than this limit gets a request of its own."""


@dataclass(frozen=True)
class Message:
    """A message to publish."""

    payload: bytes
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """About how many bytes it has on the wire."""
        return len(self.payload) + sum(len(key) + len(value) for key, value in self.attributes.items())


def publish_requests(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Split messages, in order, into requests within Pub/Sub's limits."""
    return list(
        constrained_batches(
            messages, MAX_REQUEST_BYTES, MAX_REQUEST_MESSAGES, get_len=lambda message: message.size, strict=False
        )
    )
