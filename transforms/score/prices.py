"""What Gemini's tokens cost: a price table in YAML, and the cost of an account's share of a call.

`prices.yaml`, beside this module, holds the defaults and tells how a file of one's own is read.
"""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Never

import yaml

_DEFAULTS: Final = "prices.yaml"
_PRICES: Final = ("input", "cached_input", "output")
_MILLION: Final = 1_000_000
_MOST: Final = 1_000.0
"""Dollars per million tokens beyond which a price is a slip of the pen."""


class PricesError(ValueError):
    """The table can't be used; the message is one line with file, line and column, what is wrong, and the remedy."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, up to the end of the day `until` (UTC); None: until further notice."""

    input: float
    cached_input: float
    output: float
    until: dt.date | None = None

    def cost_usd(self, on: dt.date, *, prompt_tokens: int, cached_tokens: int, output_tokens: int) -> float | None:
        """Return what tokens cost on a day; None where the price has run out.

        Args:
            on: The day (UTC) on which they were used.
            prompt_tokens: All of the input, cached or not.
            cached_tokens: The part of it that was served from the cache.
            output_tokens: Thoughts among them.
        """
        if self.until is not None and on > self.until:
            return None
        fresh_tokens = prompt_tokens - cached_tokens
        microdollars = fresh_tokens * self.input + cached_tokens * self.cached_input + output_tokens * self.output
        return microdollars / _MILLION


def load_prices(path: Path | None = None) -> Mapping[str, Price]:
    """Return the prices by model: those of a file over the packaged ones; without a file, the packaged ones.

    Raises:
        PricesError: The file can't be read, or a price in it is wrong.
    """
    packaged = resources.files("transforms.score").joinpath(_DEFAULTS).read_text("utf-8")
    prices = _Reader(f"transforms/score/{_DEFAULTS}").prices(packaged)
    if path is None:
        return prices
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise PricesError(f"{path}: can't be read: {error.strerror}: name a YAML file") from error
    except UnicodeDecodeError:
        raise PricesError(f"{path}:1:1: no UTF-8: save the file as UTF-8") from None
    return prices | _Reader(str(path)).prices(text)


def price_of(prices: Mapping[str, Price], model: str) -> Price:
    """Return a model's price.

    Raises:
        PricesError: The table has none; this is also where a misspelt model is found, before any event is read.
    """
    if model not in prices:
        known = ", ".join(sorted(prices))
        raise PricesError(f"{model} has no price: one of {known} is wanted, or a --prices file that names it")
    return prices[model]


@dataclass(frozen=True)
class _Reader:
    """Reads the table from YAML's nodes, which know their places in the file, as its values would not."""

    source: str

    def prices(self, text: str) -> dict[str, Price]:
        """Return the prices of a table."""
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
            raise PricesError(f"{self.source}:{place}: {error.problem}: YAML is wanted") from None
        except yaml.reader.ReaderError as error:
            line = text[: error.position].count("\n") + 1
            raise PricesError(f"{self.source}:{line}:1: a control character: take it out") from None
        if root is None:
            raise PricesError(f"{self.source}:1:1: the file is empty: give models")
        top = self._mapping(root, ("models",))
        if "models" not in top:
            self._fail(root, "models is missing: give prices by model")
        return {name: self._price(name, node) for name, node in self._mapping(top["models"]).items()}

    def _price(self, model: str, node: yaml.Node) -> Price:
        fields = self._mapping(node, (*_PRICES, "until"))
        for name in _PRICES:
            if name not in fields:
                self._fail(node, f"{model} has no {name}: dollars per million tokens are wanted")
        numbers = {name: self._dollars(fields[name]) for name in _PRICES}
        if numbers["cached_input"] > numbers["input"]:
            self._fail(fields["cached_input"], f"{model}: cached input above input: are the two swapped?")
        return Price(**numbers, until=self._day(fields["until"]) if "until" in fields else None)

    def _dollars(self, node: yaml.Node) -> float:
        try:
            value = float(self._scalar(node))
        except ValueError:
            value = math.nan
        if not 0 <= value <= _MOST:
            self._fail(
                node, f"{self._scalar(node)!r} is no price: 0 to {_MOST:g} dollars per million tokens are wanted"
            )
        return value

    def _day(self, node: yaml.Node) -> dt.date:
        try:
            return dt.date.fromisoformat(self._scalar(node))
        except ValueError:
            self._fail(node, f"{self._scalar(node)!r} is no day: write 2026-12-31")

    def _scalar(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, "one value is wanted")
        return str(node.value)

    def _mapping(self, node: yaml.Node, keys: tuple[str, ...] = ()) -> dict[str, yaml.Node]:
        """Return a mapping's values by key; only `keys` are allowed, unless there are none of them."""
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, " ".join(("a mapping is wanted", *(("of", ", ".join(keys)) if keys else ()))))
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._scalar(key)
            if keys and name not in keys:
                self._fail(key, f"unknown key {name!r}: one of {', '.join(keys)} is wanted")
            if name in found:
                self._fail(key, f"{name} stands here twice: leave one")
            found[name] = value
        return found

    def _fail(self, node: yaml.Node, problem: str) -> Never:
        mark = node.start_mark
        raise PricesError(f"{self.source}:{mark.line + 1}:{mark.column + 1}: {problem}")
