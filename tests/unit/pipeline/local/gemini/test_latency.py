import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.gemini.config import PRESETS, Latency
from pipeline.local.gemini.seeded_random import uniform


@pytest.mark.parametrize(
    "latency", [Latency(mean_seconds=0.5, p95_seconds=0.9), Latency(mean_seconds=2, p95_seconds=7)]
)
def test_mean_and_95th_percentile_are_those_of_the_configuration(latency: Latency) -> None:
    """Over the whole range of chance, the times have the mean and the 95th percentile that were asked for."""
    times = [latency.first_token_seconds((index + 0.5) / 20_000) for index in range(20_000)]
    assert statistics.fmean(times) == pytest.approx(latency.mean_seconds, rel=0.01)
    assert latency.first_token_seconds(0.95) == pytest.approx(latency.p95_seconds)


@given(st.floats(0, 1, exclude_max=True))
def test_without_a_percentile_the_time_is_fixed(chance: float) -> None:
    """The demo's latency, and that of a mean alone, does not vary."""
    assert Latency(mean_seconds=0.2).first_token_seconds(chance) == 0.2
    assert PRESETS["instant"].first_token_seconds(chance) == 0


@given(st.floats(0, 1, exclude_max=True))
def test_any_chance_gives_a_positive_finite_time(chance: float) -> None:
    """The ends of the range give finite times."""
    assert 0 < PRESETS["flash-lite"].first_token_seconds(chance) < 60


def test_tokens_take_their_time() -> None:
    """257 tokens at 257 a second take one more second; without a speed they take no time."""
    assert Latency(mean_seconds=0.5, tokens_per_second=257).answer_seconds(257, 0.5) == pytest.approx(1.5)
    assert Latency(mean_seconds=0.5).answer_seconds(10_000, 0.5) == 0.5


def test_chance_is_even_and_the_same_everywhere() -> None:
    """Numbers of one seed fill the range evenly, and never change between processes or releases."""
    numbers = [uniform(1, "latency", call) for call in range(2_000)]
    assert all(0 <= number < 1 for number in numbers)
    assert 0.47 < statistics.fmean(numbers) < 0.53
    assert uniform(0, "latency", 1) == pytest.approx(0.0664604, abs=1e-6)
