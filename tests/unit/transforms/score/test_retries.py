"""The retry predicate on each error; waits have full jitter and respect Retry-After."""

import pytest
import tenacity

from schemas.failures import Handling
from tests.fixtures.gemini_errors import GEMINI_ERRORS
from transforms.errors import (
    AccessRefused,
    BlockedPrompt,
    ConnectionLost,
    GeminiError,
    GeminiUnavailable,
    QuotaExhausted,
    ServerFault,
    Unauthenticated,
)
from transforms.score.retries import (
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER_SECONDS,
    is_out_of_attempts,
    is_worth_retrying,
    seconds_before_retry,
)


@pytest.mark.parametrize("error", GEMINI_ERRORS, ids=lambda error: type(error).__name__)
def test_only_faults_of_the_service_are_retried(error: GeminiError) -> None:
    """Faults of a call or an entry are left to the plan of calls."""
    service = isinstance(error, QuotaExhausted | ServerFault | ConnectionLost | Unauthenticated | AccessRefused)
    assert is_worth_retrying(error) is service


def test_a_fault_of_this_program_is_not_retried() -> None:
    """Neither is an exceeded outage deadline."""
    assert not is_worth_retrying(ValueError())
    assert not is_worth_retrying(GeminiUnavailable("held for too long"))


@pytest.mark.parametrize("error", GEMINI_ERRORS, ids=lambda error: type(error).__name__)
def test_attempts_are_limited_where_the_accounts_may_be_the_cause(error: GeminiError) -> None:
    """A prompt can cause a server fault, and cannot cause an exhausted quota or a missing permission."""
    assert is_out_of_attempts(error, MAX_ATTEMPTS) is (error.handling is Handling.RETRY)
    assert not is_out_of_attempts(error, MAX_ATTEMPTS - 1)


def _state(error: Exception, attempt: int) -> tenacity.RetryCallState:
    state = tenacity.RetryCallState(tenacity.AsyncRetrying(), None, (), {})
    state.attempt_number = attempt
    state.set_exception((type(error), error, None))
    return state


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (50, 8.0)])
def test_waits_have_full_jitter(attempt: int, longest: float) -> None:
    """They are spread from zero to a bound that doubles with each attempt, up to eight seconds."""
    waits = [seconds_before_retry(_state(ServerFault(503), attempt)) for _ in range(300)]
    assert max(waits) <= longest
    assert min(waits) < longest * 0.1
    assert max(waits) > longest * 0.9


@pytest.mark.parametrize(
    ("error", "least"),
    [
        (QuotaExhausted(retry_after_seconds=7), 7),
        (ServerFault(503, retry_after_seconds=7), 7),
        (QuotaExhausted(retry_after_seconds=86_400), MAX_RETRY_AFTER_SECONDS),
        (ConnectionLost("x"), 0),
        (BlockedPrompt("x"), 0),
    ],
)
def test_retry_after_is_respected(error: GeminiError, least: float) -> None:
    """The jitter is added to it, so that clients with the same Retry-After do not return together."""
    waits = [seconds_before_retry(_state(error, 1)) for _ in range(100)]
    assert all(least <= wait <= least + 0.5 for wait in waits)
    assert max(waits) - min(waits) > 0.1
