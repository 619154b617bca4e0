import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.api_core import exceptions

from tests.integration.pubsub_targets import CALL_SECONDS, PROJECT, Stream, Target, bodies, wait_until


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


def test_stream_accepts_acknowledgements_and_nacks(target: Target) -> None:
    """On a stream a nacked message is redelivered, and an acknowledged one is not."""
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
    """A waiting stream receives a message as soon as the lease of another subscriber has expired."""
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
    """A stream at its limit gets no more messages until it acknowledges some."""
    google_deviates("ignores the flow control of streams")
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, *("x" * 3000 for _ in range(4)))
    with Stream(target, subscription, **limit) as stream:
        held = stream.receive(2)
        # What the stream was not sent is still there for others.
        others = target.pull(subscription, at_once=True)
        assert (len(held), len(others)) == (2, 2)
        target.nack(subscription, others)
        stream.send(ack_ids=[message.ack_id for message in held])
        assert len(stream.receive(2)) == 2


def test_stream_of_an_absent_subscription_is_not_found(target: Target) -> None:
    """A stream of an absent subscription ends with NOT_FOUND."""
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
    """Messages of a cancelled stream stay leased until their deadline, and are then redelivered."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a")
    with Stream(target, subscription) as stream:
        received = stream.receive(1)
    assert target.pull(subscription, at_once=True) == []
    target.modify(subscription, received, 1)
    assert bodies(target.pull_some(subscription, 1)) == ["a"]
