"""The broker's life: start, many at a time, counters, and an end that leaves nothing behind."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no annotations
import pytest

from pipeline.local.pubsub import EmbeddedPubSub, wire
from pipeline.local.pubsub.errors import NotFoundError
from tests.fixtures.waiting import GENEROUS_SECONDS, wait_until
from tests.unit.pipeline.local.pubsub.samples import PROJECT, SUBSCRIPTION, TOPIC


class Stubs:
    """The calls of these tests, without Google's client."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, method: str, request: Any, response: Any) -> Any:
        """Make a call of a service and wait for its answer."""
        return self.stub(method, request, response)(request, timeout=GENEROUS_SECONDS)

    def stub(self, method: str, request: Any, response: Any) -> Any:
        """Return the callable of a unary method."""
        return self._channel.unary_unary(
            f"/google.pubsub.v1.{method}", type(request).SerializeToString, response.FromString
        )

    def subscribe(self) -> None:
        """Create the topic and the subscription."""
        self.call("Publisher/CreateTopic", wire.Topic(name=TOPIC), wire.Topic)
        self.call("Subscriber/CreateSubscription", wire.Subscription(name=SUBSCRIPTION, topic=TOPIC), wire.Subscription)

    def publish(self, count: int) -> None:
        """Publish a number of messages."""
        messages = [wire.PubsubMessage(data=b"x")] * count
        self.call("Publisher/Publish", wire.PublishRequest(topic=TOPIC, messages=messages), wire.PublishResponse)

    def stream(self, requests: Iterator[Any]) -> Any:
        """Open a StreamingPull."""
        return self._channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            wire.StreamingPullRequest.SerializeToString,
            wire.StreamingPullResponse.FromString,
        )(requests, timeout=GENEROUS_SECONDS)


@contextmanager
def stubs_of(broker: EmbeddedPubSub) -> Iterator[Stubs]:
    """Connect to a broker."""
    with grpc.insecure_channel(broker.host) as channel:
        yield Stubs(channel)


def test_stop_ends_open_streams_and_leaves_no_thread() -> None:
    """A stop ends open streams with UNAVAILABLE, and leaves no thread."""
    before = set(threading.enumerate())
    broker = EmbeddedPubSub().start()
    requests: queue.Queue[Any] = queue.Queue()
    with stubs_of(broker) as stubs:
        stubs.subscribe()
        stubs.publish(1)
        requests.put(wire.StreamingPullRequest(subscription=SUBSCRIPTION, stream_ack_deadline_seconds=10))
        stream = stubs.stream(iter(requests.get, None))
        assert next(stream).received_messages
        stubs.publish(1)
        assert next(stream).received_messages
        broker.stop()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert (ended.value.code(), ended.value.details()) == (grpc.StatusCode.UNAVAILABLE, "The broker is stopping.")
        requests.put(None)
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_broker_serves_once() -> None:
    """A broker can be started once and stopped twice; calls after that are errors."""
    broker = EmbeddedPubSub()
    with pytest.raises(RuntimeError, match="not running"):
        _ = broker.host
    with pytest.raises(RuntimeError, match="not running"):
        broker.backlog(SUBSCRIPTION)
    broker.start()
    with pytest.raises(RuntimeError, match="before"):
        broker.start()
    broker.stop()
    broker.stop()
    with pytest.raises(RuntimeError, match="not running"):
        broker.backlog(SUBSCRIPTION)


def test_taken_port_is_an_error() -> None:
    """A broker does not share a port: its start fails."""
    with EmbeddedPubSub() as first:
        port = int(first.host.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            EmbeddedPubSub(port).start()


def test_brokers_are_independent() -> None:
    """Several brokers of one process have ports and topics of their own."""
    with EmbeddedPubSub() as one, EmbeddedPubSub() as two, stubs_of(one) as stubs:
        stubs.subscribe()
        assert one.host != two.host
        assert one.backlog(SUBSCRIPTION) == 0
        with pytest.raises(NotFoundError):
            two.backlog(SUBSCRIPTION)


def test_counters_show_what_is_unacknowledged() -> None:
    """The backlog counts waiting and leased messages by subscription; an absent subscription is NOT_FOUND."""
    with EmbeddedPubSub() as broker, stubs_of(broker) as stubs:
        stubs.subscribe()
        stubs.publish(3)
        pulled = stubs.call(
            "Subscriber/Pull", wire.PullRequest(subscription=SUBSCRIPTION, max_messages=2), wire.PullResponse
        )
        assert broker.backlog(SUBSCRIPTION) == 3
        request = wire.AcknowledgeRequest(
            subscription=SUBSCRIPTION, ack_ids=[received.ack_id for received in pulled.received_messages]
        )
        stubs.call("Subscriber/Acknowledge", request, wire.Empty)
        assert broker.backlog(SUBSCRIPTION) == 1
        with pytest.raises(NotFoundError):
            broker.backlog(f"{PROJECT}/subscriptions/absent")


def test_waiting_pulls_starve_nobody() -> None:
    """With hundreds of pulls waiting, another call is answered, and each message reaches exactly one of them."""
    with EmbeddedPubSub() as broker, stubs_of(broker) as stubs:
        stubs.subscribe()
        request = wire.PullRequest(subscription=SUBSCRIPTION, max_messages=1)
        pull = stubs.stub("Subscriber/Pull", request, wire.PullResponse)
        waiting = [pull.future(request, timeout=GENEROUS_SECONDS) for _ in range(300)]
        stubs.publish(5)
        answers = [call.result() for call in waiting]
        waiting = [pull.future(request, timeout=GENEROUS_SECONDS) for _ in range(10)]
        answers += [call.result() for call in waiting]
        received = [message.message.message_id for answer in answers for message in answer.received_messages]
        assert len(received) == len(set(received)) == 5


@pytest.mark.parametrize(
    "method", ["google.pubsub.v1.SchemaService/ListSchemas", "google.iam.v1.IAMPolicy/GetIamPolicy"]
)
def test_method_of_another_service_is_unimplemented(method: str) -> None:
    """A call of a service that the broker does not implement is UNIMPLEMENTED, and names the method."""
    with EmbeddedPubSub() as broker, grpc.insecure_channel(broker.host) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(f"/{method}")(b"", timeout=GENEROUS_SECONDS)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert method in refused.value.details()


@pytest.mark.parametrize(
    ("method", "request_", "response"),
    [
        ("Subscriber/ModifyPushConfig", wire.ModifyPushConfigRequest(), wire.Empty),
        ("Subscriber/UpdateSnapshot", wire.UpdateSnapshotRequest(), wire.Snapshot),
        ("Publisher/DetachSubscription", wire.DetachSubscriptionRequest(), wire.DetachSubscriptionResponse),
    ],
)
def test_method_that_is_left_out_is_unimplemented(method: str, request_: Any, response: Any) -> None:
    """The methods of the two services that the broker leaves out are UNIMPLEMENTED."""
    with EmbeddedPubSub() as broker, stubs_of(broker) as stubs:
        with pytest.raises(grpc.RpcError) as refused:
            stubs.call(method, request_, response)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "broker" in refused.value.details()
