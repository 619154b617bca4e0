"""The messages of one subscription: leases, queues, retention and dead-lettering.

Pure and synchronous: time is an argument, in nanoseconds. The queues may hold outdated sequence numbers; each is
checked against its entry when it is taken, so that queues are never searched.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.local.pubsub.delivery import NANOS, Delivery, DeliverySettings, Entry, FlowControl, Published
from pipeline.local.pubsub.errors import InvalidArgumentError
from pipeline.local.pubsub.lanes import Lane

MAX_RESPONSE_BYTES = 4_000_000
"""gRPC clients accept 4 MiB by default; Google's client does not raise that limit for an emulator."""

Forward = Callable[[Published, int], bool]
"""Publish a message with its delivery count to the dead-letter topic; False if the topic does not exist."""


@dataclass(slots=True)
class Backlog:
    """The messages of one subscription. `wake` is called when a waiting subscriber may find a message."""

    tag: str  # part of the ack ids, unique per subscription
    settings: DeliverySettings
    forward: Forward
    wake: Callable[[], None]
    unacknowledged: int = 0
    _entries: OrderedDict[int, Entry] = field(default_factory=OrderedDict)
    _ready: list[int] = field(default_factory=list)
    _backing_off: list[tuple[int, int]] = field(default_factory=list)
    _leases: list[tuple[int, int]] = field(default_factory=list)
    _lanes: dict[str, Lane] = field(default_factory=dict)

    def add(self, published: Published) -> None:
        """Add a newly published message."""
        entry = Entry(published)
        self._entries[entry.sequence] = entry
        self.unacknowledged += 1
        self._queue(entry)

    def apply(self, settings: DeliverySettings) -> None:
        """Apply new settings. Acknowledged messages are dropped at once if they are no longer retained."""
        self.settings = settings
        if not settings.acknowledged_window:
            in_flight = {entry.sequence for lane in self._lanes.values() for entry in lane.in_flight}
            for entry in [e for e in self._entries.values() if e.acknowledged and e.sequence not in in_flight]:
                del self._entries[entry.sequence]

    def take(self, now: int, max_messages: int, lease: int, flow: FlowControl | None = None) -> list[Delivery]:
        """Lease ready messages, oldest first, at most one batch of each ordering key."""
        self.advance(now)
        taken: list[Delivery] = []
        keys_of_batch: set[str] = set()
        size = 0
        while self._ready and len(taken) < max_messages and (not flow or flow.has_room()):
            entry = self._entries.get(self._ready[0])
            if entry and taken and size + entry.published.size > MAX_RESPONSE_BYTES:
                break
            heapq.heappop(self._ready)
            if entry and self._is_deliverable(entry, now, keys_of_batch):
                taken.append(self._lease(entry, now + lease, flow))
                size += entry.published.size
        return taken

    def acknowledge(self, ack_id: str) -> None:
        """Acknowledge a delivery. An outdated id has no effect."""
        entry = self._find(ack_id)
        if entry:
            self._acknowledge(entry)

    def modify_ack_deadline(self, ack_id: str, seconds: int, now: int) -> None:
        """Extend a lease to `seconds` from now; zero is a nack. An outdated id has no effect."""
        entry = self._find(ack_id)
        if not entry or not entry.deadline:
            return
        if seconds:
            entry.deadline = now + seconds * NANOS
            heapq.heappush(self._leases, (entry.deadline, entry.sequence))
        else:
            entry.delivery += 1  # a nack invalidates the ack id
            self._fail(entry, now)

    def advance(self, now: int) -> None:
        """Apply the passing of time: leases expire, backoffs end, old messages fall out of retention."""
        while self._leases and self._leases[0][0] <= now:
            entry = self._entries.get(heapq.heappop(self._leases)[1])
            if entry and 0 < entry.deadline <= now:  # otherwise it was extended or nacked
                self._fail(entry, now)
        while self._backing_off and self._backing_off[0][0] <= now:
            heapq.heappush(self._ready, heapq.heappop(self._backing_off)[1])
            self.wake()
        while self._entries and not self._is_kept(oldest := next(iter(self._entries.values())), now):
            self._discard(oldest)

    def seek(self, time: int, now: int) -> None:
        """Acknowledge messages published before a time, and mark later retained ones as unacknowledged."""
        self.advance(now)
        for entry in self._entries.values():
            entry.acknowledged = entry.published.published_at < time or not self._is_kept(entry, now)
        self._requeue_all()

    def restore(self, snapshot: Iterable[Published], now: int) -> None:
        """Mark exactly the messages of a snapshot as unacknowledged, including those that were dropped."""
        self.advance(now)
        by_sequence = {published.sequence: published for published in snapshot}
        for sequence, published in by_sequence.items():
            self._entries.setdefault(sequence, Entry(published))
        for sequence, entry in self._entries.items():
            entry.acknowledged = sequence not in by_sequence
        self._requeue_all()

    def pending(self) -> list[Published]:
        """Return the unacknowledged messages in publish order, for a snapshot."""
        return [entry.published for entry in self._entries.values() if not entry.acknowledged]

    def _is_deliverable(self, entry: Entry, now: int, keys_of_batch: set[str]) -> bool:
        if entry.acknowledged or entry.deadline or entry.not_before > now:
            return False
        lane = self._lane(entry)
        if lane is None:
            return True
        key = entry.published.message.ordering_key
        if not lane.waiting or lane.waiting[0] is not entry or (lane.in_flight and key not in keys_of_batch):
            return False
        keys_of_batch.add(key)
        behind = lane.send()
        if behind:
            self._offer(behind)
        return True

    def _lease(self, entry: Entry, deadline: int, flow: FlowControl | None) -> Delivery:
        entry.delivery += 1
        entry.deadline = deadline
        entry.flow = flow
        if flow:
            flow.hold(entry.published.size)
        heapq.heappush(self._leases, (deadline, entry.sequence))
        ack_id = f"{self.tag}:{entry.sequence}:{entry.delivery}"
        attempt = entry.failures + 1 if self.settings.dead_letter_topic else 0
        return Delivery(ack_id, entry.published.message, attempt)

    def _find(self, ack_id: str) -> Entry | None:
        try:
            tag, sequence, delivery = ack_id.split(":")
            entry = self._entries.get(int(sequence)) if tag == self.tag else None
            is_current = entry is not None and entry.delivery == int(delivery)
        except ValueError:
            raise InvalidArgumentError(f"Invalid ack id (ack_id={ack_id})") from None
        return entry if entry and is_current and not entry.acknowledged else None

    def _acknowledge(self, entry: Entry) -> None:
        self._release(entry)
        entry.acknowledged = True
        self.unacknowledged -= 1
        lane = self._lane(entry)
        if lane is None:
            self._drop_unless_retained(entry)
            return
        for settled in lane.settle():
            self._drop_unless_retained(settled)
        self._offer_next(lane, entry)

    def _fail(self, entry: Entry, now: int) -> None:
        """Handle a nack or an expired lease: redeliver after the backoff, or forward to the dead-letter topic."""
        self._release(entry)
        entry.failures += 1
        backoff = self.settings.backoff(entry.failures)
        entry.not_before = now + backoff if backoff else 0
        lane = self._lane(entry)
        for later in lane.rewind(entry) if lane else ():
            self._release(later)
            later.delivery += 1
            self.unacknowledged += later.acknowledged
            later.acknowledged = False
        if self.settings.is_exhausted(entry.failures) and self.forward(entry.published, entry.failures):
            self._discard(entry)
        elif lane is None:
            self._offer(entry)
        elif head := lane.head():
            self._offer(head)

    def _release(self, entry: Entry) -> None:
        entry.deadline = 0
        if entry.flow:
            entry.flow.release(entry.published.size)
            entry.flow = None
            self.wake()

    def _drop_unless_retained(self, entry: Entry) -> None:
        if not self.settings.acknowledged_window:
            self._entries.pop(entry.sequence, None)

    def _discard(self, entry: Entry) -> None:
        """Drop a message that is too old or was forwarded to the dead-letter topic."""
        self._release(entry)
        self.unacknowledged -= not entry.acknowledged
        entry.acknowledged = True
        lane = self._lane(entry)
        if lane:
            for settled in lane.settle():
                self._drop_unless_retained(settled)
            if lane.waiting and lane.waiting[0] is entry:
                lane.waiting.popleft()
            self._offer_next(lane, entry)
        self._entries.pop(entry.sequence, None)

    def _is_kept(self, entry: Entry, now: int) -> bool:
        window = self.settings.acknowledged_window if entry.acknowledged else self.settings.unacknowledged_window
        return now - entry.published.published_at <= window

    def _lane(self, entry: Entry) -> Lane | None:
        return self._lanes.get(entry.published.message.ordering_key) if self.settings.ordered else None

    def _offer_next(self, lane: Lane, entry: Entry) -> None:
        head = lane.head()
        if head:
            self._offer(head)
        elif lane.is_empty():
            self._lanes.pop(entry.published.message.ordering_key, None)

    def _queue(self, entry: Entry) -> None:
        key = entry.published.message.ordering_key if self.settings.ordered else ""
        if not key:
            self._offer(entry)
            return
        lane = self._lanes.setdefault(key, Lane())
        lane.waiting.append(entry)
        if lane.head() is entry:
            self._offer(entry)

    def _offer(self, entry: Entry) -> None:
        if entry.not_before:
            heapq.heappush(self._backing_off, (entry.not_before, entry.sequence))
        else:
            heapq.heappush(self._ready, entry.sequence)
            self.wake()

    def _requeue_all(self) -> None:
        """Queue all unacknowledged messages again, without leases and with zero failed deliveries."""
        for queue in (self._ready, self._backing_off, self._leases, self._lanes):
            queue.clear()
        entries = sorted(self._entries.values(), key=lambda entry: entry.sequence)
        self._entries.clear()
        self.unacknowledged = 0
        for entry in entries:
            self._release(entry)
            entry.delivery += 1
            entry.failures = entry.not_before = 0
            if not entry.acknowledged or self.settings.acknowledged_window:
                self._entries[entry.sequence] = entry
            if not entry.acknowledged:
                self.unacknowledged += 1
                self._queue(entry)
