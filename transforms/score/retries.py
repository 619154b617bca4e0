"""When the same call is made again, and how long before that."""

from typing import Final

import tenacity

from schemas.failures import Handling
from transforms.errors import GeminiError, QuotaExhausted, ServerFault

MAX_ATTEMPTS: Final = 5
"""Of a call that meets server faults while others are answered; after that, the fault may lie with its accounts."""

MAX_RETRY_AFTER_SECONDS: Final = 120.0
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 8.0
_PASSING: Final = frozenset({Handling.SLOW_DOWN, Handling.RETRY, Handling.REFRESH, Handling.HOLD})

_full_jitter = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS)


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same call can succeed later on: what failed is the service, and not this call."""
    return isinstance(error, GeminiError) and error.handling in _PASSING


def is_out_of_attempts(error: BaseException | None, attempts: int) -> bool:
    """Whether to stop retrying while the circuit is closed; 429, 401, 403 and 404 are retried until it opens."""
    return isinstance(error, GeminiError) and error.handling is Handling.RETRY and attempts >= MAX_ATTEMPTS


def seconds_before_retry(state: tenacity.RetryCallState) -> float:
    """Return a random time of 0 to 0.5, 1, 2, ... 8 s, on top of what the server asks to wait."""
    asked = _retry_after(state.outcome.exception() if state.outcome else None)
    return min(asked, MAX_RETRY_AFTER_SECONDS) + float(_full_jitter(state))


def _retry_after(error: BaseException | None) -> float:
    if isinstance(error, QuotaExhausted | ServerFault):
        return error.retry_after_seconds or 0.0
    return 0.0
