"""How many requests each principal may make a minute."""

import math
import time
from dataclasses import dataclass
from enum import StrEnum

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from pipeline.api.problems import Kind, Problem


class Use(StrEnum):
    """What a request does."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class RateLimits:
    """Requests a minute of each principal."""

    reads: int = 1_200
    writes: int = 120


class RateLimiter:
    """Counts requests in this process: of several instances, each has its own count."""

    def __init__(self, limits: RateLimits) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._items = {Use.READ: RateLimitItemPerMinute(limits.reads), Use.WRITE: RateLimitItemPerMinute(limits.writes)}

    def count(self, principal: str, use: Use) -> None:
        """Count a request.

        Raises:
            Problem: The principal has made too many in this minute.
        """
        item = self._items[use]
        if self._limiter.hit(item, principal, use):
            return
        reset = self._limiter.get_window_stats(item, principal, use).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        raise Problem(
            Kind.TOO_MANY,
            f"at most {item.amount:,} {use} requests a minute",
            headers={"Retry-After": str(seconds)},
        )
