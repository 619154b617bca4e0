"""Prices: the table, its errors, and the cost of tokens."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.gemini_api import DEFAULT_MODEL
from transforms.score.account_scoring import shares
from transforms.score.prices import Price, load_prices, price_of
from transforms.yaml_files import YamlFileError

DAY = dt.date(2026, 11, 20)
PRICE = Price(input=0.30, cached_input=0.03, output=2.50)


def test_the_packaged_table_knows_the_default_model() -> None:
    """The default model has a price, and its cached input costs a tenth."""
    price = price_of(load_prices(), DEFAULT_MODEL)
    assert price.until is None
    assert price.cached_input == pytest.approx(price.input / 10)


def test_each_kind_of_token_has_its_price() -> None:
    """Cached tokens are part of the prompt's tokens, and cost less."""
    cost = PRICE.cost_usd(DAY, prompt_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000)
    assert cost == pytest.approx(0.6 * 0.30 + 0.4 * 0.03 + 0.1 * 2.50)


def test_a_price_that_has_run_out_costs_nothing_known() -> None:
    """A price is valid on its last day; afterwards the cost is unknown."""
    price = Price(input=1, cached_input=1, output=1, until=DAY)
    assert price.cost_usd(DAY, prompt_tokens=1_000_000, cached_tokens=0, output_tokens=0) == 1
    assert price.cost_usd(DAY + dt.timedelta(days=1), prompt_tokens=1, cached_tokens=0, output_tokens=0) is None


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**6), st.integers(1, 12))
def test_the_costs_of_a_calls_accounts_add_up_to_its_cost(prompt: int, cached: int, output: int, accounts: int) -> None:
    """Costs are split without rounding loss, and no account's cached tokens exceed its prompt tokens."""
    cached = min(prompt, cached)
    parts = zip(shares(prompt, accounts), shares(cached, accounts), shares(output, accounts), strict=True)
    costs = [PRICE.cost_usd(DAY, prompt_tokens=p, cached_tokens=c, output_tokens=o) for p, c, o in parts]
    whole = PRICE.cost_usd(DAY, prompt_tokens=prompt, cached_tokens=cached, output_tokens=output)
    assert sum(cost for cost in costs if cost is not None) == pytest.approx(whole)
    assert all(cost is not None and cost >= 0 for cost in costs)


def test_a_file_replaces_model_by_model(tmp_path: Path) -> None:
    """A file replaces the prices of the models that it names; the others keep the packaged ones."""
    file = tmp_path / "prices.yaml"
    file.write_text(
        "models:\n  gemini-3.5-flash-lite: {input: 0.2, cached_input: 0.02, output: 2, until: 2027-06-30}\n"
    )
    prices = load_prices(file)
    assert prices["gemini-3.5-flash-lite"] == Price(input=0.2, cached_input=0.02, output=2, until=dt.date(2027, 6, 30))
    assert prices["gemini-3.1-flash-lite"] == load_prices()["gemini-3.1-flash-lite"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty: add models"),
        ("[]", ": expected a mapping, found a list"),
        ("modles: {}", ": unknown key 'modles': did you mean models?"),
        ("{}", ": models: required, but missing"),
        ("models:\n  m: {input: 1, output: 2}", ": models.m.cached_input: required, but missing"),
        ("models:\n  m: {input: 1, cached_input: 2, output: 2}", ": models.m.cached_input: higher than input"),
        ("models:\n  m: {input: 1, cached_inputs: 1, output: 2}", ": models.m: unknown key 'cached_inputs': did you"),
        ("models:\n  m:\n    input: free\n    cached_input: 0\n    output: 1", ": models.m.input: expected a number"),
        ("models:\n  m:\n    input: yes\n    cached_input: 0\n    output: 1", ": models.m.input: expected a number"),
        ("models:\n  m:\n    input: .nan\n    cached_input: 0\n    output: 1", ": models.m.input: expected a finite"),
        ("models:\n  m: {input: -1, cached_input: -1, output: 2}", ": models.m.input: expected 0 or more"),
        ("models:\n  m: {input: 1001, cached_input: 1, output: 2}", ": models.m.input: expected 1,000 or less"),
        (
            "models:\n  m: {input: 1, cached_input: 0, output: 2, until: soon}",
            ": models.m.until: expected a date such as",
        ),
        (
            "models:\n  m: {input: 1, cached_input: 0, output: 2, until: 2026-13-01}",
            ": models.m.until: expected a date",
        ),
        ("models:\n  m: {input: 1, cached_input: 0, output: 2, until: 20261231}", ": models.m.until: expected a date"),
        (
            "models:\n  m: {input: 1, cached_input: 0, output: [2]}",
            ": models.m.output: expected a number, found a list",
        ),
        ("models:\n  m: {input: 1, input: 1, cached_input: 0, output: 2}", ":2:17: duplicate key 'input'"),
        ("models: {m", ":1:11: "),
        ("models:\n  \x07", ": control character U+0007"),
    ],
)
def test_a_wrong_table_is_named_by_its_key_path(tmp_path: Path, text: str, message: str) -> None:
    """One line names the file, the key path, what is wrong and what is expected."""
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(YamlFileError) as raised:
        load_prices(file)
    assert str(raised.value).startswith(f"{file}{message}")
    assert "\n" not in str(raised.value)


def test_a_model_without_a_price_is_an_error() -> None:
    """The message names the models that have a price, so that a misspelt model is found before the first event."""
    with pytest.raises(ValueError, match=r"gemini-3.5-flash-light has no price: use one of .*gemini-3.5-flash-lite"):
        price_of(load_prices(), "gemini-3.5-flash-light")
