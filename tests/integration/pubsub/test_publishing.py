import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions

from tests.integration.pubsub_targets import CALL_SECONDS, Target, bodies


def test_message_arrives_as_published(target: Target) -> None:
    """Data, attributes and ordering key arrive byte for byte, with the broker's id and publish time."""
    topic = target.topic()
    subscription = target.subscription(topic)
    before = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    data = bytes(range(256))
    future = target.publisher.publish(topic, data, ordering_key="001A", entity="Account", empty="")
    message_id = future.result(timeout=CALL_SECONDS)
    message = target.pull_some(subscription, 1)[0].message
    assert (message.data, message.ordering_key, message.message_id) == (data, "001A", message_id)
    assert dict(message.attributes) == {"entity": "Account", "empty": ""}
    assert before < message.publish_time < dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)


def test_message_ids_increase(target: Target) -> None:
    """Message ids are unique and increase from message to message."""
    topic = target.topic()
    ids = [int(message_id) for message_id in target.publish(topic, *"abc") + target.publish(topic, *"de")]
    assert ids == sorted(set(ids))


def test_every_subscription_gets_its_copy(target: Target) -> None:
    """A message reaches each subscription that exists when it is published, and none created later."""
    topic = target.topic()
    first, second = target.subscription(topic), target.subscription(topic)
    target.publish(topic, "a")
    third = target.subscription(topic)
    target.publish(topic, "b")
    for subscription in (first, second):
        assert sorted(bodies(target.pull_some(subscription, 2))) == ["a", "b"]
    assert bodies(target.pull_some(third, 1)) == ["b"]


@pytest.mark.parametrize(
    "messages",
    [[], [{}], [{"ordering_key": "k"}], [{"data": b"fine"}, {}], [{"data": b"x"}] * 1001],
    ids=["none", "empty", "only a key", "one of two empty", "1,001"],
)
def test_request_that_breaks_a_rule_is_refused_as_a_whole(target: Target, messages: list[dict[str, Any]]) -> None:
    """A request has 1 to 1,000 messages, none without data and attributes; otherwise nothing of it is published."""
    topic = target.topic()
    subscription = target.subscription(topic)
    with pytest.raises(exceptions.InvalidArgument):
        target.publish_messages(topic, messages)
    assert target.pull(subscription, at_once=True) == []


@pytest.mark.parametrize(
    "message",
    [
        {"attributes": {f"k{i}": "v" for i in range(101)}},
        {"attributes": {"k" * 257: "v"}},
        {"attributes": {"k": "v" * 1025}},
        {"attributes": {"google": "v"}},
        {"data": b"x", "ordering_key": "k" * 1025},
        {"data": b"x" * 10_000_001},
    ],
    ids=["attributes", "key", "value", "goog", "ordering key", "10 MB"],
)
def test_message_past_a_limit_is_refused(
    target: Target, google_deviates: Callable[[str], None], message: dict[str, Any]
) -> None:
    """A message has at most 100 attributes, keys of 256 and values of 1024 bytes, and 10 MB."""
    google_deviates("checks no limits of messages")
    topic = target.topic()
    with pytest.raises(exceptions.InvalidArgument):
        target.publish_messages(topic, [message])


def test_message_at_the_limits_is_accepted(target: Target) -> None:
    """A message at its limits is accepted. Clients of an emulator receive at most 4 MB, so 3 MB are received."""
    topic = target.topic()
    target.publish_messages(topic, [{"data": b"x" * 10_000_000}])
    subscription = target.subscription(topic)
    attributes = {f"k{i:03}" + "k" * 252: "v" * 1024 for i in range(100)}
    target.publish_messages(topic, [{"data": b"x" * 3_000_000, "attributes": attributes, "ordering_key": "k" * 1024}])
    message = target.pull_some(subscription, 1)[0].message
    assert (len(message.data), dict(message.attributes)) == (3_000_000, attributes)


def test_publishing_to_an_absent_topic_is_not_found(target: Target) -> None:
    """Publishing does not create a topic."""
    with pytest.raises(exceptions.NotFound):
        target.publish(target.name_of("topics"), "a")
