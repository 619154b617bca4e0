import datetime as dt
from collections.abc import Callable

import pytest
from google.api_core import exceptions

from tests.integration.pubsub_targets import PROJECT, Target, bodies, wait_until

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


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
    """An acknowledged message that is not retained is lost; a leased one is delivered again."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "done", "open")
    received = target.pull_some(subscription, 2)
    target.acknowledge(subscription, [one for one in received if one.message.data == b"done"])
    target.subscriber.seek(request={"subscription": subscription, "time": LONG_AGO})
    assert bodies(target.pull_some(subscription, 1)) == ["open"]
    assert target.pull(subscription, at_once=True) == []


def test_seek_into_the_future_purges(target: Target) -> None:
    """A seek into the future acknowledges all messages, and none published later."""
    topic = target.topic()
    subscription = target.subscription(topic)
    target.publish(topic, "a", "b")
    future = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    target.subscriber.seek(request={"subscription": subscription, "time": future})
    target.publish(topic, "c")
    assert bodies(target.pull_some(subscription, 1)) == ["c"]


def test_seek_without_a_target_is_refused(target: Target) -> None:
    """A seek needs a time or a snapshot."""
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
    """A subscription can't seek to a snapshot of another topic."""
    snapshot = target.name_of("snapshots")
    subscription, other = target.subscription(target.topic()), target.subscription(target.topic())
    target.subscriber.create_snapshot(request={"name": snapshot, "subscription": subscription})
    with pytest.raises(exceptions.FailedPrecondition):
        target.subscriber.seek(request={"subscription": other, "snapshot": snapshot})
