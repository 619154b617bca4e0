"""One subscription's messages: who holds which until when, what waits, what is kept, what is given up.

Pure and synchronous: time is an argument, in nanoseconds. Queues hold sequence numbers that may be out of date; a
number is checked against its entry when it is drawn, which spares searching the queues.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.local.pubsub.delivery import NANOS, Delivery, DeliverySettings, Entry, FlowControl, Published
from pipeline.local.pubsub.errors import InvalidArgumentError
from pipeline.local.pubsub.lanes import Lane

MAX_RESPONSE_BYTES = 4_000_000
"""gRPC clients refuse more than 4 MiB unless told otherwise, and Google's is not told with an emulator host."""

Forward = Callable[[Published, int], bool]
"""Hands an exhausted message and its delivery count to the dead-letter topic; False if there is none to take it."""


@dataclass(slots=True)
class Backlog:
    """The messages of one subscription. `wake` is called whenever a waiting subscriber may find something."""

    tag: str  # tells this subscription's ack ids from another's
    settings: DeliverySettings
    forward: Forward
    wake: Callable[[], None]
    unacknowledged: int = 0
    _entries: OrderedDict[int, Entry] = field(default_factory=OrderedDict)
    _ready: list[int] = field(default_factory=list)
    _resting: list[tuple[int, int]] = field(default_factory=list)
    _leases: list[tuple[int, int]] = field(default_factory=list)
    _lanes: dict[str, Lane] = field(default_factory=dict)

    def add(self, published: Published) -> None:
        """Take a message that was published just now."""
        entry = Entry(published)
        self._entries[entry.sequence] = entry
        self.unacknowledged += 1
        self._queue(entry)

    def apply(self, settings: DeliverySettings) -> None:
        """Deliver by other rules from now on. Acknowledged messages go at once if none are to be kept any more."""
        self.settings = settings
        if not settings.acknowledged_window:
            unsettled = {entry.sequence for lane in self._lanes.values() for entry in lane.in_flight}
            for entry in [e for e in self._entries.values() if e.acknowledged and e.sequence not in unsettled]:
                del self._entries[entry.sequence]

    def take(self, now: int, max_messages: int, lease: int, flow: FlowControl | None = None) -> list[Delivery]:
        """Lease what is ready, oldest first, at most one batch of each ordering key."""
        self.advance(now)
        taken: list[Delivery] = []
        keys_of_batch: set[str] = set()
        size = 0
        while self._ready and len(taken) < max_messages and (not flow or flow.has_room()):
            entry = self._entries.get(self._ready[0])
            if entry and taken and size + entry.published.size > MAX_RESPONSE_BYTES:
                break
            heapq.heappop(self._ready)
            if entry and self._may_go(entry, now, keys_of_batch):
                taken.append(self._lease(entry, now + lease, flow))
                size += entry.published.size
        return taken

    def acknowledge(self, ack_id: str) -> None:
        """Acknowledge a delivery. An id that is out of date changes nothing."""
        entry = self._find(ack_id)
        if entry:
            self._acknowledge(entry)

    def modify_ack_deadline(self, ack_id: str, seconds: int, now: int) -> None:
        """Prolong a lease from now on; zero seconds refuse the message. An id that is out of date changes nothing."""
        entry = self._find(ack_id)
        if not entry or not entry.deadline:
            return
        if seconds:
            entry.deadline = now + seconds * NANOS
            heapq.heappush(self._leases, (entry.deadline, entry.sequence))
        else:
            entry.delivery += 1  # whoever refused a message can't acknowledge it any more
            self._fail(entry, now)

    def advance(self, now: int) -> None:
        """Let time pass: leases run out, rested messages become ready, old ones fall out of retention."""
        while self._leases and self._leases[0][0] <= now:
            entry = self._entries.get(heapq.heappop(self._leases)[1])
            if entry and 0 < entry.deadline <= now:  # else it was prolonged or given back, and this lease is old
                self._fail(entry, now)
        while self._resting and self._resting[0][0] <= now:
            heapq.heappush(self._ready, heapq.heappop(self._resting)[1])
            self.wake()
        while self._entries and not self._is_kept(oldest := next(iter(self._entries.values())), now):
            self._discard(oldest)

    def seek(self, time: int, now: int) -> None:
        """Acknowledge what was published before a time, and un-acknowledge the rest of what is retained."""
        self.advance(now)
        for entry in self._entries.values():
            entry.acknowledged = entry.published.published_at < time or not self._is_kept(entry, now)
        self._start_over()

    def restore(self, snapshot: Iterable[Published], now: int) -> None:
        """Un-acknowledge exactly the messages of a snapshot, those included that this subscription let go."""
        self.advance(now)
        wanted = {published.sequence: published for published in snapshot}
        for sequence, published in wanted.items():
            self._entries.setdefault(sequence, Entry(published))
        for sequence, entry in self._entries.items():
            entry.acknowledged = sequence not in wanted
        self._start_over()

    def pending(self) -> list[Published]:
        """The unacknowledged messages in publish order: what a snapshot is made of."""
        return [entry.published for entry in self._entries.values() if not entry.acknowledged]

    def _may_go(self, entry: Entry, now: int, keys_of_batch: set[str]) -> bool:
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
            self._forget(entry)
            return
        for settled in lane.settle():
            self._forget(settled)
        self._go_on(lane, entry)

    def _fail(self, entry: Entry, now: int) -> None:
        """A lease was refused or ran out: the message rests and comes again, or goes to the dead-letter topic."""
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

    def _forget(self, entry: Entry) -> None:
        if not self.settings.acknowledged_window:
            self._entries.pop(entry.sequence, None)

    def _discard(self, entry: Entry) -> None:
        """Let a message go for good: it is too old, or the dead-letter topic has it."""
        self._release(entry)
        self.unacknowledged -= not entry.acknowledged
        entry.acknowledged = True
        lane = self._lane(entry)
        if lane:
            for settled in lane.settle():
                self._forget(settled)
            if lane.waiting and lane.waiting[0] is entry:
                lane.waiting.popleft()
            self._go_on(lane, entry)
        self._entries.pop(entry.sequence, None)

    def _is_kept(self, entry: Entry, now: int) -> bool:
        window = self.settings.acknowledged_window if entry.acknowledged else self.settings.unacknowledged_window
        return now - entry.published.published_at <= window

    def _lane(self, entry: Entry) -> Lane | None:
        return self._lanes.get(entry.published.message.ordering_key) if self.settings.ordered else None

    def _go_on(self, lane: Lane, entry: Entry) -> None:
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
            heapq.heappush(self._resting, (entry.not_before, entry.sequence))
        else:
            heapq.heappush(self._ready, entry.sequence)
            self.wake()

    def _start_over(self) -> None:
        """Queue afresh what is unacknowledged: nobody holds anything, and no earlier delivery counts."""
        for queue in (self._ready, self._resting, self._leases, self._lanes):
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
