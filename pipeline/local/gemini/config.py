"""What the stand-in can be told: its speed, its limits, its models and its faults."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from pipeline.local.gemini.fault_kinds import FaultKind
from schemas.record import ValidatedModel

MAX_P95_RATIO: Final = 3.8
"""A lognormal distribution has no 95th percentile further from its mean than exp(1.645² / 2), about 3.87 times."""


class Latency(ValidatedModel):
    """How long an answer takes: the time to the first token, then the tokens."""

    mean_seconds: float = Field(default=0.03, ge=0, description="Mean time to the first token")
    p95_seconds: float | None = Field(
        default=None, gt=0, description="95th percentile of that time, which is lognormal; without it, always the mean"
    )
    tokens_per_second: float | None = Field(
        default=None, gt=0, description="Output tokens a second after the first; without it, they take no time"
    )

    @model_validator(mode="after")
    def _p95_is_possible(self) -> "Latency":
        if (
            self.p95_seconds is not None
            and not self.mean_seconds <= self.p95_seconds <= self.mean_seconds * MAX_P95_RATIO
        ):
            raise ValueError(f"p95_seconds must be 1 to {MAX_P95_RATIO} times mean_seconds")
        return self


PRESETS: Final[Mapping[str, Latency]] = {
    "instant": Latency(mean_seconds=0),
    "demo": Latency(),
    # Time and speed were measured for flash-lite; the 95th percentile is an assumption.
    "flash-lite": Latency(mean_seconds=0.5, p95_seconds=0.9, tokens_per_second=257),
}
"""Latencies by name; a configuration may give the name in place of the values."""


def _preset(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise ValueError(f"no latency is named {value[:40]!r}: there are {', '.join(PRESETS)}")
    return PRESETS[value]


class Fault(ValidatedModel):
    """A way to fail, and on which calls. Of several, the first in the list that applies to a call is taken."""

    kind: FaultKind
    rate: float = Field(default=1.0, ge=0, le=1, description="Share of the calls it may apply to")
    match: str | None = Field(
        default=None,
        min_length=1,
        description="Only calls whose prompt holds this text; a fault of one item takes an account that holds it",
    )
    limit: int | None = Field(default=None, ge=1, description="At most this many calls; without it, no end")
    seed: int | None = Field(default=None, description="Chooses the calls; the configuration's seed if not given")


class GeminiConfig(ValidatedModel):
    """The whole configuration. Every field has a default; the demo's is `GeminiConfig()`."""

    seed: int = 0
    latency: Annotated[Latency, BeforeValidator(_preset)] = Field(
        default=Latency(), description="Values, or the name of a preset: instant, demo, flash-lite"
    )
    max_concurrency: int | None = Field(
        default=None, ge=0, description="Calls in flight beyond which 429 is answered at once; 0 is a quota of zero"
    )
    retry_after_seconds: int | None = Field(default=None, ge=0, description="Sent as Retry-After with each 429")
    faults: tuple[Fault, ...] = ()
    models: tuple[str, ...] = Field(default=("gemini-*",), description="Patterns of the model names that exist")
    retired_models: tuple[str, ...] = Field(
        default=("gemini-1.*", "gemini-2.0-*"), description="Patterns of names that exist no more: 404"
    )
    max_prompt_tokens: int = Field(default=1_048_576, ge=1, description="A longer prompt is refused with 400")
    max_output_tokens: int = Field(default=65_536, ge=1, description="The model's own limit, and its default")
    cache_min_tokens: int = Field(
        default=1_024, ge=256, description="The shortest prefix that is served from the cache"
    )
    require_token: bool = Field(default=True, description="Whether a call needs a token of this server's /token")
    token_lifetime_seconds: int = Field(default=3_600, ge=1)
    drip_seconds: float = Field(default=1.0, ge=0, description="Time between the bytes of a dripping answer")


def changed_config(config: GeminiConfig, changes: Mapping[str, Any]) -> GeminiConfig:
    """Return the configuration with the given fields replaced whole, the others kept.

    Raises:
        pydantic.ValidationError: A field is unknown or its value is not allowed.
    """
    kept = {name: getattr(config, name) for name in GeminiConfig.model_fields if name not in changes}
    return GeminiConfig.model_validate({**kept, **changes})
