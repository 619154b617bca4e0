"""The concurrency limit finds the server's cap and follows it with few refused calls; calls are served in turn."""

import asyncio
import heapq
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.score.adaptive_limit import INITIAL_LIMIT, AdaptiveLimit, ConcurrencyLimiter, ThrottledTime


class Server:
    """A simulated server: accepts `cap(now)` calls at once, answers after a second, and refuses the rest at once."""

    def __init__(self, cap: Callable[[float], int]) -> None:
        self.cap = cap
        self.limit = AdaptiveLimit(ceiling=1_000)
        self.answers: list[float] = []
        self.refusals: list[float] = []
        self._events: list[tuple[float, int, bool, int]] = []
        self._in_flight = self._accepted = self._made = 0

    def run(self, seconds: float) -> None:
        """Keep as many calls in flight as the limit allows, for some seconds of simulated time."""
        self._fill(0.0)
        while self._events[0][0] <= seconds:
            now, _, is_answer, event = heapq.heappop(self._events)
            if is_answer:
                self.limit.answered(self._in_flight)
                self._accepted -= 1
                self.answers.append(now)
            else:
                self.limit.refused(event, self._in_flight - 1)
                self.refusals.append(now)
            self._in_flight -= 1
            self._fill(now)

    def _fill(self, now: float) -> None:
        while self._in_flight + 1 <= self.limit.value:
            self._in_flight += 1
            self._made += 1
            is_taken = self._accepted < self.cap(now)
            self._accepted += is_taken
            due = now + (1.0 if is_taken else 0.01)
            heapq.heappush(self._events, (due, self._made, is_taken, self.limit.event))


@pytest.mark.parametrize("cap", [1, 3, 20, 150, 900])
def test_a_constant_cap_is_found_and_kept(cap: int) -> None:
    """After twelve rounds, at least 90 % of the cap is used, and at most 5 % of the calls are refused."""
    server = Server(lambda _: cap)
    server.run(112)
    answers = sum(time >= 12 for time in server.answers)
    refusals = sum(time >= 12 for time in server.refusals)
    assert answers >= 0.9 * cap * 100
    if cap >= 20:  # around a smaller one, a single call more is more than 5 %
        assert refusals <= 0.05 * (answers + refusals)


def test_a_cap_that_falls_and_rises_is_followed() -> None:
    """200, 50, 200: the limit falls within five rounds, and finds the higher cap again within ten."""
    server = Server(lambda now: 50 if 30 <= now < 60 else 200)
    server.run(90)
    used_low = sum(35 <= time < 60 for time in server.answers) / (50 * 25)
    used_again = sum(70 <= time < 90 for time in server.answers) / (200 * 20)
    assert used_low >= 0.9
    assert used_again >= 0.9
    assert len(server.refusals) <= 0.05 * (len(server.answers) + len(server.refusals))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.integers(0, 5)), max_size=300), st.integers(1, 200))
def test_the_limit_stays_within_its_bounds(history: list[tuple[bool, int, int]], ceiling: int) -> None:
    """For any history of answers and refusals, the limit is at least one call and at most the ceiling."""
    limit = AdaptiveLimit(ceiling=ceiling)
    for is_answer, in_flight, age in history:
        if is_answer:
            limit.answered(in_flight)
        else:
            limit.refused(limit.event - age, in_flight)
        assert 1 <= limit.value <= ceiling


def test_answers_below_the_limit_do_not_raise_it() -> None:
    """A limit that was not reached does not grow."""
    limit = AdaptiveLimit(ceiling=1_000)
    for _ in range(1_000):
        limit.answered(in_flight=3)
    assert limit.value == INITIAL_LIMIT


def test_it_is_lowered_until_it_has_recovered() -> None:
    """It is lowered from a 429 until the limit is back at its earlier value."""
    limit = AdaptiveLimit(ceiling=64)
    seen = [limit.is_lowered]
    limit.refused(limit.event, in_flight=16)
    seen.append(limit.is_lowered)
    for _ in range(1_000):
        limit.answered(in_flight=64)
    assert [*seen, limit.is_lowered] == [False, True, False]


def test_slots_are_given_in_turn() -> None:
    """Calls beyond the limit wait, and are served in the order of their arrival."""

    async def scenario() -> list[int]:
        limiter, served = ConcurrencyLimiter(AdaptiveLimit(ceiling=2)), []

        async def call(number: int) -> None:
            await limiter.acquire(ThrottledTime())
            served.append(number)

        calls = [asyncio.create_task(call(number)) for number in range(4)]
        await asyncio.sleep(0)
        assert served == [0, 1]
        limiter.failed()
        limiter.failed()
        await asyncio.gather(*calls)
        assert limiter.in_flight == 2
        return served

    assert asyncio.run(scenario()) == [0, 1, 2, 3]


def test_a_cancelled_wait_leaves_its_turn_to_the_next_call() -> None:
    """Also if the wait is cancelled at the moment of its turn."""

    async def scenario() -> None:
        limiter = ConcurrencyLimiter(AdaptiveLimit(ceiling=1))
        await limiter.acquire(ThrottledTime())
        first, second = (asyncio.create_task(limiter.acquire(ThrottledTime())) for _ in range(2))
        await asyncio.sleep(0)
        limiter.failed()  # the first one's turn; it is cancelled before it wakes up
        first.cancel()
        await asyncio.wait_for(second, timeout=60)
        assert first.cancelled()
        assert limiter.in_flight == 1

    asyncio.run(scenario())


def test_only_waits_for_the_quota_are_throttled_time() -> None:
    """A wait for this process's own ceiling is not counted."""

    async def scenario(*, refused: bool) -> float:
        now = 0.0
        throttled = ThrottledTime(lambda: now)
        limiter = ConcurrencyLimiter(AdaptiveLimit(ceiling=2))
        event = await limiter.acquire(throttled)
        await limiter.acquire(throttled)
        if refused:
            limiter.refused(event)
        waiting = asyncio.create_task(limiter.acquire(throttled))
        await asyncio.sleep(0)
        now = 3.0
        limiter.failed()
        await asyncio.wait_for(waiting, timeout=60)
        return throttled.seconds

    assert asyncio.run(scenario(refused=False)) == 0
    assert asyncio.run(scenario(refused=True)) == 3


def test_overlapping_waits_count_once() -> None:
    """The seconds are those of the thread, which waits for all calls of its batch at once."""
    now = 0.0
    throttled = ThrottledTime(lambda: now)
    with throttled.counted():
        now = 1.0
        with throttled.counted():
            now = 3.0
            assert throttled.seconds == 3
        now = 4.0
    now = 10.0
    assert throttled.seconds == 4
