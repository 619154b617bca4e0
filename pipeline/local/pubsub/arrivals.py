"""Subscribers that wait for something to arrive: asyncio, on the loop's own thread."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Arrivals:
    """Tells those who wait on a subscription that another look is worth it."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing will arrive any more."""
        return self._is_closed

    def wake(self, subscription: str) -> None:
        """Wake everybody who waits on a subscription."""
        for event in self._waiting.get(subscription, ()):
            event.set()

    @contextmanager
    def watch(self, subscription: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each arrival; whoever waits on it clears it before looking."""
        event = asyncio.Event()
        self._waiting[subscription].add(event)
        try:
            yield event
        finally:
            self._waiting[subscription].discard(event)
            if not self._waiting[subscription]:
                del self._waiting[subscription]

    def close(self) -> None:
        """Wake everybody, for good: the broker stops."""
        self._is_closed = True
        for subscription in list(self._waiting):
            self.wake(subscription)
