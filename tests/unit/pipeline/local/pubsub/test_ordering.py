"""Ordering keys: in order, one batch at a time, and a refusal takes the later messages with it."""

from tests.unit.pipeline.local.pubsub.samples import SUBSCRIPTION, Scene, bodies


def test_key_waits_for_its_batch() -> None:
    """While messages of a key are in flight, later ones of that key wait; other keys and keyless messages don't."""
    scene = Scene(ordered=True)
    scene.publish("a1", "a2", "a3", key="a")
    batch = scene.pull(2)
    scene.publish("b1", key="b")
    scene.publish("keyless")
    assert bodies(batch) == ["a1", "a2"]
    assert bodies(scene.pull()) == ["b1", "keyless"]
    scene.acknowledge(batch)
    assert bodies(scene.pull()) == ["a3"]


def test_batch_ends_with_its_last_acknowledgement() -> None:
    """A key goes on once every message of its batch is acknowledged, in whatever order."""
    scene = Scene(ordered=True)
    scene.publish("a1", "a2", "a3", key="a")
    first, second = scene.pull(2)
    scene.acknowledge([second])
    assert scene.pull() == []
    scene.acknowledge([first])
    assert bodies(scene.pull()) == ["a3"]


def test_refusal_takes_the_later_messages_of_the_key_along() -> None:
    """A nacked message is redelivered with all later ones of its key, including acknowledged ones."""
    scene = Scene(ordered=True)
    scene.publish("a1", "a2", "a3", "a4", key="a")
    first, second, third, fourth = scene.pull()
    scene.acknowledge([third])
    scene.nack([second])
    scene.acknowledge([fourth])
    assert scene.backlog == 4
    assert scene.pull() == [], "the first is still out"
    scene.acknowledge([first])
    assert bodies(scene.pull()) == ["a2", "a3", "a4"]


def test_expired_batch_returns_in_order() -> None:
    """A batch whose leases expire is redelivered in publish order."""
    scene = Scene(ordered=True)
    scene.publish("a1", "a2", "a3", key="a")
    scene.pull(2)
    scene.clock.pass_seconds(10)
    assert bodies(scene.pull()) == ["a1", "a2", "a3"]


def test_message_in_backoff_holds_its_key_back() -> None:
    """Under a retry policy later messages of a key wait during the backoff of a nacked one."""
    scene = Scene(ordered=True, backoff=(5, 5))
    scene.publish("a1", "a2", key="a")
    scene.publish("b1", key="b")
    first, _, _ = scene.pull()
    scene.nack([first])
    scene.publish("a3", key="a")
    assert scene.pull() == []
    scene.clock.pass_seconds(5)
    assert bodies(scene.pull()) == ["a1", "a2", "a3"]


def test_refused_message_rests_even_if_an_earlier_one_is_acknowledged_meanwhile() -> None:
    """The backoff of a message in the middle of a batch is kept when the messages before it are acknowledged."""
    scene = Scene(ordered=True, backoff=(5, 5))
    scene.publish("a1", "a2", key="a")
    first, second = scene.pull()
    scene.nack([second])
    scene.acknowledge([first])
    assert scene.pull() == []
    scene.clock.pass_seconds(5)
    assert bodies(scene.pull()) == ["a2"]


def test_dead_letter_frees_its_key() -> None:
    """When a message is forwarded to the dead-letter topic, the later ones of its key are delivered in order."""
    scene = Scene(ordered=True, max_delivery_attempts=5)
    scene.publish("poison", "a2", "a3", key="a")
    for _ in range(5):
        scene.nack(scene.pull(1))
    assert bodies(scene.pull()) == ["a2", "a3"]


def test_message_too_old_frees_its_key() -> None:
    """When a leased message falls out of retention, the later ones of its key are delivered."""
    scene = Scene(ordered=True, retention_seconds=600)
    scene.publish("old", key="a")
    scene.clock.pass_seconds(300)
    scene.publish("young", key="a")
    scene.clock.pass_seconds(295)
    assert bodies(scene.pull(1)) == ["old"]
    scene.clock.pass_seconds(6)
    assert bodies(scene.pull()) == ["young"]
    assert (scene.backlog, scene.kept) == (1, 1)


def test_subscription_without_ordering_ignores_keys() -> None:
    """Ordering keys have no effect where ordering is not enabled."""
    scene = Scene(ordered=False)
    scene.publish("a1", "a2", key="a")
    first = scene.pull(1)
    assert bodies(scene.pull()) == ["a2"]
    scene.nack(first)
    assert bodies(scene.pull()) == ["a1"]


def test_finished_keys_leave_memory() -> None:
    """The state of a key is dropped once its messages are acknowledged."""
    scene = Scene(ordered=True)
    for key in range(100):
        scene.publish("x", "y", key=f"account-{key}")
    scene.acknowledge(scene.pull())
    backlog = scene.broker.subscription(SUBSCRIPTION).backlog
    assert (scene.kept, len(backlog._lanes)) == (0, 0)
