"""How long an answer takes."""

import math
from statistics import NormalDist
from typing import Final

from pipeline.local.gemini.config import Latency

_NORMAL: Final = NormalDist()
_Z95: Final = _NORMAL.inv_cdf(0.95)


def first_token_seconds(latency: Latency, chance: float) -> float:
    """Return the time to the first token; `chance` in [0, 1) is the quantile of the distribution.

    The distribution is lognormal with the given mean and 95th percentile: with ln x ~ N(mu, sigma²),
    mean = exp(mu + sigma²/2) and p95 = exp(mu + z sigma), so sigma = z - sqrt(z² - 2 ln(p95 / mean)).
    """
    if latency.p95_seconds is None or latency.mean_seconds == 0:
        return latency.mean_seconds
    sigma = _Z95 - math.sqrt(_Z95**2 - 2 * math.log(latency.p95_seconds / latency.mean_seconds))
    mu = math.log(latency.mean_seconds) - sigma**2 / 2
    # inv_cdf is defined on the open interval (0, 1) only.
    return math.exp(mu + sigma * _NORMAL.inv_cdf(min(max(chance, 1e-9), 1 - 1e-9)))


def answer_seconds(latency: Latency, output_tokens: int, chance: float) -> float:
    """Return the time from a request's arrival to the last byte of its answer."""
    writing = output_tokens / latency.tokens_per_second if latency.tokens_per_second else 0.0
    return first_token_seconds(latency, chance) + writing
