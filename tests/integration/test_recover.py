"""Recovery of a subscription: messages published since a time are delivered again, and no older one is lost."""

import datetime as dt
import time
from typing import Any

import pytest

from pipeline.dead_letters.recover import check_target, recover, render
from tests.integration.pubsub_targets import Target, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag:DeprecationWarning")

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)


def _taken(target: Target, subscription: str, count: int) -> set[str]:
    bodies: set[str] = set()

    def pull() -> bool:
        some = target.pull(subscription, at_once=True)
        if some:
            target.acknowledge(subscription, some)
        bodies.update(item.message.data.decode() for item in some)
        return len(bodies) >= count

    wait_until(pull)
    return bodies


def test_acknowledged_messages_come_again_and_unread_ones_are_kept(broker: Target) -> None:
    """A seek drops older messages, read or not; the snapshot taken before brings them back."""
    topic = broker.topic()
    subscription = broker.subscription(topic, retain_acked_messages=True)
    broker.publish(topic, "old")
    assert _taken(broker, subscription, 1) == {"old"}
    broker.publish(topic, "unread")
    time.sleep(0.2)
    since = dt.datetime.now(dt.UTC)
    time.sleep(0.2)
    broker.publish(topic, "read")
    received = broker.pull_some(subscription, 2)
    broker.acknowledge(subscription, [item for item in received if item.message.data == b"read"])
    broker.nack(subscription, [item for item in received if item.message.data == b"unread"])
    done = recover(project="demo-project", to=since, subscription=subscription)
    assert _taken(broker, subscription, 1) == {"read"}
    assert done.snapshot.rsplit("/", 1)[1] in render(done)
    undone = recover(project="demo-project", to_snapshot=done.snapshot.rsplit("/", 1)[1], subscription=subscription)
    assert _taken(broker, subscription, 1) == {"unread"}
    assert undone.document()["to"] is None


@pytest.mark.parametrize(
    ("to", "retains", "remedy"),
    [
        (NOW, True, "in the future"),
        (NOW - 2 * WEEK, True, "7 days"),
        (NOW - dt.timedelta(hours=1), False, "does not retain"),
    ],
)
def test_a_time_that_loses_messages_or_restores_none_is_refused(to: dt.datetime, retains: Any, remedy: str) -> None:
    """The time is refused before anything is changed."""
    with pytest.raises(ValueError, match=remedy):
        check_target(to, NOW, WEEK, retains=retains)


def test_a_recovery_needs_one_target() -> None:
    """Exactly one of the targets is accepted."""
    with pytest.raises(ValueError, match="either --to"):
        recover(project="demo-project")
