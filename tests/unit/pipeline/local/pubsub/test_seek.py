"""Retention, seek and snapshots: what is kept, for how long, and how a subscription goes back to it."""

import pytest

from pipeline.local.pubsub import snapshots
from pipeline.local.pubsub.delivery import NANOS
from pipeline.local.pubsub.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from pipeline.local.pubsub.wire import CreateSnapshotRequest, FieldMask, Subscription, Topic
from tests.unit.pipeline.local.pubsub.samples import (
    DEAD_LETTER_SUBSCRIPTION,
    PROJECT,
    SUBSCRIPTION,
    TOPIC,
    Scene,
    bodies,
)

SNAPSHOT = f"{PROJECT}/snapshots/before-release"


def snapshot(scene: Scene) -> None:
    """Take a snapshot of the subscription."""
    snapshots.create_snapshot(scene.broker, CreateSnapshotRequest(name=SNAPSHOT, subscription=SUBSCRIPTION))


def test_seek_replays_what_is_retained() -> None:
    """Where acknowledged messages are retained, a seek into the past delivers those published since, in order."""
    scene = Scene(retain_acked=True)
    scene.publish("a")
    scene.clock.pass_seconds(10)
    middle = scene.clock()
    scene.publish("b", "c")
    scene.acknowledge(scene.pull())
    assert scene.backlog == 0
    scene.broker.seek_to_time(SUBSCRIPTION, middle)
    assert scene.backlog == 2
    assert bodies(scene.pull()) == ["b", "c"]


def test_seek_restores_nothing_that_is_not_retained() -> None:
    """Without retention an acknowledged message is dropped."""
    scene = Scene()
    scene.publish("a", "b")
    scene.acknowledge(scene.pull(1))
    scene.broker.seek_to_time(SUBSCRIPTION, 0)
    assert bodies(scene.pull()) == ["b"]


def test_seek_forward_purges() -> None:
    """A seek into the future acknowledges all messages, and none that is published later."""
    scene = Scene()
    scene.publish("a", "b")
    scene.pull(1)
    scene.broker.seek_to_time(SUBSCRIPTION, scene.clock() + 3600 * NANOS)
    assert (scene.pull(), scene.backlog, scene.kept) == ([], 0, 0)
    scene.publish("c")
    assert bodies(scene.pull()) == ["c"]


def test_seek_ends_the_leases_there_are() -> None:
    """Leased messages are delivered again after a seek, and their old ack ids have no effect."""
    scene = Scene()
    scene.publish("a", "b")
    held = scene.pull()
    scene.broker.seek_to_time(SUBSCRIPTION, 0)
    assert bodies(scene.pull()) == ["a", "b"]
    scene.acknowledge(held)
    assert scene.backlog == 2


def test_seek_keeps_the_order_of_keys() -> None:
    """An ordered subscription replays each key in order, a batch at a time."""
    scene = Scene(ordered=True, retain_acked=True)
    scene.publish("a1", "a2", "a3", key="a")
    scene.acknowledge(scene.pull(2))
    scene.pull()
    scene.broker.seek_to_time(SUBSCRIPTION, 0)
    assert bodies(scene.pull(2)) == ["a1", "a2"]
    assert scene.pull() == []


def test_replayed_message_starts_with_its_first_attempt() -> None:
    """A seek resets the failures of messages."""
    scene = Scene(retain_acked=True, max_delivery_attempts=5)
    scene.publish("a")
    for _ in range(4):
        scene.nack(scene.pull())
    scene.broker.seek_to_time(SUBSCRIPTION, 0)
    assert scene.pull()[0].attempt == 1


def test_retention_bounds_memory_and_replay() -> None:
    """Messages older than the retention are dropped, acknowledged or not."""
    scene = Scene(retain_acked=True, retention_seconds=600)
    scene.publish("acknowledged", "ignored")
    scene.acknowledge(scene.pull(1))
    scene.clock.pass_seconds(600)
    scene.publish("young")
    scene.broker.advance()
    assert scene.kept == 3
    scene.clock.pass_seconds(1)
    scene.broker.advance()
    assert (scene.kept, scene.backlog) == (1, 1)
    scene.broker.seek_to_time(SUBSCRIPTION, 0)
    assert bodies(scene.pull()) == ["young"]


def test_retention_switched_off_frees_what_was_retained() -> None:
    """When a subscription stops retaining acknowledged messages, they are dropped at once."""
    scene = Scene(retain_acked=True)
    scene.publish("a", "b")
    scene.acknowledge(scene.pull(1))
    scene.broker.update_subscription(Subscription(name=SUBSCRIPTION), FieldMask(paths=["retain_acked_messages"]))
    assert (scene.kept, scene.backlog) == (1, 1)


def test_topic_retention_keeps_acknowledged_messages_for_its_subscriptions() -> None:
    """A topic's retention lets its subscriptions replay though they themselves retain nothing."""
    scene = Scene()
    update = Topic(name=TOPIC)
    update.message_retention_duration.seconds = 600
    scene.broker.update_topic(update, FieldMask(paths=["message_retention_duration"]))
    scene.publish("a")
    scene.acknowledge(scene.pull())
    scene.clock.pass_seconds(599)
    scene.broker.seek_to_time(SUBSCRIPTION, 0)
    assert bodies(scene.pull()) == ["a"]


def test_topic_retention_ends_replay_where_the_subscription_alone_keeps_on() -> None:
    """An acknowledged message older than the topic's retention isn't replayed, though unacknowledged ones last."""
    scene = Scene()
    update = Topic(name=TOPIC)
    update.message_retention_duration.seconds = 600
    scene.broker.update_topic(update, FieldMask(paths=["message_retention_duration"]))
    scene.publish("pending", "acknowledged")
    pending, acknowledged = scene.pull()
    scene.nack([pending])
    scene.acknowledge([acknowledged])
    scene.clock.pass_seconds(601)
    scene.broker.seek_to_time(SUBSCRIPTION, 0)
    assert bodies(scene.pull()) == ["pending"]


def test_snapshot_returns_to_its_backlog_and_to_all_that_came_later() -> None:
    """A seek to a snapshot delivers what was unacknowledged then and what was published since, in publish order."""
    scene = Scene()
    scene.publish("done", "open")
    scene.acknowledge(scene.pull(1))
    snapshot(scene)
    scene.publish("later")
    scene.acknowledge(scene.pull())
    assert scene.kept == 0
    snapshots.seek_to_snapshot(scene.broker, SUBSCRIPTION, SNAPSHOT)
    assert scene.backlog == 2
    assert bodies(scene.pull()) == ["open", "later"]


def test_snapshot_copies_a_backlog_to_another_subscription_of_the_topic() -> None:
    """A subscription made later takes over the backlog of a snapshot of its topic."""
    scene = Scene()
    scene.publish("a", "b")
    snapshot(scene)
    other = f"{PROJECT}/subscriptions/other"
    scene.broker.create_subscription(Subscription(name=other, topic=TOPIC))
    snapshots.seek_to_snapshot(scene.broker, other, SNAPSHOT)
    assert bodies(scene.broker.pull(other, 10)) == ["a", "b"]


def test_snapshot_of_another_topic_is_refused() -> None:
    """A subscription can't seek to a snapshot of another topic."""
    scene = Scene()
    snapshot(scene)
    with pytest.raises(FailedPreconditionError, match="topic"):
        snapshots.seek_to_snapshot(scene.broker, DEAD_LETTER_SUBSCRIPTION, SNAPSHOT)


def test_snapshot_name_is_taken_once() -> None:
    """A second snapshot of the same name is refused; a deleted one frees its name and is gone."""
    scene = Scene()
    snapshot(scene)
    with pytest.raises(AlreadyExistsError):
        snapshot(scene)
    snapshots.delete_snapshot(scene.broker, SNAPSHOT)
    with pytest.raises(NotFoundError):
        snapshots.find(scene.broker, SNAPSHOT)
    snapshot(scene)


def test_snapshot_lives_for_seven_days_less_the_age_of_its_backlog() -> None:
    """A snapshot expires seven days after the oldest message it keeps was published, and keeps nothing then."""
    scene = Scene()
    scene.publish("a")
    scene.clock.pass_seconds(86_400)
    snapshot(scene)
    scene.clock.pass_seconds(6 * 86_400 - 1)
    assert snapshots.find(scene.broker, SNAPSHOT).messages
    scene.clock.pass_seconds(1)
    with pytest.raises(NotFoundError):
        snapshots.find(scene.broker, SNAPSHOT)
    assert not scene.broker.topic(TOPIC).snapshots


def test_snapshot_that_would_not_last_an_hour_is_refused() -> None:
    """A backlog almost seven days old is refused for a snapshot."""
    scene = Scene(retention_seconds=8 * 86_400)
    scene.publish("a")
    scene.clock.pass_seconds(7 * 86_400 - 3599)
    with pytest.raises(FailedPreconditionError, match="hour"):
        snapshot(scene)
