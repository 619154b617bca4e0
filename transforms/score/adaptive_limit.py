"""How many calls are made at once: more while answers come, fewer on 429, so that the server's cap is found.

Nobody tells what the quota of the day is: it is shared, and changes. `AdaptiveLimit` is the arithmetic, without a clock
and without waiting; `CallSlots` has calls wait by it.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from transforms.score.throttling import ThrottledTime

BACK_OFF: Final = 0.97
"""What is left of the limit on the first 429 after calls were made by the present limit."""

SLOWEST_GROWTH: Final = 0.025
FASTEST_GROWTH: Final = 0.5
"""Of the limit, a round: around a cap that is known, and far from it. Before the first 429, it doubles."""

INITIAL_LIMIT: Final = 32.0


@dataclass
class AdaptiveLimit:
    """A limit between 1 and `ceiling`.

    It grows by `step` within a round, that is, while as many answers come as it allows calls; after each round the step
    doubles. A 429 is an event: the step is one call or less again, and the limit falls to what BACK_OFF leaves of it.
    Those 429s that calls made before the event bring are the same event; they tell how many of the calls the server did
    take, and the limit falls to that number. So it falls to a new cap at once, rises by one, two, four calls around a
    known one, and finds a much higher one within some eight rounds.
    """

    ceiling: int
    value: float = INITIAL_LIMIT
    event: int = 0
    """Number of the last event; a call remembers the number under which it was made."""
    _step: float = field(default=INITIAL_LIMIT, init=False)
    _answers_in_round: int = field(default=0, init=False)
    _highest_value: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.value = min(self.value, float(self.ceiling))

    @property
    def is_lowered(self) -> bool:
        """Whether it is lower than it was before a 429: calls that wait, wait for Gemini's quota."""
        return self.value < min(self._highest_value, self.ceiling)

    @property
    def is_at_floor(self) -> bool:
        """Whether it allows a single call."""
        return self.value < 2  # noqa: PLR2004 - one call, and not yet two

    def answered(self, in_flight: int) -> None:
        """Take note of an answer, while `in_flight` calls were being made, this one among them."""
        if in_flight + 1 < self.value:
            return  # the limit was not what limited the calls: their success says nothing about a higher one
        self.value = min(self.value + self._step / self.value, float(self.ceiling))
        self._answers_in_round += 1
        if self._answers_in_round >= self.value:
            self._answers_in_round = 0
            self._step = min(self._step * 2, self.value * (FASTEST_GROWTH if self.event else 1.0))

    def refused(self, event: int, in_flight: int) -> None:
        """Take note of a 429.

        Args:
            event: The number under which the call was made.
            in_flight: Calls that are still being made, without this one.
        """
        if event == self.event:
            self.event += 1
            self._highest_value = max(self._highest_value, self.value)
            self.value *= BACK_OFF
            self._step, self._answers_in_round = min(1.0, self.value * SLOWEST_GROWTH), 0
        self.value = max(1.0, min(self.value, float(in_flight)))


class CallSlots:
    """Places for calls, as many as the limit allows; who comes first is served first. Used from one event loop."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, throttled: ThrottledTime) -> int:
        """Wait for a place, and return the number of the limit's last event.

        Args:
            throttled: Counts the wait, if Gemini's quota is what makes the call wait.
        """
        if self._waiting or self.in_flight + 1 > self.limit.value:
            await self._wait(throttled)
        else:
            self.in_flight += 1
        return self.limit.event

    def answered(self) -> None:
        """Give the place back after an answer of whatever kind that is no 429."""
        self.limit.answered(self.in_flight)
        self._give_back()

    def refused(self, event: int) -> None:
        """Give the place back after a 429."""
        self.limit.refused(event, self.in_flight - 1)
        self._give_back()

    def failed(self) -> None:
        """Give the place back after a call that brought no answer, or was cancelled."""
        self._give_back()

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
                self._give_back()  # the place was given at the very moment at which the wait ended
            raise

    def _give_back(self) -> None:
        self.in_flight -= 1
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self.in_flight + 1 <= self.limit.value:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
