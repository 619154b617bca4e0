from collections.abc import Callable

from tests.integration.pubsub_targets import Target, bodies, wait_until


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


def test_nacked_batch_returns_in_order(target: Target) -> None:
    """A nacked batch of a key is redelivered in order."""
    topic = target.topic()
    subscription = target.subscription(topic, enable_message_ordering=True)
    target.publish(topic, *"abc", key="account-1")
    received = target.pull_some(subscription, 3)
    target.nack(subscription, received)
    assert bodies(target.pull_some(subscription, 3)) == ["a", "b", "c"]


def test_key_waits_for_its_batch_while_others_go_on(target: Target) -> None:
    """While messages of a key are leased, its later ones wait, and those of other keys don't."""
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


def test_nack_redelivers_later_messages_of_the_key(target: Target, google_deviates: Callable[[str], None]) -> None:
    """A nacked message is redelivered together with all later ones of its key."""
    google_deviates("redelivers the refused message alone, after the later ones")
    topic = target.topic()
    subscription = target.subscription(topic, enable_message_ordering=True)
    target.publish(topic, *"abcd", key="account-1")
    received = target.pull_some(subscription, 4)
    target.nack(subscription, received[1:2])
    target.acknowledge(subscription, received[:1])
    target.acknowledge(subscription, received[2:])
    assert bodies(target.pull_some(subscription, 1)) == ["b", "c", "d"]
