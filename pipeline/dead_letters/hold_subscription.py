"""The hold subscription: pull dead letters, acknowledge them, nack them, or extend their ack deadline."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import structlog
from google.api_core.exceptions import DeadlineExceeded, InvalidArgument, MethodNotImplemented, NotFound
from google.cloud import pubsub_v1
from more_itertools import chunked

from pipeline.dead_letters.held_dead_letter import HeldDeadLetter
from transforms.clients.pubsub import COMMAND_RETRY, PATIENCE_SECONDS

PULL_SECONDS: Final = 5.0
"""How long a pull waits for messages."""

MAX_ACK_IDS: Final = 1_000
"""Per request: an ack id has some 200 bytes, and Pub/Sub takes 512 KiB of them."""

EXTENDED_ACK_DEADLINE_SECONDS: Final = 300
"""How long a dead letter that does not match is kept from being delivered a third time."""

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

    def check_answers(self) -> None:
        """Check that Pub/Sub answers: a pull that gets no answer looks like one that gets no message.

        The call needs no permission.
        """
        request = {"resource": self._name, "permissions": ["pubsub.subscriptions.consume"]}
        with suppress(MethodNotImplemented, NotFound):  # answers as well: emulators don't know the method
            self._client.test_iam_permissions(request=request, retry=COMMAND_RETRY, timeout=PATIENCE_SECONDS)

    def ack_deadline_seconds(self) -> int:
        """Return how long a pulled message is leased before Pub/Sub delivers it again."""
        found = self._client.get_subscription(subscription=self._name, retry=COMMAND_RETRY, timeout=PATIENCE_SECONDS)
        return int(found.ack_deadline_seconds)

    def pull(self, max_messages: int) -> list[HeldDeadLetter]:
        """Return messages; an empty list if none comes within some seconds."""
        try:
            response = self._client.pull(
                subscription=self._name, max_messages=max_messages, timeout=PULL_SECONDS, retry=None
            )
        except DeadlineExceeded:
            return []
        return [
            HeldDeadLetter(
                ack_id=received.ack_id,
                message_id=received.message.message_id,
                payload=received.message.data,
                attributes=dict(received.message.attributes),
            )
            for received in response.received_messages
        ]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Remove messages from the subscription."""
        for part in chunked(ack_ids, MAX_ACK_IDS):
            with _late_is_no_error():
                self._client.acknowledge(
                    subscription=self._name, ack_ids=part, retry=COMMAND_RETRY, timeout=PATIENCE_SECONDS
                )

    def nack(self, ack_ids: Sequence[str]) -> None:
        """Give messages back; Pub/Sub delivers them again at once."""
        self._modify_ack_deadline(ack_ids, 0)

    def extend_ack_deadline(self, ack_ids: Sequence[str]) -> None:
        """Keep messages from being delivered again for some minutes, so that others are delivered."""
        self._modify_ack_deadline(ack_ids, EXTENDED_ACK_DEADLINE_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _modify_ack_deadline(self, ack_ids: Sequence[str], seconds: int) -> None:
        for part in chunked(ack_ids, MAX_ACK_IDS):
            with _late_is_no_error():
                self._client.modify_ack_deadline(
                    subscription=self._name,
                    ack_ids=part,
                    ack_deadline_seconds=seconds,
                    retry=COMMAND_RETRY,
                    timeout=PATIENCE_SECONDS,
                )


@contextmanager
def _late_is_no_error() -> Iterator[None]:
    """Ignore that the ack deadline of some messages was over: Pub/Sub delivers them again.

    Only a subscription with exactly-once delivery reports it. The request still applies to its other messages.
    """
    try:
        yield
    except InvalidArgument as error:
        if error.reason != _LATE:
            raise
        _log.info("the ack deadline of some dead letters had expired", dead_letters=len(error.metadata or {}))
