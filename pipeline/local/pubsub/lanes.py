"""The messages of one ordering key: delivered in order, one outstanding batch at a time."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.local.pubsub.delivery import Entry


@dataclass(slots=True)
class Lane:
    """Messages of a key in publish order: those in flight, then those that wait.

    An acknowledgement takes effect once every earlier message of the batch is acknowledged: Pub/Sub redelivers a
    nacked message together with all later ones of its key, acknowledged or not.
    """

    in_flight: deque[Entry] = field(default_factory=deque)
    waiting: deque[Entry] = field(default_factory=deque)

    def is_empty(self) -> bool:
        """Whether no message of the key is left."""
        return not self.in_flight and not self.waiting

    def head(self) -> Entry | None:
        """Return the message to deliver next; None while a batch is in flight."""
        return self.waiting[0] if self.waiting and not self.in_flight else None

    def send(self) -> Entry | None:
        """Move the next message in flight, and return the one after it."""
        self.in_flight.append(self.waiting.popleft())
        return self.waiting[0] if self.waiting else None

    def settle(self) -> Iterator[Entry]:
        """Remove and yield the messages whose acknowledgement has taken effect."""
        while self.in_flight and self.in_flight[0].acknowledged:
            yield self.in_flight.popleft()

    def rewind(self, entry: Entry) -> list[Entry]:
        """Move a message and all later ones in flight back to waiting; return them in order."""
        back: deque[Entry] = deque()
        while not back or back[0] is not entry:
            back.appendleft(self.in_flight.pop())
        self.waiting.extendleft(reversed(back))
        return list(back)
