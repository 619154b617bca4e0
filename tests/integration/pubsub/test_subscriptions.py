import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # protobuf ships no annotations
from google.protobuf.field_mask_pb2 import FieldMask  # type: ignore[import-untyped]  # the same

from tests.integration.pubsub_targets import PROJECT, Target, bodies


def test_subscription_is_created_found_listed_and_deleted(target: Target) -> None:
    """A subscription exists from its creation to its deletion, with the documented defaults."""
    topic = target.topic()
    subscription = target.subscription(topic)
    found = target.subscriber.get_subscription(subscription=subscription)
    assert (found.topic, found.ack_deadline_seconds) == (topic, 10)
    assert found.message_retention_duration == dt.timedelta(days=7)
    assert subscription in {one.name for one in target.subscriber.list_subscriptions(project=PROJECT)}
    target.subscriber.delete_subscription(subscription=subscription)
    for call in (target.subscriber.get_subscription, target.subscriber.delete_subscription):
        with pytest.raises(exceptions.NotFound):
            call(subscription=subscription)


def test_subscription_name_is_taken_once(target: Target) -> None:
    """A second subscription of the same name already exists."""
    topic = target.topic()
    subscription = target.subscription(topic)
    with pytest.raises(exceptions.AlreadyExists):
        target.subscriber.create_subscription(name=subscription, topic=topic)


def test_subscription_needs_its_topics(target: Target) -> None:
    """A subscription to an absent topic, or with an absent dead-letter topic, is not created."""
    topic, absent = target.topic(), target.name_of("topics")
    with pytest.raises(exceptions.NotFound):
        target.subscription(absent)
    with pytest.raises(exceptions.NotFound):
        target.subscription(topic, dead_letter_policy={"dead_letter_topic": absent})


@pytest.mark.parametrize(
    "settings",
    [
        {"ack_deadline_seconds": 601},
        {"message_retention_duration": Duration(seconds=599)},
        {"message_retention_duration": Duration(seconds=31 * 86_400 + 1)},
        {"retry_policy": {"minimum_backoff": Duration(seconds=601)}},
        {"retry_policy": {"minimum_backoff": Duration(seconds=2), "maximum_backoff": Duration(seconds=1)}},
    ],
    ids=["ack deadline", "short retention", "long retention", "backoff", "backoffs crossed"],
)
def test_subscription_settings_have_bounds(target: Target, settings: dict[str, Any]) -> None:
    """A setting past its documented bounds is refused."""
    topic = target.topic()
    with pytest.raises(exceptions.InvalidArgument):
        target.subscription(topic, **settings)


def test_ack_deadline_of_less_than_ten_seconds_is_refused(
    target: Target, google_deviates: Callable[[str], None]
) -> None:
    """The minimum ack deadline is 10 seconds."""
    google_deviates("takes any ack deadline up to 600 seconds")
    topic = target.topic()
    with pytest.raises(exceptions.InvalidArgument):
        target.subscription(topic, ack_deadline_seconds=5)


@pytest.mark.parametrize("attempts", [4, 101])
def test_delivery_attempts_have_bounds(target: Target, attempts: int) -> None:
    """max_delivery_attempts must be 5 to 100."""
    topic = target.topic()
    with pytest.raises(exceptions.OutOfRange):
        target.subscription(topic, dead_letter_policy={"dead_letter_topic": topic, "max_delivery_attempts": attempts})


def test_policies_have_defaults(target: Target) -> None:
    """The defaults are five attempts, and backoff between 10 s and 600 s."""
    topic = target.topic()
    subscription = target.subscription(topic, dead_letter_policy={"dead_letter_topic": topic}, retry_policy={})
    found = target.subscriber.get_subscription(subscription=subscription)
    assert found.dead_letter_policy.max_delivery_attempts == 5
    assert found.retry_policy.minimum_backoff == dt.timedelta(seconds=10)
    assert found.retry_policy.maximum_backoff == dt.timedelta(seconds=600)


def test_subscription_is_updated(target: Target) -> None:
    """An update replaces the masked fields and leaves the others."""
    topic = target.topic()
    subscription = target.subscription(topic, ack_deadline_seconds=20)
    update = {
        "name": subscription,
        "ack_deadline_seconds": 99,
        "dead_letter_policy": {"dead_letter_topic": topic, "max_delivery_attempts": 7},
        "enable_exactly_once_delivery": True,
        "message_retention_duration": Duration(seconds=600),
        "retain_acked_messages": True,
        "retry_policy": {"minimum_backoff": Duration(seconds=1)},
    }
    masked = sorted(set(update) - {"name", "ack_deadline_seconds"})
    target.subscriber.update_subscription(subscription=update, update_mask=FieldMask(paths=masked))
    found = target.subscriber.get_subscription(subscription=subscription)
    assert found.ack_deadline_seconds == 20
    assert found.dead_letter_policy.max_delivery_attempts == 7
    assert found.message_retention_duration == dt.timedelta(seconds=600)
    assert found.retry_policy.minimum_backoff == dt.timedelta(seconds=1)
    assert found.retain_acked_messages
    assert found.enable_exactly_once_delivery


@pytest.mark.parametrize("path", ["name", "topic", "enable_message_ordering", "no_such_field"])
def test_subscription_update_names_fields_that_change(target: Target, path: str) -> None:
    """An update mask has no fields that can't change."""
    subscription = target.subscription(target.topic())
    with pytest.raises(exceptions.InvalidArgument):
        target.subscriber.update_subscription(subscription={"name": subscription}, update_mask=FieldMask(paths=[path]))


def test_subscription_outlives_its_topic(target: Target) -> None:
    """A subscription whose topic was deleted keeps its messages and shows that the topic is gone."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    target.publisher.delete_topic(topic=topic)
    assert target.subscriber.get_subscription(subscription=subscription).topic == "_deleted-topic_"
    assert bodies(target.pull_some(subscription, 1)) == ["a"]
