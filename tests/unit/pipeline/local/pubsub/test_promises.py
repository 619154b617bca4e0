"""The broker's promises under any sequence of events: nothing lost, nothing held twice, keys in order."""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.local.pubsub.delivery import Delivery
from tests.fixtures.examples import examples
from tests.unit.pipeline.local.pubsub.samples import Scene

KEYS = ("", "account-1", "account-2")


class Subscribers(RuleBasedStateMachine):
    """Publishers and subscribers that act at random on an ordered subscription with backoff."""

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(ordered=True, backoff=(1, 4))
        self.published: dict[str, list[str]] = defaultdict(list)  # by key, in order
        self.held: dict[str, tuple[Delivery, int]] = {}  # by message id, with the deadline
        self.done: set[str] = set()

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 3))
    def publish(self, key: str, count: int) -> None:
        """Publish messages of one key, or of none."""
        self.published[key] += self.scene.publish(*["x"] * count, key=key)

    @rule(max_messages=st.integers(1, 4))
    def pull(self, max_messages: int) -> None:
        """Pull messages: none that is leased, and those of a key in order."""
        self._forget_expired()
        batch: set[str] = set()
        for delivery in self.scene.pull(max_messages):
            message_id, key = delivery.message.message_id, delivery.message.ordering_key
            assert message_id not in self.held, "nobody is handed what another holds"
            if key:
                earlier = self.published[key][: self.published[key].index(message_id)]
                assert all(one in self.done or one in batch for one in earlier), "a key's messages come in order"
            batch.add(message_id)
            self.done.discard(message_id)
            self.held[message_id] = (delivery, self.scene.clock() + 10_000_000_000)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Acknowledge any leased message."""
        self._forget_expired()
        if self.held:
            message_id = data.draw(st.sampled_from(sorted(self.held)))
            self.scene.acknowledge([self.held.pop(message_id)[0]])
            self.done.add(message_id)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def nack(self, data: st.DataObject) -> None:
        """Nack any leased message."""
        self._forget_expired()
        if self.held:
            message_id = data.draw(st.sampled_from(sorted(self.held)))
            self.scene.nack([self.held[message_id][0]])
            self._give_up(message_id)

    @rule(seconds=st.sampled_from([0.5, 3, 11]))
    def wait(self, seconds: float) -> None:
        """Let leases expire."""
        self.scene.clock.pass_seconds(seconds)
        self._forget_expired()
        self.scene.broker.advance()

    @invariant()
    def backlog_counts_what_is_not_done(self) -> None:
        """The backlog is all published messages without the acknowledged ones."""
        total = sum(len(ids) for ids in self.published.values())
        assert self.scene.backlog == total - len(self.done)

    def teardown(self) -> None:
        """Whatever happened before, a subscriber that acknowledges everything receives everything."""
        self.scene.clock.pass_seconds(20)
        for _ in range(200):
            deliveries = self.scene.pull()
            self.done |= {delivery.message.message_id for delivery in deliveries}
            self.scene.acknowledge(deliveries)
            self.scene.clock.pass_seconds(5)
        assert self.done == {message_id for ids in self.published.values() for message_id in ids}
        assert (self.scene.backlog, self.scene.kept) == (0, 0)

    def _forget_expired(self) -> None:
        # Leases end together in order of their deadline, and of the message within it.
        expired = [(deadline, int(one)) for one, (_, deadline) in self.held.items() if deadline <= self.scene.clock()]
        for _, message_id in sorted(expired):
            if str(message_id) in self.held:
                self._give_up(str(message_id))

    def _give_up(self, message_id: str) -> None:
        """A failure requeues the later messages of the batch, acknowledged or not."""
        delivery, _ = self.held.pop(message_id)
        key = delivery.message.ordering_key
        if key:
            for later in self.published[key][self.published[key].index(message_id) :]:
                self.held.pop(later, None)
                self.done.discard(later)


TestSubscribers = Subscribers.TestCase
TestSubscribers.settings = settings(examples(ordinary=40, slow=2_000), stateful_step_count=30)
