"""A broker on a clock that a test moves, with a topic and a subscription."""

from collections.abc import Iterable, Sequence

from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.delivery import NANOS, Delivery
from pipeline.local.pubsub.wire import DeadLetterPolicy, Duration, PubsubMessage, RetryPolicy, Subscription, Topic

PROJECT = "projects/demo-project"
TOPIC = f"{PROJECT}/topics/changes"
DEAD_LETTER_TOPIC = f"{PROJECT}/topics/changes-dead-letter"
SUBSCRIPTION = f"{PROJECT}/subscriptions/rescoring"
DEAD_LETTER_SUBSCRIPTION = f"{PROJECT}/subscriptions/dead-letter-hold"


class Clock:
    """A clock in nanoseconds since the epoch, which the test advances."""

    def __init__(self, seconds: float = 1_700_000_000) -> None:
        self.nanoseconds = int(seconds * NANOS)

    def __call__(self) -> int:
        """Return the time."""
        return self.nanoseconds

    def pass_seconds(self, seconds: float) -> None:
        """Advance the clock."""
        self.nanoseconds += int(seconds * NANOS)


class Scene:
    """A broker, its clock, and the subscriptions that it woke."""

    def __init__(
        self,
        *,
        ordered: bool = False,
        retain_acked: bool = False,
        retention_seconds: int = 0,
        backoff: tuple[float, float] | None = None,
        max_delivery_attempts: int = 0,
    ) -> None:
        self.clock = Clock()
        self.woken: list[str] = []
        self.broker = Broker(self.clock, self.woken.append)
        self.broker.create_topic(Topic(name=TOPIC))
        self.broker.create_topic(Topic(name=DEAD_LETTER_TOPIC))
        subscription = Subscription(
            name=SUBSCRIPTION,
            topic=TOPIC,
            enable_message_ordering=ordered,
            retain_acked_messages=retain_acked,
        )
        if retention_seconds:
            subscription.message_retention_duration.CopyFrom(Duration(seconds=retention_seconds))
        if backoff:
            subscription.retry_policy.CopyFrom(retry_policy(*backoff))
        if max_delivery_attempts:
            subscription.dead_letter_policy.CopyFrom(
                DeadLetterPolicy(dead_letter_topic=DEAD_LETTER_TOPIC, max_delivery_attempts=max_delivery_attempts)
            )
        self.broker.create_subscription(subscription)
        self.broker.create_subscription(Subscription(name=DEAD_LETTER_SUBSCRIPTION, topic=DEAD_LETTER_TOPIC))

    def publish(self, *bodies: str, key: str = "") -> list[str]:
        """Publish a message for each body."""
        messages = [PubsubMessage(data=body.encode(), ordering_key=key) for body in bodies]
        return self.broker.publish(TOPIC, messages)

    def pull(self, max_messages: int = 1000) -> list[Delivery]:
        """Pull from the subscription."""
        return self.broker.pull(SUBSCRIPTION, max_messages)

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge deliveries of the subscription."""
        self.broker.acknowledge(SUBSCRIPTION, [delivery.ack_id for delivery in deliveries])

    def nack(self, deliveries: Iterable[Delivery]) -> None:
        """Nack deliveries of the subscription."""
        self.broker.modify_ack_deadline(SUBSCRIPTION, [delivery.ack_id for delivery in deliveries], 0)

    @property
    def backlog(self) -> int:
        """Return the number of unacknowledged messages."""
        return self.broker.subscription(SUBSCRIPTION).backlog.unacknowledged

    @property
    def kept(self) -> int:
        """Return the number of messages in memory."""
        return len(self.broker.subscription(SUBSCRIPTION).backlog._entries)


def retry_policy(minimum: float, maximum: float) -> RetryPolicy:
    """Return a retry policy; the backoffs are in seconds."""
    policy = RetryPolicy()
    policy.minimum_backoff.FromNanoseconds(int(minimum * NANOS))
    policy.maximum_backoff.FromNanoseconds(int(maximum * NANOS))
    return policy


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    """Return the payloads as text."""
    return [delivery.message.data.decode() for delivery in deliveries]
