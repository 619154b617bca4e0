"""What Gemini's tokens cost: a price table from YAML, and the cost of an account's share of a call.

`prices.yaml`, next to this module, holds the defaults and explains the format.
"""

import datetime as dt
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from transforms.yaml_files import FileModel, read_yaml

_DEFAULTS: Final = resources.files("transforms.score").joinpath("prices.yaml")
_MILLION: Final = 1_000_000
_MAX_PRICE: Final = 1_000.0
"""US dollars per million tokens; a higher price is taken for a typing error."""


def _not_above_input(cached_input: float, info: ValidationInfo) -> float:
    if cached_input > info.data.get("input", cached_input):
        raise ValueError("higher than input: check whether the two are swapped")
    return cached_input


def _date(value: Any) -> dt.date:
    try:
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("expected a date such as 2026-12-31") from None


_Dollars = Annotated[float, Field(ge=0, le=_MAX_PRICE, allow_inf_nan=False)]


class Price(FileModel):
    """US dollars per million tokens, up to the end of the day `until` (UTC); None: no end is known."""

    input: _Dollars
    cached_input: Annotated[_Dollars, AfterValidator(_not_above_input)]
    output: _Dollars
    until: Annotated[dt.date | None, BeforeValidator(_date)] = None

    def cost_usd(self, on: dt.date, *, prompt_tokens: int, cached_tokens: int, output_tokens: int) -> float | None:
        """Return the cost of tokens in US dollars; None if the price is no longer valid on that day.

        Args:
            on: The day (UTC) of the call.
            prompt_tokens: All input tokens, including the cached ones.
            cached_tokens: The input tokens that Gemini's cache served.
            output_tokens: All output tokens, including thoughts.
        """
        if self.until is not None and on > self.until:
            return None
        fresh_tokens = prompt_tokens - cached_tokens
        microdollars = fresh_tokens * self.input + cached_tokens * self.cached_input + output_tokens * self.output
        return microdollars / _MILLION


def load_prices(path: Path | Traversable | None = None) -> Mapping[str, Price]:
    """Return prices by model: the packaged ones, replaced by those of a file for each model that it names.

    Raises:
        YamlFileError: The file can't be read, or a price in it is wrong.
    """
    files = (_DEFAULTS, path) if path else (_DEFAULTS,)
    return {model: price for file in files for model, price in read_yaml(file, _PricesFile).models.items()}


def price_of(prices: Mapping[str, Price], model: str) -> Price:
    """Return a model's price.

    Raises:
        ValueError: The table has no price for the model, whose name may be misspelt.
    """
    if model not in prices:
        known = ", ".join(sorted(prices))
        raise ValueError(f"{model} has no price: use one of {known}, or add the model to a --prices file")
    return prices[model]


class _PricesFile(FileModel):
    models: dict[str, Price]
