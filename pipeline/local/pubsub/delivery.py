"""State of a message in one subscription, and delivery settings. Times are nanoseconds since the epoch."""

from dataclasses import dataclass
from typing import Self

from pipeline.local.pubsub.wire import PubsubMessage, Subscription, Topic

NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Published:
    """A message as the topic accepted it. Shared by subscriptions and snapshots, so never changed."""

    sequence: int
    message: PubsubMessage
    published_at: int
    size: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a subscriber receives it. `attempt` is 0 without a dead-letter policy."""

    ack_id: str
    message: PubsubMessage
    attempt: int


@dataclass(slots=True)
class FlowControl:
    """Unacknowledged messages of one stream, and their limits. A limit of zero or less means none."""

    max_messages: int = 0
    max_bytes: int = 0
    messages: int = 0
    bytes: int = 0

    def has_room(self) -> bool:
        """Whether another message may be sent; the message that reaches a byte limit may exceed it."""
        return (self.max_messages <= 0 or self.messages < self.max_messages) and (
            self.max_bytes <= 0 or self.bytes < self.max_bytes
        )

    def hold(self, size: int) -> None:
        """Count a sent message."""
        self.messages += 1
        self.bytes += size

    def release(self, size: int) -> None:
        """Count a message that was acknowledged or nacked, or whose lease expired."""
        self.messages -= 1
        self.bytes -= size


@dataclass(slots=True, eq=False)
class Entry:
    """The state of one message in one subscription."""

    published: Published
    failures: int = 0
    delivery: int = 0  # delivery number, part of the ack id: incrementing it invalidates earlier ack ids
    deadline: int = 0  # of the lease; 0 when the message is not leased
    not_before: int = 0
    acknowledged: bool = False
    flow: FlowControl | None = None

    @property
    def sequence(self) -> int:
        """Position of the message among all messages of the broker."""
        return self.published.sequence


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """The delivery settings of a subscription."""

    ack_deadline: int
    ordered: bool
    unacknowledged_window: int
    acknowledged_window: int  # 0: an acknowledged message is dropped at once
    minimum_backoff: int = 0
    maximum_backoff: int = 0
    dead_letter_topic: str = ""
    max_delivery_attempts: int = 0

    @classmethod
    def of(cls, subscription: Subscription, topic: Topic | None) -> Self:
        """Return the settings of validated resources. A topic's retention also keeps acknowledged messages."""
        own = subscription.message_retention_duration.ToNanoseconds()
        of_topic = topic.message_retention_duration.ToNanoseconds() if topic else 0
        return cls(
            ack_deadline=subscription.ack_deadline_seconds * NANOS,
            ordered=subscription.enable_message_ordering,
            unacknowledged_window=max(own, of_topic),
            acknowledged_window=max(own if subscription.retain_acked_messages else 0, of_topic),
            minimum_backoff=subscription.retry_policy.minimum_backoff.ToNanoseconds(),
            maximum_backoff=subscription.retry_policy.maximum_backoff.ToNanoseconds(),
            dead_letter_topic=subscription.dead_letter_policy.dead_letter_topic,
            max_delivery_attempts=subscription.dead_letter_policy.max_delivery_attempts,
        )

    def backoff(self, failures: int) -> int:
        """Return the nanoseconds before redelivery after the n-th failure: doubling from the minimum."""
        doublings = min(failures - 1, 32)  # 600 s is reached long before; the bound keeps the integer small
        return min(self.minimum_backoff << doublings, self.maximum_backoff)

    def is_exhausted(self, failures: int) -> bool:
        """Whether a message with this many failures goes to the dead-letter topic."""
        return bool(self.dead_letter_topic) and failures >= self.max_delivery_attempts
