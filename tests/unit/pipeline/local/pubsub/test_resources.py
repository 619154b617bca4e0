"""Topics and subscriptions: how they are made, found, changed and deleted."""

from collections.abc import Callable

import pytest

from pipeline.local.pubsub.broker import DELETED_TOPIC, Broker
from pipeline.local.pubsub.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from pipeline.local.pubsub.wire import FieldMask, PubsubMessage, Subscription, Topic
from tests.unit.pipeline.local.pubsub.samples import PROJECT, SUBSCRIPTION, TOPIC, Scene, bodies

ABSENT_TOPIC = f"{PROJECT}/topics/absent"
ABSENT_SUBSCRIPTION = f"{PROJECT}/subscriptions/absent"


def test_names_are_taken_once() -> None:
    """A second topic or subscription of a name is refused."""
    broker = Scene().broker
    with pytest.raises(AlreadyExistsError):
        broker.create_topic(Topic(name=TOPIC))
    with pytest.raises(AlreadyExistsError):
        broker.create_subscription(Subscription(name=SUBSCRIPTION, topic=TOPIC))


@pytest.mark.parametrize(
    "call",
    [
        lambda broker: broker.topic(ABSENT_TOPIC),
        lambda broker: broker.delete_topic(ABSENT_TOPIC),
        lambda broker: broker.update_topic(Topic(name=ABSENT_TOPIC), FieldMask(paths=["labels"])),
        lambda broker: broker.publish(ABSENT_TOPIC, [PubsubMessage(data=b"x")]),
        lambda broker: broker.create_subscription(Subscription(name=ABSENT_SUBSCRIPTION, topic=ABSENT_TOPIC)),
        lambda broker: broker.subscription(ABSENT_SUBSCRIPTION),
        lambda broker: broker.delete_subscription(ABSENT_SUBSCRIPTION),
        lambda broker: broker.pull(ABSENT_SUBSCRIPTION, 1),
        lambda broker: broker.acknowledge(ABSENT_SUBSCRIPTION, ["1:1:1"]),
        lambda broker: broker.modify_ack_deadline(ABSENT_SUBSCRIPTION, ["1:1:1"], 10),
        lambda broker: broker.seek_to_time(ABSENT_SUBSCRIPTION, 0),
    ],
)
def test_absent_resource_is_not_found(call: Callable[[Broker], object]) -> None:
    """Every call on a resource that does not exist is NOT_FOUND."""
    with pytest.raises(NotFoundError):
        call(Scene().broker)


def test_dead_letter_topic_must_exist() -> None:
    """A policy that names an absent topic is refused, when created and when updated."""
    broker = Scene().broker
    wanted = Subscription(name=f"{PROJECT}/subscriptions/other", topic=TOPIC)
    wanted.dead_letter_policy.dead_letter_topic = ABSENT_TOPIC
    with pytest.raises(NotFoundError, match="Dead letter"):
        broker.create_subscription(wanted)
    update = Subscription(name=SUBSCRIPTION)
    update.dead_letter_policy.dead_letter_topic = ABSENT_TOPIC
    with pytest.raises(NotFoundError, match="Dead letter"):
        broker.update_subscription(update, FieldMask(paths=["dead_letter_policy"]))
    assert not broker.subscription(SUBSCRIPTION).resource.HasField("dead_letter_policy")


def test_subscription_receives_what_is_published_after_it() -> None:
    """Every subscription of a topic gets its own copy of each message published since it was made."""
    scene = Scene()
    scene.publish("before")
    other = f"{PROJECT}/subscriptions/other"
    scene.broker.create_subscription(Subscription(name=other, topic=TOPIC))
    scene.publish("after")
    assert bodies(scene.pull()) == ["before", "after"]
    assert bodies(scene.broker.pull(other, 10)) == ["after"]


def test_refused_request_publishes_nothing() -> None:
    """No message of a request with one invalid message arrives."""
    scene = Scene()
    with pytest.raises(InvalidArgumentError):
        scene.broker.publish(TOPIC, [PubsubMessage(data=b"fine"), PubsubMessage()])
    assert scene.pull() == []


def test_published_message_is_a_copy() -> None:
    """Changing a message after publishing it has no effect."""
    scene = Scene()
    message = PubsubMessage(data=b"before")
    scene.broker.publish(TOPIC, [message])
    message.data = b"after"
    assert bodies(scene.pull()) == ["before"]


def test_updated_ack_deadline_holds_from_the_next_delivery() -> None:
    """A new ack deadline applies to what is delivered from then on."""
    scene = Scene()
    update = Subscription(name=SUBSCRIPTION, ack_deadline_seconds=60)
    scene.broker.update_subscription(update, FieldMask(paths=["ack_deadline_seconds"]))
    scene.publish("a")
    scene.pull()
    scene.clock.pass_seconds(59)
    assert scene.pull() == []
    scene.clock.pass_seconds(1)
    assert bodies(scene.pull()) == ["a"]


def test_subscription_outlives_its_topic() -> None:
    """When a topic is deleted, its subscriptions keep their messages and show that the topic is gone."""
    scene = Scene()
    scene.publish("a")
    scene.broker.delete_topic(TOPIC)
    assert scene.broker.subscription(SUBSCRIPTION).resource.topic == DELETED_TOPIC
    assert bodies(scene.pull()) == ["a"]
    scene.broker.create_topic(Topic(name=TOPIC))
    scene.publish("b")
    assert scene.pull() == [], "a topic of the same name is another topic"


def test_deleted_subscription_starts_empty_when_made_again() -> None:
    """Deleting a subscription drops its messages, and a new subscription ignores its ack ids."""
    scene = Scene()
    scene.publish("a")
    held = scene.pull()
    scene.broker.delete_subscription(SUBSCRIPTION)
    scene.broker.create_subscription(Subscription(name=SUBSCRIPTION, topic=TOPIC))
    assert scene.pull() == []
    scene.publish("b")
    scene.acknowledge(held)
    assert scene.backlog == 1
