"""The hold subscription at its edge: letters are pulled, acknowledged, handed back, or set aside for a while."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog
from google.api_core.exceptions import DeadlineExceeded, InvalidArgument
from google.cloud import pubsub_v1

from pipeline.dead_letters.held_letter import HeldLetter

PULL_SECONDS: Final = 5.0
"""How long a pull waits for letters; one that times out found none."""

CALL_TIMEOUT_SECONDS: Final = 30.0
MAX_ACK_IDS: Final = 1_000
"""Of a request: an ack id has some 200 bytes, and Pub/Sub takes 512 KiB of them."""

SET_ASIDE_SECONDS: Final = 300
"""How long a letter that does not match stays out of the way, when it was handed back and came again."""

_LATE: Final = "EXACTLY_ONCE_ACKID_FAILURE"
_log = structlog.stdlib.get_logger(__name__)


class HoldSubscription:
    """A connection to one subscription; calls raise GoogleAPICallError.

    Args:
        name: `projects/P/subscriptions/NAME`.
    """

    def __init__(self, name: str) -> None:
        self._client = pubsub_v1.SubscriberClient()
        self._name = name

    def ack_deadline_seconds(self) -> int:
        """Return how long a pulled letter is ours before Pub/Sub hands it to somebody else."""
        return int(self._client.get_subscription(subscription=self._name).ack_deadline_seconds)

    def pull(self, max_letters: int) -> list[HeldLetter]:
        """Return letters, or none if there are none within some seconds."""
        try:
            response = self._client.pull(
                subscription=self._name, max_messages=max_letters, timeout=PULL_SECONDS, retry=None
            )
        except DeadlineExceeded:
            return []
        return [
            HeldLetter(
                ack_id=received.ack_id,
                message_id=received.message.message_id,
                payload=received.message.data,
                attributes=dict(received.message.attributes),
            )
            for received in response.received_messages
        ]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Let letters go for good."""
        for part in _parts(ack_ids):
            with _late_is_no_error():
                self._client.acknowledge(subscription=self._name, ack_ids=part, timeout=CALL_TIMEOUT_SECONDS)

    def hand_back(self, ack_ids: Sequence[str]) -> None:
        """Give letters back at once."""
        self._keep(ack_ids, 0)

    def set_aside(self, ack_ids: Sequence[str]) -> None:
        """Keep letters out of the way for a while, so that others come."""
        self._keep(ack_ids, SET_ASIDE_SECONDS)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def _keep(self, ack_ids: Sequence[str], seconds: int) -> None:
        for part in _parts(ack_ids):
            with _late_is_no_error():
                self._client.modify_ack_deadline(
                    subscription=self._name, ack_ids=part, ack_deadline_seconds=seconds, timeout=CALL_TIMEOUT_SECONDS
                )


def _parts(ack_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ack_ids[start : start + MAX_ACK_IDS] for start in range(0, len(ack_ids), MAX_ACK_IDS))


@contextmanager
def _late_is_no_error() -> Iterator[None]:
    """Go on where letters of a request were no longer ours: they are on the subscription, and come again.

    A subscription that delivers exactly once says so; any other takes what is late without a word. The other letters of
    the request are done as asked.
    """
    try:
        yield
    except InvalidArgument as error:
        if error.reason != _LATE:
            raise
        _log.info("letters whose ack deadline was over come again", letters=len(error.metadata or {}))
