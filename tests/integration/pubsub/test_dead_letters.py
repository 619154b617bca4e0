import datetime as dt
from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # protobuf ships no annotations

from tests.integration.pubsub_targets import PROJECT, Target, bodies


def test_exhausted_message_is_forwarded(target: Target) -> None:
    """After max_delivery_attempts a message is forwarded to the dead-letter topic, with attributes of its source."""
    topic, dead_letter_topic = target.topic(), target.topic()
    hold = target.subscription(dead_letter_topic)
    policy = {"dead_letter_topic": dead_letter_topic, "max_delivery_attempts": 5}
    subscription = target.subscription(topic, dead_letter_policy=policy)
    target.publish_messages(topic, [{"data": b"poison", "attributes": {"entity": "Account"}, "ordering_key": "k"}])
    for attempt in range(1, 6):
        received = target.pull_some(subscription, 1)
        assert received[0].delivery_attempt == attempt
        published = received[0].message.publish_time
        target.nack(subscription, received)
    # Google's emulator forwards when the subscription is next pulled, not before.
    assert target.pull(subscription, at_once=True) == []
    (dead_letter,) = target.pull_some(hold, 1)
    attributes = dict(dead_letter.message.attributes)
    publish_time = dt.datetime.fromisoformat(attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime"))
    assert (dead_letter.message.data, dead_letter.message.ordering_key) == (b"poison", "k")
    assert attributes == {
        "entity": "Account",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": subscription.rpartition("/")[2],
        "CloudPubSubDeadLetterSourceSubscriptionProject": PROJECT.rpartition("/")[2],
    }
    assert abs(publish_time - published) < dt.timedelta(milliseconds=1)


def test_attempts_are_counted_under_a_dead_letter_policy_only(target: Target) -> None:
    """Without a dead-letter policy the delivery attempt is 0, however often a message returns."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    for _ in range(3):
        received = target.pull_some(subscription, 1)
        assert received[0].delivery_attempt == 0
        target.nack(subscription, received)


def test_message_that_keeps_failing_backs_off(target: Target) -> None:
    """Under a retry policy a message that was nacked again waits for the minimum backoff."""
    topic = target.topic()
    backoff = {"minimum_backoff": Duration(seconds=600), "maximum_backoff": Duration(seconds=600)}
    rested, resting = target.subscription(topic), target.subscription(topic, retry_policy=backoff)
    target.publish(topic, "a")
    for subscription in (rested, resting):
        target.nack(subscription, target.pull_some(subscription, 1))
    # Google's emulator lets the first failure pass without a rest: see the next test.
    if received := target.pull(resting, at_once=True):
        target.nack(resting, received)
    assert target.pull(resting, at_once=True) == []
    assert bodies(target.pull(rested, at_once=True)) == ["a"]


def test_first_failure_backs_off_too(target: Target, google_deviates: Callable[[str], None]) -> None:
    """The minimum backoff holds from the first failure on."""
    google_deviates("redelivers at once after the first failure")
    topic = target.topic()
    subscription = target.subscription(topic, retry_policy={"minimum_backoff": Duration(seconds=600)})
    target.publish(topic, "a")
    target.nack(subscription, target.pull_some(subscription, 1))
    assert target.pull(subscription, at_once=True) == []


def test_message_returns_after_its_backoff(target: Target) -> None:
    """A message is redelivered after each backoff."""
    topic = target.topic()
    backoff = {"minimum_backoff": Duration(nanos=200_000_000), "maximum_backoff": Duration(seconds=1)}
    subscription = target.subscription(topic, retry_policy=backoff)
    target.publish(topic, "a")
    for _ in range(2):
        target.nack(subscription, target.pull_some(subscription, 1))
    assert bodies(target.pull_some(subscription, 1)) == ["a"]
