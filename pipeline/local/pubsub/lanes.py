"""The messages of one ordering key: in order, and one outstanding batch at a time."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.local.pubsub.delivery import Entry


@dataclass(slots=True)
class Lane:
    """Messages of a key in publish order: first those in flight, then those that wait.

    An acknowledgement counts only once every earlier message of the batch is acknowledged: Pub/Sub redelivers a
    refused message together with all later ones of its key, acknowledged or not.
    """

    in_flight: deque[Entry] = field(default_factory=deque)
    waiting: deque[Entry] = field(default_factory=deque)

    def is_empty(self) -> bool:
        """Whether the key can be forgotten."""
        return not self.in_flight and not self.waiting

    def head(self) -> Entry | None:
        """The message that may be delivered next: none while a batch is in flight."""
        return self.waiting[0] if self.waiting and not self.in_flight else None

    def send(self) -> Entry | None:
        """Move the next message in flight, and return the one behind it."""
        self.in_flight.append(self.waiting.popleft())
        return self.waiting[0] if self.waiting else None

    def settle(self) -> Iterator[Entry]:
        """Take out the messages whose acknowledgement counts by now."""
        while self.in_flight and self.in_flight[0].acknowledged:
            yield self.in_flight.popleft()

    def rewind(self, entry: Entry) -> list[Entry]:
        """Put a message and all later ones in flight back to wait; return them in order."""
        back: deque[Entry] = deque()
        while not back or back[0] is not entry:
            back.appendleft(self.in_flight.pop())
        self.waiting.extendleft(reversed(back))
        return list(back)
