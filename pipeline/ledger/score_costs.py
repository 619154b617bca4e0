"""What scores are likely to cost, in tokens and US dollars: by the recent scores of the table `account_scores`."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from schemas.tables import ACCOUNT_SCORES
from schemas.views import SHOWN_SCORES
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.score.prices import Price, load_prices

COST_PERIOD: Final = dt.timedelta(days=30)
"""The averages are those of the scores of this period."""

_CENT: Final = 0.01

# A carried-over score cost nothing, and is no example of what a score costs.
_AVERAGES_SQL: Final = f"""
SELECT
  COUNT(*) AS scores,
  AVG(prompt_tokens) AS prompt_tokens,
  AVG(IFNULL(cached_tokens, 0)) AS cached_tokens,
  AVG(IFNULL(output_tokens, 0)) AS output_tokens,
  AVG(cost_usd) AS dollars
FROM `{{dataset}}.{ACCOUNT_SCORES.name}`
WHERE
  scored_at >= @since
  AND status = 'scored'
  AND prompt_tokens IS NOT NULL
  AND {SHOWN_SCORES}
  AND 'unchanged_context' NOT IN UNNEST(flags)
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class ScoreCost:
    """What one score costs on average.

    Attributes:
        scores: How many scores the averages are of; 0: they are assumed.
        prompt_tokens: Input, including the cached tokens.
        cached_tokens: Input that Gemini's cache served.
        output_tokens: Output.
        dollars: What the scores cost by the prices that applied to them; None if that is unknown.
    """

    scores: int
    prompt_tokens: float
    cached_tokens: float
    output_tokens: float
    dollars: float | None = None

    @property
    def tokens(self) -> float:
        """Input and output."""
        return self.prompt_tokens + self.output_tokens

    def priced(self, price: Price, on: dt.date) -> float | None:
        """Return what a score costs at a price, in US dollars; None if the price is no longer valid."""
        return price.cost_usd(
            on,
            prompt_tokens=round(self.prompt_tokens),
            cached_tokens=round(self.cached_tokens),
            output_tokens=round(self.output_tokens),
        )


ASSUMED: Final = ScoreCost(scores=0, prompt_tokens=1_989, cached_tokens=988, output_tokens=251)
"""Assumed while there are no recent scores; measured on generated accounts, five a call, prompt v2 (docs/adr/020)."""


@dataclass(frozen=True)
class CostEstimate:
    """What a number of scores may cost at most; `dollars` is None if no price is known."""

    scores: int
    each: ScoreCost
    dollars: float | None

    @property
    def tokens(self) -> int:
        """Tokens, input and output."""
        return round(self.scores * self.each.tokens)

    def document(self) -> dict[str, Any]:
        """Return the estimate as `--json` prints it."""
        return {
            "scores": self.scores,
            "tokens": self.tokens,
            "dollars": None if self.dollars is None else round(self.dollars, 4),
            "tokens_a_score": self.each.tokens,
            "averaged_scores": self.each.scores,
        }

    def __str__(self) -> str:
        dollars = "at an unknown price" if self.dollars is None else f"{spoken_dollars(self.dollars)}"
        basis = (
            f"the average of {self.each.scores:,} scores of the last {COST_PERIOD.days} days"
            if self.each.scores
            else "assumed, since there are no recent scores"
        )
        return f"up to {self.tokens:,} tokens, {dollars} ({self.each.tokens:,.0f} tokens a score: {basis})"


def spoken_dollars(dollars: float) -> str:
    """Return an amount in US dollars; amounts below a cent keep a digit."""
    return f"${dollars:,.2f}" if dollars >= _CENT or not dollars else f"${dollars:.1g}"


def read_score_cost(warehouse: Warehouse, dataset: str, now: dt.datetime) -> ScoreCost:
    """Return the average cost of the recent scores, or the assumed one.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    sql = _AVERAGES_SQL.format(dataset=dataset_path(warehouse.project, dataset))
    (row,) = warehouse.query(sql, {"since": now - COST_PERIOD})
    return ScoreCost(**dict(row)) if row["scores"] else ASSUMED


def estimate(scores: int, each: ScoreCost, on: dt.date, price: Price | None = None) -> CostEstimate:
    """Return what a number of scores may cost.

    Args:
        scores: How many.
        each: What one costs.
        on: The day (UTC).
        price: Of the model that will score; None: what recent scores cost, or the default model's price.
    """
    dollars = each.priced(price, on) if price else each.dollars
    if dollars is None and price is None:
        from transforms.clients.gemini_api import DEFAULT_MODEL  # noqa: PLC0415 - imports the prompt

        dollars = each.priced(load_prices()[DEFAULT_MODEL], on)
    return CostEstimate(scores, each, None if dollars is None else scores * dollars)
