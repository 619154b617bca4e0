"""What scores may cost."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ledger.score_costs import ASSUMED, ScoreCost, estimate, spoken_dollars
from transforms.admit.token_budget import TOKENS_PER_ACCOUNT
from transforms.clients.gemini_api import DEFAULT_MODEL
from transforms.score.prices import Price, load_prices

DAY = dt.date(2026, 11, 1)
EACH = ScoreCost(scores=40, prompt_tokens=2_000.0, cached_tokens=1_000.0, output_tokens=250.0, dollars=0.001)


def test_recent_scores_say_what_the_next_ones_cost() -> None:
    """By the prices that applied to them, whichever model they were of."""
    cost = estimate(100, EACH, DAY)
    assert cost.tokens == 225_000
    assert cost.dollars == pytest.approx(0.1)
    assert str(cost) == (
        "up to 225,000 tokens, $0.10 (2,250 tokens a score: the average of 40 scores of the last 30 days)"
    )


def test_a_known_model_has_its_own_price() -> None:
    """Input, cached input and output are priced by themselves."""
    price = Price(input=1.0, cached_input=0.1, output=10.0)
    assert estimate(1_000, EACH, DAY, price).dollars == pytest.approx(1.0 + 0.1 + 2.5)


def test_without_recent_scores_the_measured_figures_are_assumed() -> None:
    """At the default model's price, which the benchmark of docs/adr/020 gives as $0.00096 an account."""
    cost = estimate(1_000, ASSUMED, DAY)
    assert cost.dollars == pytest.approx(0.958, abs=0.001)
    assert cost.tokens == 2_240_000
    assert abs(ASSUMED.tokens - TOKENS_PER_ACCOUNT) < 20
    assert "assumed, since there are no recent scores" in str(cost)
    assert ASSUMED.priced(load_prices()[DEFAULT_MODEL], DAY) == pytest.approx(0.000958, abs=1e-6)


def test_a_price_that_is_no_longer_valid_gives_no_amount() -> None:
    """The tokens are known all the same."""
    price = Price(input=1.0, cached_input=0.1, output=10.0, until=DAY - dt.timedelta(days=1))
    cost = estimate(1_000, EACH, DAY, price)
    assert cost.dollars is None
    assert cost.document()["dollars"] is None
    assert "at an unknown price" in str(cost)


@given(st.integers(0, 10**7))
def test_costs_grow_with_the_number_of_scores(scores: int) -> None:
    """Nothing costs nothing, and each score adds its tokens and its price."""
    cost, one = estimate(scores, EACH, DAY), estimate(1, EACH, DAY)
    assert cost.tokens == scores * one.tokens
    assert cost.dollars == pytest.approx(scores * (one.dollars or 0))


@pytest.mark.parametrize(
    ("dollars", "text"), [(0.0, "$0.00"), (0.0004, "$0.0004"), (0.01, "$0.01"), (1_234.5, "$1,234.50")]
)
def test_amounts_below_a_cent_keep_a_digit(dollars: float, text: str) -> None:
    """So that no cost reads like none."""
    assert spoken_dollars(dollars) == text
