"""A rate that is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead_letters.token_bucket import TokenBucket


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(0.1, 1_000), st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_no_more_goes_than_the_rate_lets(rate: float, wanted: list[int]) -> None:
    """Whoever waits as long as told never takes more than rate and time allow, and the last batch besides."""
    clock = _Clock()
    bucket = TokenBucket(rate, max(1.0, rate), clock=clock)
    taken = 0
    for count in wanted:
        clock.now += bucket.seconds_until(count)
        taken += count
        bucket.take(count)
        assert taken <= rate * clock.now + count + 1e-6


def test_idle_time_is_saved_up_to_the_burst() -> None:
    """After a long pause one burst goes at once, not all that the pause was worth."""
    clock = _Clock()
    bucket = TokenBucket(10, 10, clock=clock)
    clock.now = 1_000
    assert bucket.seconds_until(10) == 0
    bucket.take(10)
    assert bucket.seconds_until(10) == pytest.approx(1.0)


def test_a_rate_of_nothing_is_refused() -> None:
    """It would wait for ever."""
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(0, 1)
