"""Topics, subscriptions and the messages between them, without I/O; the clock is injected.

Not thread-safe: call it from one thread.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.local.pubsub.backlog import Backlog
from pipeline.local.pubsub.delivery import NANOS, Delivery, DeliverySettings, FlowControl, Published
from pipeline.local.pubsub.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from pipeline.local.pubsub.validation import (
    check_lease,
    check_messages,
    check_name,
    merge_subscription,
    merge_topic,
    valid_subscription,
    valid_topic,
)
from pipeline.local.pubsub.wire import FieldMask, PubsubMessage, Subscription, Topic

DELETED_TOPIC = "_deleted-topic_"
MAX_PULLED_MESSAGES = 1000

Clock = Callable[[], int]
"""Nanoseconds since the epoch."""


@dataclass(slots=True)
class SnapshotState:
    """A snapshot: the backlog of its subscription, and all messages published to its topic since."""

    name: str
    topic: "TopicState"
    expires_at: int
    messages: list[Published]
    labels: dict[str, str]


@dataclass(slots=True)
class TopicState:
    """A topic with its subscriptions and snapshots."""

    resource: Topic
    subscriptions: "dict[str, SubscriptionState]" = field(default_factory=dict)
    snapshots: dict[str, SnapshotState] = field(default_factory=dict)
    is_deleted: bool = False


@dataclass(slots=True)
class SubscriptionState:
    """A subscription and its messages."""

    resource: Subscription
    topic: TopicState
    backlog: Backlog


class Broker:
    """The state of the broker. `wake` is called with the name of a subscription that may have messages."""

    def __init__(self, clock: Clock = time.time_ns, wake: Callable[[str], None] = lambda _: None) -> None:
        self._clock = clock
        self._wake = wake
        self._latest = 0
        self.topics: dict[str, TopicState] = {}
        self.subscriptions: dict[str, SubscriptionState] = {}
        self.snapshots: dict[str, SnapshotState] = {}
        # Ids start at the current time, so that a restarted broker does not repeat them.
        self._sequences = itertools.count(clock() // 1000)
        self._tags = itertools.count(1)

    def now(self) -> int:
        """Return the nanoseconds since the epoch; never less than before, even if the system clock is set back."""
        self._latest = max(self._latest, self._clock())
        return self._latest

    def create_topic(self, topic: Topic) -> Topic:
        """Create a topic."""
        valid = valid_topic(topic)
        if valid.name in self.topics:
            raise AlreadyExistsError(f"Topic already exists: {valid.name}")
        self.topics[valid.name] = TopicState(valid)
        return valid

    def topic(self, name: str) -> TopicState:
        """Return a topic."""
        state = self.topics.get(name)
        if state is None:
            check_name(name, "topics")
            raise NotFoundError(f"Topic not found: {name}")
        return state

    def update_topic(self, update: Topic, mask: FieldMask) -> Topic:
        """Replace the masked fields of a topic."""
        state = self.topic(update.name)
        state.resource = merge_topic(state.resource, update, mask)
        for subscription in state.subscriptions.values():
            subscription.backlog.apply(DeliverySettings.of(subscription.resource, state.resource))
        return state.resource

    def delete_topic(self, name: str) -> None:
        """Delete a topic. Its subscriptions keep their messages."""
        state = self.topic(name)
        state.is_deleted = True
        del self.topics[name]
        for subscription in state.subscriptions.values():
            subscription.resource.topic = DELETED_TOPIC

    def publish(self, topic: str, messages: Sequence[PubsubMessage]) -> list[str]:
        """Accept messages, all or none; return their ids."""
        state = self.topic(topic)
        check_messages(messages)
        now = self.now()
        return [self._publish(state, message, now) for message in messages]

    def create_subscription(self, subscription: Subscription) -> Subscription:
        """Create a subscription; it receives messages that are published from now on."""
        valid = valid_subscription(subscription)
        if valid.name in self.subscriptions:
            raise AlreadyExistsError(f"Subscription already exists: {valid.name}")
        topic = self.topic(valid.topic)
        self._check_dead_letter_topic(valid)
        backlog = Backlog(
            tag=str(next(self._tags)),
            settings=DeliverySettings.of(valid, topic.resource),
            forward=lambda published, count: self._forward(valid.name, published, count),
            wake=lambda: self._wake(valid.name),
        )
        state = SubscriptionState(valid, topic, backlog)
        self.subscriptions[valid.name] = topic.subscriptions[valid.name] = state
        return valid

    def subscription(self, name: str) -> SubscriptionState:
        """Return a subscription."""
        state = self.subscriptions.get(name)
        if state is None:
            check_name(name, "subscriptions")
            raise NotFoundError(f"Subscription does not exist: {name}")
        return state

    def update_subscription(self, update: Subscription, mask: FieldMask) -> Subscription:
        """Replace the masked fields of a subscription; they apply from the next delivery on."""
        state = self.subscription(update.name)
        merged = merge_subscription(state.resource, update, mask)
        if "dead_letter_policy" in mask.paths:
            self._check_dead_letter_topic(merged)
        state.resource = merged
        state.backlog.apply(DeliverySettings.of(merged, state.topic.resource))
        return merged

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and its messages."""
        state = self.subscription(name)
        del self.subscriptions[name]
        state.topic.subscriptions.pop(name, None)
        self._wake(name)

    def pull(
        self, subscription: str, max_messages: int, *, ack_deadline_seconds: int = 0, flow: FlowControl | None = None
    ) -> list[Delivery]:
        """Lease ready messages for `ack_deadline_seconds`, or 0 for the subscription's ack deadline."""
        state = self.subscription(subscription)
        if max_messages <= 0:
            raise InvalidArgumentError("max_messages must be positive")
        lease = ack_deadline_seconds * NANOS or state.backlog.settings.ack_deadline
        return state.backlog.take(self.now(), min(max_messages, MAX_PULLED_MESSAGES), lease, flow)

    def acknowledge(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Acknowledge deliveries; outdated ids have no effect."""
        backlog = self.subscription(subscription).backlog
        for ack_id in ack_ids:
            backlog.acknowledge(ack_id)

    def modify_ack_deadline(self, subscription: str, ack_ids: Iterable[str], seconds: int) -> None:
        """Extend ack deadlines; zero seconds is a nack. Outdated ids have no effect."""
        backlog = self.subscription(subscription).backlog
        check_lease(seconds)
        now = self.now()
        backlog.advance(now)
        for ack_id in ack_ids:
            backlog.modify_ack_deadline(ack_id, seconds, now)

    def seek_to_time(self, subscription: str, time_ns: int) -> None:
        """Acknowledge messages published before a time, and mark later retained ones as unacknowledged."""
        self.subscription(subscription).backlog.seek(time_ns, self.now())

    def advance(self) -> None:
        """Apply the passing of time to every subscription: expire leases, forward dead letters."""
        now = self.now()
        for state in self.subscriptions.values():
            state.backlog.advance(now)

    def _check_dead_letter_topic(self, subscription: Subscription) -> None:
        name = subscription.dead_letter_policy.dead_letter_topic
        if name and name not in self.topics:
            raise NotFoundError(f"Dead letter topic not found: {name}")

    def _publish(self, topic: TopicState, message: PubsubMessage, now: int) -> str:
        # Copied, since a message of the request keeps the whole request in memory.
        accepted = PubsubMessage()
        accepted.CopyFrom(message)
        sequence = next(self._sequences)
        published_at = now - now % 1000  # microseconds, so that a Python datetime holds it exactly
        message_id = accepted.message_id = str(sequence)
        accepted.publish_time.FromNanoseconds(published_at)
        published = Published(sequence, accepted, published_at, accepted.ByteSize())
        for subscription in topic.subscriptions.values():
            subscription.backlog.add(published)
        for snapshot in topic.snapshots.values():
            snapshot.messages.append(published)
        return message_id

    def _forward(self, subscription: str, published: Published, delivery_count: int) -> bool:
        state = self.subscriptions[subscription]
        topic = self.topics.get(state.backlog.settings.dead_letter_topic)
        if topic is None:
            return False
        _, project, _, short_name = subscription.split("/")
        dead_letter = PubsubMessage()
        dead_letter.CopyFrom(published.message)
        publish_time = datetime.fromtimestamp(published.published_at / NANOS, UTC)
        attributes = {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(delivery_count),
            "CloudPubSubDeadLetterSourceSubscription": short_name,
            "CloudPubSubDeadLetterSourceSubscriptionProject": project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": publish_time.isoformat(timespec="milliseconds"),
        }
        for key, value in attributes.items():
            dead_letter.attributes[key] = value
        self._publish(topic, dead_letter, self.now())
        return True
