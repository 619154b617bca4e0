"""A rate that is kept: tokens come in at it, and each letter takes one out."""

import time
from collections.abc import Callable


class TokenBucket:
    """Not more than `rate` a second over any time, plus `burst` at once; for one thread.

    Args:
        rate: Tokens a second.
        burst: Tokens that can be saved up.
        clock: Seconds, monotonic.
    """

    def __init__(self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError("a rate and a burst above 0 are wanted")
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = 0.0, clock()

    def seconds_until(self, wanted: int) -> float:
        """Return how long it takes until so many tokens are in; 0 if they are."""
        return max(0.0, (min(wanted, self._burst) - self._level()) / self._rate)

    def take(self, count: int) -> None:
        """Take tokens out; a debt delays whoever comes next."""
        self._tokens = self._level() - count

    def _level(self) -> float:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens
