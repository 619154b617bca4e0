"""Seconds in which a thread got no further because Gemini was not to be called, or not as often as it wanted."""

import contextlib
import time
from collections.abc import Callable, Iterator


class ThrottledTime:
    """The seconds in which at least one of a batch's calls was held back.

    Many calls of a batch wait at once, while one thread waits for them all: seconds are the thread's, so those in which
    waits overlap count once. Used from one event loop.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting = 0
        self._since = 0.0
        self._ended_seconds = 0.0

    @property
    def seconds(self) -> float:
        """All of it until now."""
        return self._ended_seconds + (self._clock() - self._since if self._waiting else 0.0)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time within, as that of a call that is held back."""
        if not self._waiting:
            self._since = self._clock()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._ended_seconds += self._clock() - self._since
