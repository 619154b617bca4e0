import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1

from tests.integration.pubsub_targets import Target, bodies

IDLE_CLIENT_SECONDS = 2
ATTEMPTS = 10
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def test_idle_pull_answers_before_the_client_gives_up(target: Target) -> None:
    """A pull of an empty subscription returns no messages, and not an error after the client's timeout."""
    subscription = target.subscription(target.topic())
    request = {"subscription": subscription, "max_messages": 10}
    for _ in range(ATTEMPTS):
        # Google's emulator answers a second before the timeout, which can be too late on a busy machine.
        with suppress(exceptions.DeadlineExceeded):
            answer = target.subscriber.pull(request=request, timeout=IDLE_CLIENT_SECONDS, retry=None)
            break
    else:
        pytest.fail(f"no answer within {IDLE_CLIENT_SECONDS} s, {ATTEMPTS} times")
    assert list(answer.received_messages) == []


def test_waiting_pull_gets_what_arrives(target: Target) -> None:
    """A message published while a subscriber polls reaches it."""
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
    """Every call on a subscription that does not exist is NOT_FOUND."""
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
    """An acknowledged message is not delivered again, even just before its deadline."""
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


def test_nacked_message_returns(target: Target) -> None:
    """A deadline of zero makes a message available at once."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    target.nack(subscription, target.pull_some(subscription, 1))
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


def test_message_with_extended_deadline_is_not_redelivered(target: Target) -> None:
    """A message with an extended deadline is not delivered again when the shorter deadline passes."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "long", "short")
    received = target.pull_some(subscription, 2)
    for seconds in (1, 10, 100):
        shortened = time.monotonic()
        target.modify(subscription, received, seconds)
        target.modify(subscription, [one for one in received if one.message.data == b"long"], 600)
        if time.monotonic() - shortened < seconds:
            break  # on a busy machine the shorter deadline can pass in between
        received = target.pull_some(subscription, 2)
    assert bodies(target.pull_some(subscription, 1)) == ["short"]
    assert target.pull(subscription, at_once=True) == []


def test_ack_id_of_an_earlier_delivery_is_harmless(target: Target) -> None:
    """Once a message was delivered again, the id of the earlier delivery does not acknowledge it."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    stale = target.pull_some(subscription, 1)
    target.nack(subscription, stale)
    current = target.pull_some(subscription, 1)
    target.acknowledge(subscription, stale)
    target.nack(subscription, current)
    assert bodies(target.pull_some(subscription, 1)) == ["a"]


def test_nacked_message_cannot_be_acknowledged(target: Target) -> None:
    """A nacked message can't be acknowledged with the same ack id: it is delivered again."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    refused = target.pull_some(subscription, 1)
    target.nack(subscription, refused)
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
    """A malformed ack id, and a request without one, is INVALID_ARGUMENT."""
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
