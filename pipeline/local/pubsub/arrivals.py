"""Wake subscribers when messages arrive. Only used on the broker's event loop."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Arrivals:
    """The subscribers that wait for messages, by subscription."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the broker is stopping."""
        return self._is_closed

    def wake(self, subscription: str) -> None:
        """Wake all that wait on a subscription."""
        for event in self._waiting.get(subscription, ()):
            event.set()

    @contextmanager
    def watch(self, subscription: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each arrival. Clear it before pulling, or an arrival is missed."""
        event = asyncio.Event()
        self._waiting[subscription].add(event)
        try:
            yield event
        finally:
            self._waiting[subscription].discard(event)
            if not self._waiting[subscription]:
                del self._waiting[subscription]

    def close(self) -> None:
        """Wake all subscribers, because the broker stops."""
        self._is_closed = True
        for subscription in list(self._waiting):
            self.wake(subscription)
