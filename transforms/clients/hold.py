"""How long work may wait in its bundle for a service that does not answer."""

import time
from collections.abc import Callable


class Hold:
    """A time that runs from the first wait for a service; what shares a hold does not add its waits up.

    Used from any thread: the waits of a bundle are on one thread or on one event loop.

    Args:
        seconds: The time.
        clock: Seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._ends_at: float | None = None

    def begin(self) -> None:
        """Let the time run, unless it does."""
        if self._ends_at is None:
            self._ends_at = self._clock() + self.seconds

    @property
    def has_begun(self) -> bool:
        """Whether something waited."""
        return self._ends_at is not None

    @property
    def seconds_left(self) -> float:
        """The time that is left: all of it until something waits."""
        return self.seconds if self._ends_at is None else max(0.0, self._ends_at - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether nothing may wait any more."""
        return self.seconds_left <= 0
