"""Recovery of a subscription: messages published since a time are delivered again, and no older one is lost."""

import datetime as dt
import io
import re
import time
from typing import Any

import pytest
from rich.console import Console, RenderableType

from pipeline.dead_letters.recover import check_recovery, check_target, recover, render
from tests.integration.pubsub_targets import Target, wait_until
from transforms.clients.pubsub import PubSubUnavailable

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


def _with_unread(broker: Target) -> tuple[str, dt.datetime]:
    """Return a subscription with one message before a time that is unread, and one after it that was acknowledged."""
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
    return subscription, since


def test_acknowledged_messages_come_again_and_unread_ones_are_kept(broker: Target) -> None:
    """A seek drops older messages, read or not; the snapshot taken before brings them back."""
    subscription, since = _with_unread(broker)
    done = recover(project="demo-project", to=since, subscription=subscription, drop_unread=True)
    assert _taken(broker, subscription, 1) == {"read"}
    name = done.snapshot.rsplit("/", 1)[1]
    assert f"  rescore recover --to-snapshot {name} --project=demo-project" in _shown(render(done)).splitlines()
    undone = recover(project="demo-project", to_snapshot=name, subscription=subscription)
    assert _taken(broker, subscription, 1) == {"unread"}
    document = undone.document()
    assert (document["to"], document["to_snapshot"], document["executed"]) == (None, done.snapshot, True)


def test_a_seek_that_would_drop_unread_messages_is_refused(broker: Target) -> None:
    """Nothing is done, and the message names a time at which nothing is dropped; there both messages come again."""
    subscription, since = _with_unread(broker)
    with pytest.raises(ValueError, match="would drop unread messages") as refused:
        recover(project="demo-project", to=since, subscription=subscription)
    snapshots = broker.subscriber.list_snapshots(project="projects/demo-project")
    assert not [it.name for it in snapshots if subscription.rsplit("/", 1)[1] in it.name]
    assert _taken(broker, subscription, 1) == {"unread"}
    (named,) = re.findall(r"Write --to (\S+),", str(refused.value))
    recover(project="demo-project", to=dt.datetime.fromisoformat(named), subscription=subscription)
    again: set[str] = set()
    while not {"unread", "read"} <= again:
        again |= _taken(broker, subscription, 1)


def test_a_snapshot_that_is_not_there_is_refused(broker: Target) -> None:
    """Before a snapshot is taken."""
    subscription = broker.subscription(broker.topic(), retain_acked_messages=True)
    with pytest.raises(
        PubSubUnavailable, match="projects/demo-project/snapshots/gone: it does not exist: snapshots exp"
    ):
        check_recovery(project="demo-project", to_snapshot="gone", subscription=subscription)


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


def _shown(report: RenderableType) -> str:
    screen = io.StringIO()
    Console(width=80, file=screen).print(report, crop=False)
    return screen.getvalue()
