"""The dead-letter policy: what fails often enough leaves, with a note of where it came from."""

from datetime import UTC, datetime, timedelta

from pipeline.local.pubsub.wire import FieldMask, PubsubMessage, Subscription
from tests.unit.pipeline.local.pubsub.samples import (
    DEAD_LETTER_SUBSCRIPTION,
    DEAD_LETTER_TOPIC,
    SUBSCRIPTION,
    TOPIC,
    Scene,
    bodies,
)


def test_attempts_are_counted_under_a_policy_only() -> None:
    """The delivery attempt is one more than the failures; it is 0 on a subscription without a dead-letter policy."""
    with_policy, without = Scene(max_delivery_attempts=5), Scene()
    for scene, attempts in ((with_policy, [1, 2, 3]), (without, [0, 0, 0])):
        scene.publish("a")
        seen = []
        for _ in range(3):
            deliveries = scene.pull()
            seen.append(deliveries[0].attempt)
            scene.nack(deliveries)
        assert seen == attempts


def test_refusals_and_expiries_both_count() -> None:
    """A message is forwarded when nacks and expired deadlines together reach max_delivery_attempts."""
    scene = Scene(max_delivery_attempts=5)
    scene.publish("poison")
    for attempt in range(1, 6):
        (delivery,) = scene.pull()
        assert delivery.attempt == attempt
        if attempt % 2:
            scene.nack([delivery])
        else:
            scene.clock.pass_seconds(10)
            scene.broker.advance()
    assert scene.pull() == []
    assert scene.backlog == 0
    assert bodies(scene.broker.pull(DEAD_LETTER_SUBSCRIPTION, 10)) == ["poison"]


def test_dead_letter_tells_where_it_came_from() -> None:
    """The forwarded message keeps payload, attributes and key, and gains the four documented attributes."""
    scene = Scene(max_delivery_attempts=5)
    published = datetime.fromtimestamp(scene.clock() / 1e9, UTC)
    scene.broker.publish(TOPIC, [PubsubMessage(data=b"\xff\x00", attributes={"entity": "Account"}, ordering_key="k")])
    for _ in range(5):
        scene.clock.pass_seconds(1)
        scene.nack(scene.pull())
    (delivery,) = scene.broker.pull(DEAD_LETTER_SUBSCRIPTION, 10)
    message = delivery.message
    assert (message.data, message.ordering_key) == (b"\xff\x00", "k")
    assert dict(message.attributes) == {
        "entity": "Account",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "rescoring",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "demo-project",
        "CloudPubSubDeadLetterSourceTopicPublishTime": published.isoformat(timespec="milliseconds"),
    }
    assert message.publish_time.ToDatetime(tzinfo=UTC) == published + timedelta(seconds=5)


def test_message_stays_while_its_dead_letter_topic_is_gone() -> None:
    """Without a dead-letter topic a message is redelivered; it is forwarded once the topic exists again."""
    scene = Scene(max_delivery_attempts=5)
    topic = scene.broker.topic(DEAD_LETTER_TOPIC).resource
    scene.broker.delete_topic(DEAD_LETTER_TOPIC)
    scene.publish("poison")
    for _ in range(6):
        scene.nack(scene.pull())
    assert scene.backlog == 1
    scene.broker.create_topic(topic)
    scene.nack(scene.pull())
    assert scene.backlog == 0


def test_policy_given_later_holds_from_the_next_failure() -> None:
    """A policy set by an update counts earlier failures."""
    scene = Scene()
    scene.publish("poison")
    for _ in range(5):
        scene.nack(scene.pull())
    update = Subscription(name=SUBSCRIPTION)
    update.dead_letter_policy.dead_letter_topic = DEAD_LETTER_TOPIC
    scene.broker.update_subscription(update, FieldMask(paths=["dead_letter_policy"]))
    assert bodies(scene.pull()) == ["poison"]
    scene.clock.pass_seconds(10)
    scene.broker.advance()
    assert bodies(scene.broker.pull(DEAD_LETTER_SUBSCRIPTION, 10)) == ["poison"]


def test_topic_may_be_its_own_dead_letter_topic() -> None:
    """A message forwarded to its own topic arrives as a new message without failures."""
    scene = Scene()
    update = Subscription(name=SUBSCRIPTION)
    update.dead_letter_policy.dead_letter_topic = TOPIC
    scene.broker.update_subscription(update, FieldMask(paths=["dead_letter_policy"]))
    (first,) = scene.publish("poison")
    for _ in range(5):
        scene.nack(scene.pull())
    (again,) = scene.pull()
    assert (again.attempt, again.message.message_id != first, scene.backlog) == (1, True, 1)
