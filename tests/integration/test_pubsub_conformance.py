"""One suite for two brokers: ours, and Google's emulator where gcloud has it. Both must behave as Pub/Sub documents.

Where Google's emulator departs from the documentation, the test says so, and fails when it no longer does.
"""

import datetime as dt
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # protobuf ships no annotations
from google.protobuf.field_mask_pb2 import FieldMask  # type: ignore[import-untyped]  # the same

from tests.integration.pubsub_targets import (
    CALL_SECONDS,
    PROJECT,
    Stream,
    Target,
    embedded,
    google_emulator,
    wait_until,
)

# The only way to look without waiting, on whichever broker.
pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag:DeprecationWarning")

IDLE_CLIENT_SECONDS = 5
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="session", params=["embedded", "google"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Yield each broker in turn, started once."""
    running = embedded() if request.param == "embedded" else google_emulator(tmp_path_factory.mktemp("pubsub"))
    with running as broker:
        yield broker


@pytest.fixture
def google_deviates(request: pytest.FixtureRequest, target: Target) -> Callable[[str], None]:
    """Expect a failure of Google's emulator, for a reason."""

    def expect(reason: str) -> None:
        if target.name == "google":
            request.applymarker(pytest.mark.xfail(reason=f"Google's emulator {reason}", strict=True))

    return expect


def bodies(received: list[Any]) -> list[str]:
    """The payloads, as text."""
    return [message.message.data.decode() for message in received]


# Topics


def test_topic_is_created_found_listed_and_deleted(target: Target) -> None:
    """A topic exists from its creation to its deletion."""
    topic = target.topic(labels={"team": "revops"})
    assert dict(target.publisher.get_topic(topic=topic).labels) == {"team": "revops"}
    assert topic in {listed.name for listed in target.publisher.list_topics(project=PROJECT)}
    target.publisher.delete_topic(topic=topic)
    assert topic not in {listed.name for listed in target.publisher.list_topics(project=PROJECT)}
    for call in (target.publisher.get_topic, target.publisher.delete_topic):
        with pytest.raises(exceptions.NotFound):
            call(topic=topic)


def test_topic_name_is_taken_once(target: Target) -> None:
    """A second topic of the same name already exists."""
    topic = target.topic()
    with pytest.raises(exceptions.AlreadyExists):
        target.publisher.create_topic(name=topic)


@pytest.mark.parametrize(
    "name", ["changes", f"{PROJECT}/topics/ab", f"{PROJECT}/topics/1abc", f"{PROJECT}/topics/googl"]
)
def test_malformed_topic_name_is_refused(target: Target, name: str) -> None:
    """A topic's name has the documented form."""
    with pytest.raises(exceptions.InvalidArgument):
        target.publisher.create_topic(name=name)


def test_listing_comes_in_pages(target: Target) -> None:
    """A client that asks for small pages sees every topic once."""
    topics = {target.topic() for _ in range(5)}
    request = {"project": PROJECT, "page_size": 2}
    listed = [topic.name for topic in target.publisher.list_topics(request=request)]
    assert topics <= set(listed)
    assert len(listed) == len(set(listed))


def test_topic_names_its_subscriptions(target: Target) -> None:
    """A topic lists the subscriptions it has, and no longer those deleted."""
    topic = target.topic()
    first, second = target.subscription(topic), target.subscription(topic)
    assert set(target.publisher.list_topic_subscriptions(topic=topic)) == {first, second}
    target.subscriber.delete_subscription(subscription=first)
    assert list(target.publisher.list_topic_subscriptions(topic=topic)) == [second]


def test_topic_retention_is_updated(target: Target) -> None:
    """An update of the masked retention is shown afterwards."""
    topic = target.topic()
    update = {"name": topic, "message_retention_duration": Duration(seconds=1200)}
    target.publisher.update_topic(topic=update, update_mask=FieldMask(paths=["message_retention_duration"]))
    assert target.publisher.get_topic(topic=topic).message_retention_duration.total_seconds() == 1200


def test_labels_are_updated(target: Target, google_deviates: Callable[[str], None]) -> None:
    """An update of the masked labels replaces them."""
    google_deviates("knows no field called labels in update masks")
    topic = target.topic(labels={"a": "b"})
    target.publisher.update_topic(topic={"name": topic, "labels": {"c": "d"}}, update_mask=FieldMask(paths=["labels"]))
    assert dict(target.publisher.get_topic(topic=topic).labels) == {"c": "d"}


@pytest.mark.parametrize("paths", [[], ["name"], ["no_such_field"]])
def test_topic_update_names_fields_that_change(target: Target, paths: list[str]) -> None:
    """An update mask is neither empty nor of fields that can't change."""
    topic = target.topic()
    with pytest.raises(exceptions.InvalidArgument):
        target.publisher.update_topic(topic={"name": topic}, update_mask=FieldMask(paths=paths))


# Subscriptions


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
    """A message is given up after 5 to 100 attempts."""
    topic = target.topic()
    with pytest.raises(exceptions.OutOfRange):
        target.subscription(topic, dead_letter_policy={"dead_letter_topic": topic, "max_delivery_attempts": attempts})


def test_policies_have_defaults(target: Target) -> None:
    """Five attempts, and backoff between 10 s and 600 s, unless told otherwise."""
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


# Publishing


def test_message_arrives_as_published(target: Target) -> None:
    """Data, attributes and ordering key arrive byte for byte, with an id and a publish time of the broker's."""
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
    """A message reaches each subscription there is when it is published, and none made later."""
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
    """A request has 1 to 1,000 messages, none without data and attributes; else nothing of it is published."""
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
    """A message may use its limits up. The client of an emulator receives 4 MB at most, so one of 3 MB is received."""
    topic = target.topic()
    target.publish_messages(topic, [{"data": b"x" * 10_000_000}])
    subscription = target.subscription(topic)
    attributes = {f"k{i:03}" + "k" * 252: "v" * 1024 for i in range(100)}
    target.publish_messages(topic, [{"data": b"x" * 3_000_000, "attributes": attributes, "ordering_key": "k" * 1024}])
    message = target.pull_some(subscription, 1)[0].message
    assert (len(message.data), dict(message.attributes)) == (3_000_000, attributes)


def test_publishing_to_an_absent_topic_is_not_found(target: Target) -> None:
    """There is no topic by publishing to it."""
    with pytest.raises(exceptions.NotFound):
        target.publish(target.name_of("topics"), "a")


# Pulling and acknowledging


def test_idle_pull_answers_before_the_client_gives_up(target: Target) -> None:
    """A pull of an empty subscription is answered, with nothing, well within the client's timeout."""
    subscription = target.subscription(target.topic())
    answer = target.subscriber.pull(
        request={"subscription": subscription, "max_messages": 10}, timeout=IDLE_CLIENT_SECONDS, retry=None
    )
    assert list(answer.received_messages) == []


def test_waiting_pull_gets_what_arrives(target: Target) -> None:
    """A message published while a subscriber pulls again and again reaches it."""
    topic = target.topic()
    subscription = target.subscription(topic)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(target.pull_some, subscription, 1)
        target.publish(topic, "a")
        assert bodies(waiting.result()) == ["a"]


def test_pull_is_bounded_by_max_messages(target: Target) -> None:
    """A pull returns no more than asked for, and does not wait to fill up."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, *"abc")
    assert len(target.pull(subscription, 2)) == 2
    assert len(target.pull(subscription, 100)) == 1


def test_pull_of_no_messages_is_refused(target: Target) -> None:
    """A pull asks for a positive number of messages."""
    subscription = target.subscription(target.topic())
    with pytest.raises(exceptions.InvalidArgument):
        target.pull(subscription, 0)


def test_absent_subscription_is_not_found(target: Target) -> None:
    """Every call on a subscription that does not exist says so."""
    absent = target.name_of("subscriptions")
    received = [pubsub_v1.types.ReceivedMessage(ack_id=f"{absent}:1")]
    for call in (
        lambda: target.pull(absent),
        lambda: target.acknowledge(absent, received),
        lambda: target.modify(absent, received, 10),
        lambda: target.subscriber.seek(request={"subscription": absent, "time": LONG_AGO}),
    ):
        with pytest.raises(exceptions.NotFound):
            call()


def test_acknowledged_message_does_not_return(target: Target) -> None:
    """What is acknowledged isn't delivered again, though it was about to be."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "done", "open")
    received = target.pull_some(subscription, 2)
    done = [message for message in received if message.message.data == b"done"]
    target.acknowledge(subscription, done)
    target.modify(subscription, received, 1)
    assert bodies(target.pull_some(subscription, 1)) == ["open"]
    assert target.pull(subscription, at_once=True) == []
    target.acknowledge(subscription, done)  # a second time, which is harmless


def test_refused_message_returns(target: Target) -> None:
    """A deadline of zero makes a message available at once."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    target.refuse(subscription, target.pull_some(subscription, 1))
    assert bodies(target.pull(subscription, at_once=True)) == ["a"]


def test_message_returns_after_its_deadline(target: Target) -> None:
    """A message that nobody acknowledges in time is delivered again, with another ack id."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    first = target.pull_some(subscription, 1)
    target.modify(subscription, first, 1)
    again = target.pull_some(subscription, 1)
    assert (again[0].message.message_id, again[0].ack_id != first[0].ack_id) == (first[0].message.message_id, True)


def test_prolonged_message_stays_with_its_subscriber(target: Target) -> None:
    """A message whose deadline was prolonged isn't delivered to others when a shorter one runs out."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "long", "short")
    received = target.pull_some(subscription, 2)
    target.modify(subscription, received, 5)
    target.modify(subscription, [one for one in received if one.message.data == b"long"], 600)
    assert bodies(target.pull_some(subscription, 1)) == ["short"]
    assert target.pull(subscription, at_once=True) == []


def test_ack_id_of_an_earlier_delivery_is_harmless(target: Target) -> None:
    """Once a message was delivered again, the id of the earlier delivery does not acknowledge it."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    stale = target.pull_some(subscription, 1)
    target.refuse(subscription, stale)
    current = target.pull_some(subscription, 1)
    target.acknowledge(subscription, stale)
    target.refuse(subscription, current)
    assert bodies(target.pull_some(subscription, 1)) == ["a"]


def test_acknowledgement_of_what_one_refused_changes_nothing(target: Target) -> None:
    """A subscriber that refused a message can't acknowledge it afterwards: it comes again."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    refused = target.pull_some(subscription, 1)
    target.refuse(subscription, refused)
    target.acknowledge(subscription, refused)
    assert bodies(target.pull_some(subscription, 1)) == ["a"]


def test_late_acknowledgement_counts_until_redelivery(target: Target) -> None:
    """An acknowledgement after the deadline still counts if the message was not delivered again."""
    topic = target.topic()
    subscription, witness = target.subscription(topic), target.subscription(topic)
    target.publish(topic, "a")
    late, seen = target.pull_some(subscription, 1), target.pull_some(witness, 1)
    target.modify(subscription, late, 1)
    target.modify(witness, seen, 1)
    target.pull_some(witness, 1)  # so the second has passed on the other subscription too
    target.acknowledge(subscription, late)
    assert target.pull(subscription, at_once=True) == []


def test_malformed_ack_id_is_refused(target: Target) -> None:
    """What can't be an ack id, and no ack id at all, is an error of the client's."""
    subscription = target.subscription(target.topic())
    malformed = [pubsub_v1.types.ReceivedMessage(ack_id="nonsense")]
    for received in (malformed, []):
        with pytest.raises(exceptions.InvalidArgument):
            target.acknowledge(subscription, received)
        with pytest.raises(exceptions.InvalidArgument):
            target.modify(subscription, received, 10)


def test_negative_deadline_is_refused(target: Target) -> None:
    """An ack deadline can't be negative."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    received = target.pull_some(subscription, 1)
    with pytest.raises(exceptions.InvalidArgument):
        target.modify(subscription, received, -1)


# Dead letters and retries


def test_exhausted_message_is_forwarded(target: Target) -> None:
    """After max_delivery_attempts a message leaves for the dead-letter topic, with a note of where it came from."""
    topic, dead_letter_topic = target.topic(), target.topic()
    hold = target.subscription(dead_letter_topic)
    policy = {"dead_letter_topic": dead_letter_topic, "max_delivery_attempts": 5}
    subscription = target.subscription(topic, dead_letter_policy=policy)
    target.publish_messages(topic, [{"data": b"poison", "attributes": {"entity": "Account"}, "ordering_key": "k"}])
    for attempt in range(1, 6):
        received = target.pull_some(subscription, 1)
        assert received[0].delivery_attempt == attempt
        published = received[0].message.publish_time
        target.refuse(subscription, received)
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
        target.refuse(subscription, received)


def test_message_that_keeps_failing_rests(target: Target) -> None:
    """Under a retry policy a message that was refused again is kept back for the minimum backoff."""
    topic = target.topic()
    backoff = {"minimum_backoff": Duration(seconds=600), "maximum_backoff": Duration(seconds=600)}
    rested, resting = target.subscription(topic), target.subscription(topic, retry_policy=backoff)
    target.publish(topic, "a")
    for subscription in (rested, resting):
        target.refuse(subscription, target.pull_some(subscription, 1))
    # Google's emulator lets the first failure pass without a rest: see the next test.
    if received := target.pull(resting, at_once=True):
        target.refuse(resting, received)
    assert target.pull(resting, at_once=True) == []
    assert bodies(target.pull(rested, at_once=True)) == ["a"]


def test_first_failure_rests_too(target: Target, google_deviates: Callable[[str], None]) -> None:
    """The minimum backoff holds from the first failure on."""
    google_deviates("redelivers at once after the first failure")
    topic = target.topic()
    subscription = target.subscription(topic, retry_policy={"minimum_backoff": Duration(seconds=600)})
    target.publish(topic, "a")
    target.refuse(subscription, target.pull_some(subscription, 1))
    assert target.pull(subscription, at_once=True) == []


def test_rested_message_returns(target: Target) -> None:
    """A message that rested comes again, time after time."""
    topic = target.topic()
    backoff = {"minimum_backoff": Duration(seconds=1), "maximum_backoff": Duration(seconds=1)}
    subscription = target.subscription(topic, retry_policy=backoff)
    target.publish(topic, "a")
    for _ in range(3):
        target.refuse(subscription, target.pull_some(subscription, 1))
    assert bodies(target.pull_some(subscription, 1)) == ["a"]


# Ordering


def test_key_arrives_in_order(target: Target) -> None:
    """Messages of a key arrive in the order they were published, over several pulls."""
    topic = target.topic()
    subscription = target.subscription(topic, enable_message_ordering=True)
    for number in range(12):
        target.publish(topic, str(number), key="account-1")
    seen: list[str] = []

    def take() -> bool:
        received = target.pull(subscription, 5)
        seen.extend(bodies(received))
        if received:
            target.acknowledge(subscription, received)
        return len(seen) >= 12

    wait_until(take)
    assert seen == [str(number) for number in range(12)]


def test_refused_batch_returns_in_order(target: Target) -> None:
    """When a batch of a key is refused, all of it comes again, in order."""
    topic = target.topic()
    subscription = target.subscription(topic, enable_message_ordering=True)
    target.publish(topic, *"abc", key="account-1")
    received = target.pull_some(subscription, 3)
    target.refuse(subscription, received)
    assert bodies(target.pull_some(subscription, 3)) == ["a", "b", "c"]


def test_key_waits_for_its_batch_while_others_go_on(target: Target) -> None:
    """While messages of a key are out, its later ones wait, and those of other keys don't."""
    topic = target.topic()
    subscription = target.subscription(topic, enable_message_ordering=True)
    target.publish(topic, "a1", key="account-1")
    first = target.pull_some(subscription, 1)
    target.publish(topic, "a2", key="account-1")
    target.publish(topic, "b1", key="account-2")
    assert bodies(target.pull_some(subscription, 1)) == ["b1"]
    assert target.pull(subscription, at_once=True) == []
    target.acknowledge(subscription, first)
    assert bodies(target.pull_some(subscription, 1)) == ["a2"]


def test_refusal_takes_later_messages_of_the_key_along(target: Target, google_deviates: Callable[[str], None]) -> None:
    """A refused message comes again together with all later ones of its key."""
    google_deviates("redelivers the refused message alone, after the later ones")
    topic = target.topic()
    subscription = target.subscription(topic, enable_message_ordering=True)
    target.publish(topic, *"abcd", key="account-1")
    received = target.pull_some(subscription, 4)
    target.refuse(subscription, received[1:2])
    target.acknowledge(subscription, received[:1])
    target.acknowledge(subscription, received[2:])
    assert bodies(target.pull_some(subscription, 1)) == ["b", "c", "d"]


# Seek and snapshots


def test_seek_replays_retained_messages(target: Target) -> None:
    """Where acknowledged messages are retained, a seek into the past delivers them again."""
    topic = target.topic()
    subscription = target.subscription(topic, retain_acked_messages=True)
    target.publish(topic, "a", "b")
    target.acknowledge(subscription, target.pull_some(subscription, 2))
    target.subscriber.seek(request={"subscription": subscription, "time": LONG_AGO})
    assert sorted(bodies(target.pull_some(subscription, 2))) == ["a", "b"]


def test_seek_to_a_publish_time_starts_with_that_message(target: Target) -> None:
    """Messages published before the time are acknowledged, the others are not."""
    topic = target.topic()
    subscription = target.subscription(topic, retain_acked_messages=True)
    target.publish(topic, "before")
    first = target.pull_some(subscription, 1)
    # The next publish time must differ by a millisecond, which is all that Google's emulator tells apart.
    before = first[0].message.publish_time
    wait_until(lambda: dt.datetime.now(dt.UTC) > before + dt.timedelta(milliseconds=2))
    target.publish(topic, "after")
    second = target.pull_some(subscription, 1)
    target.acknowledge(subscription, [*first, *second])
    target.subscriber.seek(request={"subscription": subscription, "time": second[0].message.publish_time})
    assert bodies(target.pull_some(subscription, 1)) == ["after"]
    assert target.pull(subscription, at_once=True) == []


def test_seek_restores_nothing_that_is_not_retained(target: Target) -> None:
    """An acknowledged message that isn't retained is gone; what is out is delivered again."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "done", "open")
    received = target.pull_some(subscription, 2)
    target.acknowledge(subscription, [one for one in received if one.message.data == b"done"])
    target.subscriber.seek(request={"subscription": subscription, "time": LONG_AGO})
    assert bodies(target.pull_some(subscription, 1)) == ["open"]
    assert target.pull(subscription, at_once=True) == []


def test_seek_into_the_future_purges(target: Target) -> None:
    """A seek into the future acknowledges all there is, and nothing published later."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a", "b")
    future = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    target.subscriber.seek(request={"subscription": subscription, "time": future})
    target.publish(topic, "c")
    assert bodies(target.pull_some(subscription, 1)) == ["c"]


def test_seek_without_a_target_is_refused(target: Target) -> None:
    """A seek goes to a time or to a snapshot."""
    subscription = target.subscription(target.topic())
    with pytest.raises(exceptions.InvalidArgument):
        target.subscriber.seek(request={"subscription": subscription})


def test_snapshot_restores_a_backlog(target: Target) -> None:
    """A seek to a snapshot delivers what was unacknowledged then, and what was published since."""
    topic = target.topic()
    subscription, snapshot = target.subscription(topic), target.name_of("snapshots")
    target.publish(topic, "done")
    target.acknowledge(subscription, target.pull_some(subscription, 1))
    target.publish(topic, "open")
    created = target.subscriber.create_snapshot(request={"name": snapshot, "subscription": subscription})
    assert (created.name, created.topic) == (snapshot, topic)
    target.publish(topic, "later")
    target.acknowledge(subscription, target.pull_some(subscription, 2))
    target.subscriber.seek(request={"subscription": subscription, "snapshot": snapshot})
    assert sorted(bodies(target.pull_some(subscription, 2))) == ["later", "open"]
    assert target.pull(subscription, at_once=True) == []


def test_snapshot_serves_another_subscription(target: Target, google_deviates: Callable[[str], None]) -> None:
    """A later subscription of the topic takes over the backlog of a snapshot."""
    google_deviates("gives a subscription made later nothing of a snapshot")
    topic = target.topic()
    subscription, snapshot = target.subscription(topic), target.name_of("snapshots")
    target.publish(topic, "a")
    target.subscriber.create_snapshot(request={"name": snapshot, "subscription": subscription})
    other = target.subscription(topic)
    target.subscriber.seek(request={"subscription": other, "snapshot": snapshot})
    assert bodies(target.pull(other, at_once=True)) == ["a"]


def test_snapshot_is_found_listed_and_deleted(target: Target) -> None:
    """A snapshot exists from its creation to its deletion; its name is taken meanwhile."""
    topic = target.topic()
    subscription, snapshot = target.subscription(topic), target.name_of("snapshots")
    request = {"name": snapshot, "subscription": subscription}
    target.subscriber.create_snapshot(request=request)
    with pytest.raises(exceptions.AlreadyExists):
        target.subscriber.create_snapshot(request=request)
    assert target.subscriber.get_snapshot(snapshot=snapshot).topic == topic
    assert snapshot in {one.name for one in target.subscriber.list_snapshots(project=PROJECT)}
    assert list(target.publisher.list_topic_snapshots(topic=topic)) == [snapshot]
    target.subscriber.delete_snapshot(snapshot=snapshot)
    for call in (target.subscriber.get_snapshot, target.subscriber.delete_snapshot):
        with pytest.raises(exceptions.NotFound):
            call(snapshot=snapshot)
    with pytest.raises(exceptions.NotFound):
        target.subscriber.seek(request={"subscription": subscription, "snapshot": snapshot})


def test_snapshot_belongs_to_its_topic(target: Target) -> None:
    """A subscription can't go to a snapshot of another topic."""
    snapshot = target.name_of("snapshots")
    subscription, other = target.subscription(target.topic()), target.subscription(target.topic())
    target.subscriber.create_snapshot(request={"name": snapshot, "subscription": subscription})
    with pytest.raises(exceptions.FailedPrecondition):
        target.subscriber.seek(request={"subscription": other, "snapshot": snapshot})


# Streaming


def test_client_that_subscribes_gets_everything_once(target: Target) -> None:
    """Google's own streaming client receives each message, and what it acknowledges does not return."""
    topic = target.topic()
    subscription = target.subscription(topic)
    wanted = {str(number) for number in range(500)}
    seen: list[str] = []

    def callback(message: Any) -> None:
        seen.append(message.data.decode())
        message.ack()

    future = target.subscriber.subscribe(subscription, callback)
    for body in sorted(wanted):
        target.publisher.publish(topic, body.encode())
    wait_until(lambda: set(seen) == wanted)
    future.cancel()
    future.result(timeout=CALL_SECONDS)
    assert sorted(seen) == sorted(wanted)


def test_client_that_subscribes_sees_keys_in_order(target: Target) -> None:
    """Google's streaming client is called for the messages of a key in publish order."""
    topic = target.topic()
    subscription = target.subscription(topic, enable_message_ordering=True)
    seen: dict[str, list[int]] = {"account-1": [], "account-2": []}
    lock = threading.Lock()

    def callback(message: Any) -> None:
        with lock:
            seen[message.ordering_key].append(int(message.data))
        message.ack()

    future = target.subscriber.subscribe(subscription, callback)
    for number in range(40):
        for key in seen:
            target.publisher.publish(topic, str(number).encode(), ordering_key=key)
    wait_until(lambda: all(len(numbers) >= 40 for numbers in seen.values()))
    future.cancel()
    future.result(timeout=CALL_SECONDS)
    assert seen == {"account-1": list(range(40)), "account-2": list(range(40))}


def test_stream_takes_acknowledgements_and_refusals(target: Target) -> None:
    """On a stream a refused message comes again, and an acknowledged one doesn't."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "done", "again")
    stream = Stream(target, subscription)
    by_body = {message.message.data: message.ack_id for message in stream.receive(2)}
    stream.send(ack_ids=[by_body[b"done"]])
    stream.send(modify_deadline_ack_ids=[by_body[b"again"]], modify_deadline_seconds=[0])
    assert bodies(stream.receive(1)) == ["again"]
    stream.half_close()
    stream.drain()
    target.publish(topic, "next")
    assert bodies(target.pull_some(subscription, 1)) == ["next"]


def test_stream_is_sent_what_another_subscriber_let_expire(target: Target) -> None:
    """A waiting stream receives a message as soon as the lease of another subscriber has run out, unasked."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    held = target.pull_some(subscription, 1)
    with Stream(target, subscription) as stream:
        target.modify(subscription, held, 1)
        assert bodies(stream.receive(1)) == ["a"]


def test_streams_share_a_subscription(target: Target) -> None:
    """Each message reaches one of the streams of a subscription."""
    topic = target.topic()
    subscription = target.subscription(topic)
    streams = [Stream(target, subscription) for _ in range(3)]
    seen: queue.Queue[str] = queue.Queue()

    def read(stream: Stream) -> None:
        while True:
            try:
                received = stream.receive(1)
            except (StopIteration, exceptions.GoogleAPICallError):
                return  # the test closed it
            stream.send(ack_ids=[message.ack_id for message in received])
            for body in bodies(received):
                seen.put(body)

    with ThreadPoolExecutor(3) as pool:
        for stream in streams:
            pool.submit(read, stream)
        for number in range(30):
            target.publish(topic, str(number))
        got = [seen.get(timeout=CALL_SECONDS) for _ in range(30)]
        for stream in streams:
            stream.cancel()
    assert sorted(got, key=int) == [str(number) for number in range(30)]
    assert seen.empty()


@pytest.mark.parametrize("limit", [{"max_outstanding_messages": 2}, {"max_outstanding_bytes": 4000}])
def test_stream_is_not_sent_more_than_it_may_hold(
    target: Target, google_deviates: Callable[[str], None], limit: dict[str, int]
) -> None:
    """A stream at its limit gets nothing more, and more once it acknowledged."""
    google_deviates("ignores the flow control of streams")
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, *("x" * 3000 for _ in range(4)))
    with Stream(target, subscription, **limit) as stream:
        held = stream.receive(2)
        # What the stream was not sent is still there for others.
        others = target.pull(subscription, at_once=True)
        assert (len(held), len(others)) == (2, 2)
        target.refuse(subscription, others)
        stream.send(ack_ids=[message.ack_id for message in held])
        assert len(stream.receive(2)) == 2


def test_stream_of_an_absent_subscription_is_not_found(target: Target) -> None:
    """A stream needs a subscription that exists."""
    with pytest.raises(exceptions.NotFound):
        Stream(target, target.name_of("subscriptions")).drain()


def test_stream_ends_with_its_subscription(target: Target) -> None:
    """When the subscription is deleted, its streams end with NOT_FOUND."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    with Stream(target, subscription) as stream:
        stream.receive(1)
        target.subscriber.delete_subscription(subscription=subscription)
        with pytest.raises(exceptions.NotFound):
            stream.drain()


@pytest.mark.parametrize("seconds", [0, 9, 601])
def test_stream_deadline_has_bounds(target: Target, seconds: int) -> None:
    """A stream sets an ack deadline of 10 to 600 seconds at its start."""
    subscription = target.subscription(target.topic())
    with pytest.raises(exceptions.InvalidArgument):
        Stream(target, subscription, stream_ack_deadline_seconds=seconds).drain()


@pytest.mark.parametrize(
    "request_",
    [
        {"subscription": f"{PROJECT}/subscriptions/another"},
        {"ack_ids": ["nonsense"]},
        {"modify_deadline_ack_ids": ["a"]},
        {"stream_ack_deadline_seconds": 9},
    ],
    ids=lambda request: next(iter(request)),
)
def test_stream_ends_with_a_malformed_request(target: Target, request_: dict[str, Any]) -> None:
    """A later request that breaks the protocol ends the stream with INVALID_ARGUMENT."""
    with Stream(target, target.subscription(target.topic())) as stream:
        stream.send(**request_)
        with pytest.raises(exceptions.InvalidArgument):
            stream.drain()


def test_stream_sets_its_limits_once(target: Target, google_deviates: Callable[[str], None]) -> None:
    """Flow control is set by the first request only."""
    google_deviates("ignores the flow control of streams")
    stream = Stream(target, target.subscription(target.topic()))
    stream.send(max_outstanding_messages=5)
    stream.half_close()
    with pytest.raises(exceptions.InvalidArgument):
        stream.drain()


def test_cancelled_stream_leaves_its_messages_until_their_deadline(target: Target) -> None:
    """What a stream was sent stays leased when the stream goes, and then comes again for others."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    with Stream(target, subscription) as stream:
        received = stream.receive(1)
    assert target.pull(subscription, at_once=True) == []
    target.modify(subscription, received, 1)
    assert bodies(target.pull_some(subscription, 1)) == ["a"]
