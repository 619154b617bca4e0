"""How many calls to Gemini are in flight: more while answers come, fewer on 429, until the limit meets the quota.

The quota is shared and changes, and no API tells it. `AdaptiveLimit` computes the limit, without a clock or waiting;
`ConcurrencyLimiter` delays calls by it; `ThrottledTime` adds up the seconds for which a batch is delayed.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

BACK_OFF: Final = 0.97
"""Factor by which the limit falls on the first 429 after calls were made by the present limit."""

SLOWEST_GROWTH: Final = 0.025
FASTEST_GROWTH: Final = 0.5
"""Growth of the limit in a round, as a fraction: near a known quota, and far from it. It doubles before any 429."""

INITIAL_LIMIT: Final = 32.0


@dataclass
class AdaptiveLimit:
    """A limit between 1 and `ceiling`.

    It grows by `_step` within a round: the time in which as many answers come as it allows calls. After each round the
    step doubles. A 429 is an event: the step returns to one call or less, and the limit falls by the factor BACK_OFF.
    Further 429s of calls made before the event belong to the same event; the calls still in flight are those that the
    server accepted, and the limit falls to their number. So the limit falls to a new quota at once, rises by one, two,
    four calls near a known one, and finds a much higher one within some eight rounds.
    """

    ceiling: int
    value: float = INITIAL_LIMIT
    event: int = 0
    """Number of the last event; each call remembers the number at its start."""
    _step: float = field(default=INITIAL_LIMIT, init=False)
    _answers_in_round: int = field(default=0, init=False)
    _highest_value: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.value = min(self.value, float(self.ceiling))

    @property
    def is_lowered(self) -> bool:
        """Whether it is lower than before a 429, so that waiting calls wait for Gemini's quota."""
        return self.value < min(self._highest_value, self.ceiling)

    @property
    def is_at_floor(self) -> bool:
        """Whether it allows a single call."""
        return self.value < 2  # noqa: PLR2004 - fewer than two calls

    def answered(self, in_flight: int) -> None:
        """Count an answer; `in_flight` calls, this one included, were under way when it came."""
        if in_flight + 1 < self.value:
            return  # the limit was not reached, so the answer says nothing about a higher one
        self.value = min(self.value + self._step / self.value, float(self.ceiling))
        self._answers_in_round += 1
        if self._answers_in_round >= self.value:
            self._answers_in_round = 0
            self._step = min(self._step * 2, self.value * (FASTEST_GROWTH if self.event else 1.0))

    def refused(self, event: int, in_flight: int) -> None:
        """Count a 429.

        Args:
            event: Number of the last event when the call was made.
            in_flight: Calls still under way, without this one.
        """
        if event == self.event:
            self.event += 1
            self._highest_value = max(self._highest_value, self.value)
            self.value *= BACK_OFF
            self._step, self._answers_in_round = min(1.0, self.value * SLOWEST_GROWTH), 0
        self.value = max(1.0, min(self.value, float(in_flight)))


class ThrottledTime:
    """The seconds for which at least one call of a batch was delayed.

    A batch's calls wait at the same time, while one thread waits for the batch: overlapping waits count once. Used from
    one event loop.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting = 0
        self._since = 0.0
        self._ended_seconds = 0.0

    @property
    def seconds(self) -> float:
        """The total until now."""
        return self._ended_seconds + (self._clock() - self._since if self._waiting else 0.0)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time of the block as a delay."""
        if not self._waiting:
            self._since = self._clock()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._ended_seconds += self._clock() - self._since


class ConcurrencyLimiter:
    """Lets as many calls run as the limit allows, first come, first served. Used from one event loop."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self, throttled: ThrottledTime) -> int:
        """Wait until the call may start, and return the number of the limit's last event.

        Args:
            throttled: Counts the wait, if its cause is Gemini's quota.
        """
        if self._waiting or self.in_flight + 1 > self.limit.value:
            await self._wait(throttled)
        else:
            self.in_flight += 1
        return self.limit.event

    def answered(self) -> None:
        """Release after an answer other than 429."""
        self.limit.answered(self.in_flight)
        self._release()

    def refused(self, event: int) -> None:
        """Release after a 429; `event` is the number that `acquire` returned."""
        self.limit.refused(event, self.in_flight - 1)
        self._release()

    def failed(self) -> None:
        """Release after a call without an answer, or a cancelled one."""
        self._release()

    async def _wait(self, throttled: ThrottledTime) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            if self.limit.is_lowered:
                with throttled.counted():
                    await turn
            else:
                await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # it was this call's turn when the wait was cancelled
            raise

    def _release(self) -> None:
        self.in_flight -= 1
        while self._waiting and self.in_flight + 1 <= self.limit.value:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
