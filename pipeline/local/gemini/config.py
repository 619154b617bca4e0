"""Configuration of the stand-in: latency, limits, models and faults."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from pipeline.local.gemini.fault_kinds import FaultKind
from schemas.record import ValidatedModel

_NORMAL: Final = NormalDist()
_Z95: Final = _NORMAL.inv_cdf(0.95)
MAX_P95_RATIO: Final = 3.8
"""The 95th percentile of a lognormal distribution is at most exp(1.645² / 2) times its mean, about 3.87."""


class Latency(ValidatedModel):
    """How long an answer takes: the time to the first token, and the speed of the others."""

    mean_seconds: float = Field(default=0.03, ge=0, description="Mean time to the first token")
    p95_seconds: float | None = Field(
        default=None, gt=0, description="95th percentile of that time (lognormal); null: always the mean"
    )
    tokens_per_second: float | None = Field(
        default=None, gt=0, description="Output tokens a second after the first; null: no time"
    )

    @model_validator(mode="after")
    def _p95_is_possible(self) -> "Latency":
        if (
            self.p95_seconds is not None
            and not self.mean_seconds <= self.p95_seconds <= self.mean_seconds * MAX_P95_RATIO
        ):
            raise ValueError(f"p95_seconds must be 1 to {MAX_P95_RATIO} times mean_seconds")
        return self

    def first_token_seconds(self, chance: float) -> float:
        """Return the time to the first token; `chance` in [0, 1) is the quantile of the distribution.

        The distribution is lognormal with the given mean and 95th percentile: with ln x ~ N(mu, sigma²),
        mean = exp(mu + sigma²/2) and p95 = exp(mu + z sigma), so sigma = z - sqrt(z² - 2 ln(p95 / mean)).
        """
        if self.p95_seconds is None or self.mean_seconds == 0:
            return self.mean_seconds
        sigma = _Z95 - math.sqrt(_Z95**2 - 2 * math.log(self.p95_seconds / self.mean_seconds))
        mu = math.log(self.mean_seconds) - sigma**2 / 2
        # inv_cdf is defined on the open interval (0, 1) only.
        return math.exp(mu + sigma * _NORMAL.inv_cdf(min(max(chance, 1e-9), 1 - 1e-9)))

    def answer_seconds(self, output_tokens: int, chance: float) -> float:
        """Return the time from a request's arrival to the last byte of its answer."""
        writing = output_tokens / self.tokens_per_second if self.tokens_per_second else 0.0
        return self.first_token_seconds(chance) + writing


PRESETS: Final[Mapping[str, Latency]] = {
    "instant": Latency(mean_seconds=0),
    "demo": Latency(),
    # Mean and speed were measured on flash-lite; the 95th percentile is assumed.
    "flash-lite": Latency(mean_seconds=0.5, p95_seconds=0.9, tokens_per_second=257),
}
"""Latencies by name, which the configuration accepts in place of the values."""


def _preset(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise ValueError(f"unknown latency {value[:40]!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[value]


class Fault(ValidatedModel):
    """A failure, and the calls that it applies to. The first fault in the list that applies to a call is taken."""

    kind: FaultKind
    rate: float = Field(default=1.0, ge=0, le=1, description="Share of the matching calls that fail")
    match: str | None = Field(
        default=None,
        min_length=1,
        description="Only calls whose prompt contains this text; an item fault takes an account that contains it",
    )
    limit: int | None = Field(default=None, ge=1, description="At most this many calls; null: no limit")
    seed: int | None = Field(default=None, description="Chooses the calls; null: the configuration's seed")


class GeminiConfig(ValidatedModel):
    """The configuration. Every field has a default; the demo uses `GeminiConfig()`."""

    seed: int = 0
    latency: Annotated[Latency, BeforeValidator(_preset)] = Field(
        default=Latency(), description="Values, or a preset: instant, demo, flash-lite"
    )
    max_concurrency: int | None = Field(
        default=None, ge=0, description="Calls in flight above which a call gets 429; 0 is a quota of zero"
    )
    retry_after_seconds: int | None = Field(default=None, ge=0, description="Sent as Retry-After with each 429")
    faults: tuple[Fault, ...] = ()
    models: tuple[str, ...] = Field(default=("gemini-*",), description="Patterns of the model names that exist")
    retired_models: tuple[str, ...] = Field(
        default=("gemini-1.*", "gemini-2.0-*"), description="Patterns of the model names that get 404"
    )
    max_prompt_tokens: int = Field(default=1_048_576, ge=1, description="A longer prompt gets 400")
    max_output_tokens: int = Field(default=65_536, ge=1, description="The default, and the limit, of maxOutputTokens")
    cache_min_tokens: int = Field(default=1_024, ge=256, description="Shortest prefix that is served from the cache")
    require_token: bool = Field(default=True, description="Whether a call needs an access token from /token")
    token_lifetime_seconds: int = Field(default=3_600, ge=1)
    drip_seconds: float = Field(default=1.0, ge=0, description="Seconds between the bytes of a dripping answer")
