"""The broker's leases: who is handed a message, for how long, and when it comes again."""

from collections.abc import Callable

import pytest

from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.delivery import NANOS, FlowControl
from pipeline.local.pubsub.errors import InvalidArgumentError
from pipeline.local.pubsub.wire import PubsubMessage, Subscription, Topic
from tests.unit.pipeline.local.pubsub.samples import PROJECT, SUBSCRIPTION, TOPIC, Scene, bodies


def test_messages_arrive_oldest_first_and_once() -> None:
    """A pull leases the oldest messages; another pull gets the next ones."""
    scene = Scene()
    scene.publish("a", "b", "c")
    assert bodies(scene.pull(2)) == ["a", "b"]
    assert bodies(scene.pull()) == ["c"]
    assert scene.pull() == []


def test_message_carries_what_was_published() -> None:
    """Data, attributes and ordering key arrive unchanged; id and publish time are the broker's."""
    scene = Scene()
    message_ids = scene.publish("a", key="account-1")
    message = scene.pull()[0].message
    assert (message.data, message.ordering_key, message.message_id) == (b"a", "account-1", message_ids[0])
    assert message.publish_time.ToNanoseconds() == scene.clock()


def test_message_ids_increase_over_topics_and_restarts() -> None:
    """Message ids are unique integers that increase, those of a broker started later included."""
    scene = Scene()
    ids = scene.publish("a", "b") + scene.publish("c")
    scene.clock.pass_seconds(1)
    restarted = Broker(scene.clock)
    restarted.create_topic(Topic(name=TOPIC))
    ids += restarted.publish(TOPIC, [PubsubMessage(data=b"d")])
    assert [int(message_id) for message_id in ids] == sorted({int(message_id) for message_id in ids})


def test_acknowledged_message_never_returns_and_leaves_memory() -> None:
    """An acknowledged message is not delivered again, and is dropped from memory."""
    scene = Scene()
    scene.publish("a", "b")
    scene.acknowledge(scene.pull())
    scene.clock.pass_seconds(3600)
    assert scene.pull() == []
    assert (scene.backlog, scene.kept) == (0, 0)


def test_unacknowledged_message_returns_after_its_deadline() -> None:
    """A message is leased until the ack deadline, and then delivered again."""
    scene = Scene()
    scene.publish("a")
    scene.pull()
    scene.clock.pass_seconds(9.9)
    assert scene.pull() == []
    scene.clock.pass_seconds(0.1)
    assert bodies(scene.pull()) == ["a"]


def test_prolonged_lease_counts_from_the_call() -> None:
    """ModifyAckDeadline sets the deadline anew, counted from the call: longer or shorter."""
    scene = Scene()
    scene.publish("long", "short")
    long, short = scene.pull()
    scene.broker.modify_ack_deadline(SUBSCRIPTION, [long.ack_id], 60)
    scene.broker.modify_ack_deadline(SUBSCRIPTION, [short.ack_id], 1)
    scene.clock.pass_seconds(1)
    assert bodies(scene.pull()) == ["short"]
    scene.clock.pass_seconds(58)
    assert bodies(scene.pull()) == ["short"]
    scene.clock.pass_seconds(1)
    assert bodies(scene.pull()) == ["long"]


def test_refused_message_returns_at_once() -> None:
    """A deadline of zero makes a message available to the next pull."""
    scene = Scene()
    scene.publish("a")
    scene.nack(scene.pull())
    assert bodies(scene.pull()) == ["a"]


def test_late_acknowledgement_counts_until_redelivery() -> None:
    """An acknowledgement after the deadline counts if the message was not delivered again."""
    scene = Scene()
    scene.publish("a")
    late = scene.pull()
    scene.clock.pass_seconds(11)
    scene.broker.advance()
    scene.acknowledge(late)
    assert scene.pull() == []
    assert scene.backlog == 0


@pytest.mark.parametrize("how", ["refused", "expired"])
def test_acknowledgement_of_an_earlier_delivery_changes_nothing(how: str) -> None:
    """Once a message was delivered again, the ids of earlier deliveries neither acknowledge nor nack it."""
    scene = Scene()
    scene.publish("a")
    stale = scene.pull()
    if how == "refused":
        scene.nack(stale)
    else:
        scene.clock.pass_seconds(11)
    current = scene.pull()
    scene.acknowledge(stale)
    scene.nack(stale)
    assert (scene.pull(), scene.backlog) == ([], 1)
    scene.acknowledge(current)
    assert scene.backlog == 0


def test_acknowledgement_of_what_one_refused_changes_nothing() -> None:
    """A nacked message can't be acknowledged with the same ack id: it is delivered again."""
    scene = Scene()
    scene.publish("a")
    refused = scene.pull()
    scene.nack(refused)
    scene.acknowledge(refused)
    assert bodies(scene.pull()) == ["a"]


def test_acknowledging_twice_is_harmless() -> None:
    """A second acknowledgement of a message is ignored."""
    scene = Scene(retain_acked=True)
    scene.publish("a", "b")
    first = scene.pull(1)
    scene.acknowledge(first)
    scene.acknowledge(first)
    assert scene.backlog == 1


def test_ack_id_of_another_subscription_changes_nothing() -> None:
    """An ack id acknowledges on its own subscription only."""
    scene = Scene()
    other = f"{PROJECT}/subscriptions/other"
    scene.broker.create_subscription(Subscription(name=other, topic=TOPIC))
    scene.publish("a")
    scene.pull()
    foreign = scene.broker.pull(other, 1)
    scene.acknowledge(foreign)
    assert scene.backlog == 1


@pytest.mark.parametrize("ack_id", ["", "a", "1:2", "1:x:1", "a:b:c:d"])
def test_malformed_ack_id_is_refused(ack_id: str) -> None:
    """A malformed ack id is INVALID_ARGUMENT."""
    scene = Scene()
    scene.publish("a")
    scene.pull()
    with pytest.raises(InvalidArgumentError, match="ack id"):
        scene.broker.acknowledge(SUBSCRIPTION, [ack_id])


def test_failures_rest_for_longer_and_longer() -> None:
    """Under a retry policy a message waits for the minimum backoff, doubled at each failure up to the maximum."""
    scene = Scene(backoff=(1, 5))
    scene.publish("a")
    for rest in (1, 2, 4, 5, 5):
        deliveries = scene.pull()
        assert bodies(deliveries) == ["a"]
        scene.nack(deliveries)
        scene.clock.pass_seconds(rest - 0.001)
        assert scene.pull() == []
        scene.clock.pass_seconds(0.001)


def test_flow_control_bounds_what_a_stream_holds() -> None:
    """A stream is sent messages until its limit, and more as soon as it acknowledges some, by whatever call."""
    scene = Scene()
    flow = FlowControl(max_messages=2)
    scene.publish("a", "b", "c", "d")

    def pull() -> list[str]:
        return bodies(scene.broker.pull(SUBSCRIPTION, 10, flow=flow))

    held = scene.broker.pull(SUBSCRIPTION, 10, flow=flow)
    assert bodies(held) == ["a", "b"]
    assert pull() == []
    scene.woken.clear()
    scene.acknowledge(held[:1])
    assert scene.woken, "whoever waits for room is told"
    assert pull() == ["c"]


def test_flow_control_in_bytes_is_overstepped_by_one_message_at_most() -> None:
    """A byte limit stops what comes after the message that reaches it."""
    scene = Scene()
    flow = FlowControl(max_bytes=1000)
    scene.publish("x" * 600, "y" * 600, "z")
    assert len(scene.broker.pull(SUBSCRIPTION, 10, flow=flow)) == 2


@pytest.mark.parametrize("how", ["acknowledged", "refused", "expired", "sought"])
def test_flow_control_forgets_what_a_stream_no_longer_holds(how: str) -> None:
    """However a lease ends, it no longer counts against its stream's limits."""
    scene = Scene()
    flow = FlowControl(max_messages=5, max_bytes=5000)
    scene.publish("a", "b")
    held = scene.broker.pull(SUBSCRIPTION, 10, flow=flow)
    assert flow.messages == 2
    if how == "acknowledged":
        scene.acknowledge(held)
    elif how == "refused":
        scene.nack(held)
    elif how == "expired":
        scene.clock.pass_seconds(11)
        scene.broker.advance()
    else:
        scene.broker.seek_to_time(SUBSCRIPTION, scene.clock() + NANOS)
    assert (flow.messages, flow.bytes) == (0, 0)


def test_response_stays_small() -> None:
    """A response is cut before a client would refuse it, and the rest comes next; one large message comes alone."""
    scene = Scene()
    scene.publish("x" * 1_500_000, "x" * 1_500_000, "x" * 1_500_000, "x" * 2_000_000)
    scene.publish("x" * 9_000_000)
    assert [len(scene.pull()) for _ in range(4)] == [2, 2, 1, 0]


def test_pull_of_no_messages_is_refused() -> None:
    """A pull asks for at least one message."""
    with pytest.raises(InvalidArgumentError, match="max_messages"):
        Scene().pull(0)


def test_clock_that_is_set_back_does_not_stop_the_broker() -> None:
    """Publish times never decrease, though the machine's clock may."""
    scene = Scene()
    scene.publish("a")
    scene.clock.pass_seconds(-3600)
    scene.publish("b")
    first, second = scene.pull()
    assert first.message.publish_time.ToNanoseconds() <= second.message.publish_time.ToNanoseconds()


def test_waiting_subscribers_are_told_of_what_arrives() -> None:
    """Publishing, a nack and the deletion of the subscription wake its subscribers."""
    scene = Scene()
    changes: tuple[Callable[[], object], ...] = (
        lambda: scene.publish("a"),
        lambda: scene.nack(scene.pull()),
        lambda: scene.broker.delete_subscription(SUBSCRIPTION),
    )
    for change in changes:
        scene.woken.clear()
        change()
        assert scene.woken == [SUBSCRIPTION]


@pytest.mark.parametrize("backoff", [None, (5, 5)])
def test_waiting_subscribers_are_told_when_time_brings_something(backoff: tuple[float, float] | None) -> None:
    """The end of a lease and the end of a backoff wake the subscribers without a call."""
    scene = Scene(backoff=backoff)
    scene.publish("a")
    scene.pull()
    scene.clock.pass_seconds(10)
    scene.broker.advance()
    if backoff:
        scene.woken.clear()
        scene.clock.pass_seconds(5)
        scene.broker.advance()
    assert SUBSCRIPTION in scene.woken
